"""Sorts records by city and falling score, groups them, and finds the distinct scores."""


def run(records):
    groups = {}
    for record in sorted(records, key=lambda record: (record["city"], -record["score"])):
        city = record["city"]
        group = groups.get(city)
        if group is None:
            groups[city] = {"sum": record["score"], "ids": [record["id"]]}
        else:
            group["sum"] += record["score"]
            group["ids"].append(record["id"])
    return {"groups": groups, "scores": sorted({record["score"] for record in records})}
