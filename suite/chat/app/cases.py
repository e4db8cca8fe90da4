"""Messages that members of a room say, one after the other; each goes to all members."""

import random

WORDS = "tea Käse 寿司 hello 🍎 good morning who is here".split()


def cases(size, seed):
    """`target` is the room's socket; `size` members join, then `messages` are sent, each by the member of that number."""
    draw = random.Random(seed)
    yield {
        "target": "/rooms/suite",
        "members": size,
        "messages": [
            {"member": draw.randrange(size), "text": " ".join(draw.choices(WORDS, k=8))} for _ in range(20)
        ],
    }
