"""The first request after a start."""


def cases(size, seed):
    yield {"method": "GET", "target": f"/orders/{size + seed}", "headers": {}, "body": ""}
