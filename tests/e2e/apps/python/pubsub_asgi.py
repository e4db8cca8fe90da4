"""Topics outside of sockets, and on them, in an ASGI application; see tests/e2e/test_pubsub.py."""

import asyncio
from urllib.parse import parse_qs

import bireme
import pubsub_shared
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute


async def watch(event):
    pubsub_shared.seen.append([event.joined, event.name, event.members])


bireme.presence("room", watch)


async def answer(request):
    what, topic = request.path_params["what"], request.query_params.get("topic")
    body = await request.body()
    match what:
        case "thread":
            return JSONResponse(await asyncio.to_thread(pubsub_shared.answer, "publish", topic, body))
        case "topics":
            answers = await asyncio.gather(*(bireme.topics() for _ in range(pubsub_shared.QUESTIONS)))
            return JSONResponse(pubsub_shared.only(answers))
        case "next":
            async for data in bireme.subscribe(topic):
                return JSONResponse(data)
    return JSONResponse(pubsub_shared.answer(what, topic, body))


async def socket(websocket):
    await websocket.accept()
    query = parse_qs(websocket.scope["query_string"].decode())
    topic = query["topic"][0]
    own = bireme.socket(websocket)
    own.subscribe(topic, name=query.get("name", [""])[0])
    await websocket.send_text(f"in {topic}")
    async for data in websocket.iter_text():
        if data == "leave":
            bireme.socket(websocket.scope).unsubscribe(topic)
        else:
            own.publish(topic, data)


app = Starlette(
    routes=[
        Route("/{prefix}/{what}", answer, methods=["GET", "POST"]),
        WebSocketRoute("/{prefix}/socket", socket),
    ]
)
