"""Reads a document of orders, adds each one's total, and writes the document again."""

import json

# An encoder made once, as `dumps` with arguments makes a new one for each call.
ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def run(text):
    orders = json.loads(text)
    for order in orders:
        order["total"] = sum(line["count"] * line["cents"] for line in order["lines"])
    return ENCODE(orders)
