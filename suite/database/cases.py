"""Which customers to look up, a city to sum up, and purchases to add."""

import random


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield {
            "customers": [draw.randint(1, 2000) for _ in range(size)],
            "city": draw.randint(0, 49),
            "purchases": [[draw.randint(1, 2000), draw.randint(1, 9999)] for _ in range(size)],
        }
