"""Orders as the text of a JSON document, some of it not ASCII."""

import json
import random

NAMES = ["tea", "Käse", "寿司", "pain d'épices", "🍎", 'a "quoted" name']


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        orders = [{
            "id": number,
            "customer": draw.choice(NAMES),
            "paid": draw.random() < 0.5,
            "lines": [
                {"item": draw.choice(NAMES), "count": draw.randint(1, 9), "cents": draw.randint(1, 99_999)}
                for _ in range(draw.randint(1, 6))
            ],
        } for number in range(size)]
        yield json.dumps(orders, ensure_ascii=False)
