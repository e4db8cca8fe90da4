"""Topics outside of sockets, and on them, in an ASGI application; see tests/e2e/test_pubsub.py."""

import asyncio
from urllib.parse import parse_qs

import bireme
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

heard = []
bireme.subscribe("news", lambda data: heard.append(data if isinstance(data, str) else f"bytes {len(data)}"))
seen = []


async def watch(event):
    seen.append([event.joined, event.name, event.members])


bireme.presence("room", watch)


def fill():
    opened = []
    try:
        while True:
            opened.append(bireme.subscribe(f"fill-{len(opened)}", lambda data: None))
    except bireme.TopicsFull as error:
        for subscription in opened:
            subscription.close()
        return [len(opened), type(error).__name__]


async def answer(request):
    topic = request.query_params.get("topic")
    match request.path_params["what"]:
        case "publish":
            for line in (await request.body()).decode().split("\n"):
                bireme.publish(topic, line)
            return JSONResponse("published")
        case "thread":
            lines = (await request.body()).decode().split("\n")
            await asyncio.to_thread(lambda: [bireme.publish(topic, line) for line in lines])
            return JSONResponse("published")
        case "bytes":
            bireme.publish(topic, await request.body())
            return JSONResponse("published")
        case "heard":
            return JSONResponse(heard)
        case "seen":
            return JSONResponse(seen)
        case "topics":
            return JSONResponse(await bireme.topics())
        case "fill":
            return JSONResponse(fill())
        case "next":
            async for data in bireme.subscribe(topic):
                return JSONResponse(data)
    return JSONResponse("here")


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
