"""Topics in a WSGI application, whose threads publish and listen; see tests/e2e/test_pubsub.py."""

import json
from urllib.parse import parse_qs

import bireme

heard = []
bireme.subscribe("news", lambda data: heard.append(data if isinstance(data, str) else f"bytes {len(data)}"))
seen = []
bireme.presence("room", lambda event: seen.append([event.joined, event.name, event.members]))


def fill():
    opened = []
    try:
        while True:
            opened.append(bireme.subscribe(f"fill-{len(opened)}", lambda data: None))
    except bireme.TopicsFull as error:
        for subscription in opened:
            subscription.close()
        return [len(opened), type(error).__name__]


def answer(what, topic, body):
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
        case "topics":
            return bireme.topics().result()
        case "fill":
            return fill()
        case "next":
            with bireme.subscribe(topic) as subscription:
                return next(subscription)
    return "here"


def app(environ, start_response):
    topic = parse_qs(environ["QUERY_STRING"]).get("topic", [None])[0]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(answer(environ["PATH_INFO"].rsplit("/")[-1], topic, body)).encode()]
