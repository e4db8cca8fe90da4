"""What the ASGI and the WSGI application of tests/e2e/test_pubsub.py have in common."""

import bireme

heard = []
bireme.subscribe("news", lambda data: heard.append(data if isinstance(data, str) else f"bytes {len(data)}"))
seen = []
LONG = ["x" * (1 << 21), b"x" * (1 << 21), "é" * 600_000, memoryview(bytes(1 << 21)).cast("Q")]


def refusals():
    """What becomes of messages that are too long."""
    refused = []
    for data in LONG:
        try:
            bireme.publish("long", data)
        except ValueError as error:
            refused.append(str(error))
    return refused


def publish_until_full():
    """How many messages of 1,000,000 bytes are taken when none of them can leave."""
    for taken in range(100):
        try:
            bireme.publish("early", bytes(1_000_000))
        except bireme.TopicsFull:
            return taken
    return None


# Before the worker has links.
early = {"refused": refusals(), "taken": publish_until_full()}


# Asked at once; the first is answered alone, and the others by the next answer.
QUESTIONS = 5


def only(answers):
    """What all of those are that were asked for together."""
    first, second, *rest = answers
    # None is another's, to be changed by it.
    assert all(answer == second and answer is not second for answer in rest)
    return second


def fill():
    """How many subscriptions can be opened, and the error that says so."""
    opened = []
    try:
        while True:
            opened.append(bireme.subscribe(f"fill-{len(opened)}", lambda data: None))
    except bireme.TopicsFull as error:
        for subscription in opened:
            subscription.close()
        return [len(opened), type(error).__name__]


def answer(what, topic, body):
    """What both do alike."""
    match what:
        case "publish":
            for line in body.decode().split("\n"):
                bireme.publish(topic, line)
            return "published"
        case "bytes":
            bireme.publish(topic, bytearray(body))
            return "published"
        case "heard":
            return heard
        case "seen":
            return seen
        case "fill":
            return fill()
        case "early":
            return early | {"refused later": refusals()}
    return "here"
