"""The sockets' contract in Starlette, and, as `fast`, in FastAPI."""

from fastapi import FastAPI, WebSocket as FastWebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def echo(socket: WebSocket) -> None:
    if socket.url.path == "/refused":
        await socket.close()
        return
    if socket.url.path == "/denied":
        await socket.send_denial_response(PlainTextResponse("who are you?", 401, {"x-why": "nobody"}))
        return
    chosen = "chat" if "chat" in socket.scope["subprotocols"] else None
    await socket.accept(subprotocol=chosen, headers=[(b"x-app", b"starlette")])
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
            if message.get("text") == "close":
                await socket.close(4001, "as you wish")
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        print("left", left.code, left.reason, flush=True)


async def home(request) -> PlainTextResponse:
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/", home), WebSocketRoute("/{path:path}", echo)])

fast = FastAPI()


@fast.get("/")
async def fast_home() -> str:
    return "ok"


@fast.websocket("/{path:path}")
async def fast_echo(socket: FastWebSocket) -> None:
    await echo(socket)
