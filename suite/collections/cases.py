"""Records to sort and group; many share a key, so that the order of equals shows."""

import random


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield [{
            "id": number,
            "city": f"city{draw.randint(1, 60):03}",
            "score": draw.randint(-500, 500),
        } for number in range(size)]
