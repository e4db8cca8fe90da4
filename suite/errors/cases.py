"""Payments, half of which must be refused."""

import random


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield [{"depth": draw.randint(1, 12), "cents": draw.randint(-100, 100)} for _ in range(size)]
