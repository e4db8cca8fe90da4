"""Messages to hash, and a password to derive a key from."""

import random
import string


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        messages = ["".join(draw.choices(string.ascii_letters, k=1000)) for _ in range(size)]
        yield {"messages": messages, "password": f"password{draw.random()}", "iterations": size * 10}
