"""Items to ask the prices of, all at once."""

import random


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield [draw.randint(1, 1_000_000) for _ in range(size)]
