"""Bodies with random places and speeds, and how many steps to follow them."""

import random

BODIES = 5


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        bodies = [[draw.uniform(-10, 10) for _ in range(6)] + [draw.uniform(0.1, 1)] for _ in range(BODIES)]
        yield {"steps": size, "bodies": bodies}
