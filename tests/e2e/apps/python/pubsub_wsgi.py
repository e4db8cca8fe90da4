"""Topics in a WSGI application, whose threads publish and listen; see tests/e2e/test_pubsub.py."""

import json
from urllib.parse import parse_qs

import bireme
import pubsub_shared

bireme.presence("room", lambda event: pubsub_shared.seen.append([event.joined, event.name, event.members]))


def answer(what, topic, body):
    match what:
        case "topics":
            questions = [bireme.topics() for _ in range(pubsub_shared.QUESTIONS)]
            return pubsub_shared.only([question.result() for question in questions])
        case "next":
            with bireme.subscribe(topic) as subscription:
                return next(subscription)
    return pubsub_shared.answer(what, topic, body)


def app(environ, start_response):
    topic = parse_qs(environ["QUERY_STRING"]).get("topic", [None])[0]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(answer(environ["PATH_INFO"].rsplit("/")[-1], topic, body)).encode()]
