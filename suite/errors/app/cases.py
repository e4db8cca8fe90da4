"""Requests that both must answer alike: one that goes well, and each error that an application survives."""


def cases(size, seed):
    for number in range(size % 10 + 2):
        yield {"method": "GET", "target": f"/ok?n={number + seed}", "headers": {}, "body": ""}
    yield {"method": "GET", "target": "/throw", "headers": {}, "body": "", "answer": "status"}
    yield {"method": "GET", "target": "/caught", "headers": {}, "body": ""}
