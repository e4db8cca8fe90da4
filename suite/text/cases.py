"""Lines of an access log, a few of them broken."""

import random

METHODS = ["GET", "GET", "GET", "POST", "PUT"]
PATHS = ["/", "/api/orders", "/api/users/17", "/assets/app.js", "/search?q=ann@example.org"]


def line(draw):
    if draw.random() < 0.02:
        return "-- log rotated --"
    address = ".".join(str(draw.randint(1, 254)) for _ in range(4))
    clock = f"{draw.randint(0, 23):02}:{draw.randint(0, 59):02}:{draw.randint(0, 59):02}"
    request = f"{draw.choice(METHODS)} {draw.choice(PATHS)} HTTP/1.1"
    return f'{address} - - [{clock}] "{request}" {draw.choice([200, 200, 204, 304, 404, 500])} {draw.randint(0, 50_000)}'


def cases(size, seed):
    draw = random.Random(seed)
    for _ in range(3):
        yield "\n".join(line(draw) for _ in range(size))
