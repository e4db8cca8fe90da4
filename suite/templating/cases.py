"""Orders to show on a page, with texts that need escaping."""

import random

NAMES = ["tea", "Käse", "<b>bold</b> bread", "salt & pepper", "寿司", "a > b"]


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield {
            "title": f"Orders & returns {draw.randint(1, 99)}",
            "orders": [{
                "id": number,
                "customer": draw.choice(NAMES),
                "paid": draw.random() < 0.5,
                "lines": [
                    {"item": draw.choice(NAMES), "count": draw.randint(1, 9), "cents": draw.randint(1, 99_999)}
                    for _ in range(draw.randint(1, 4))
                ],
            } for number in range(size)],
        }
