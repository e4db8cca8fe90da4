"""Batches of feature vectors."""

import random

FEATURES = 64


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield [[round(draw.uniform(-1, 1), 6) for _ in range(FEATURES)] for _ in range(size)]
