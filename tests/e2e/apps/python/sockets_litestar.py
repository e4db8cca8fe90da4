"""The sockets' contract in Litestar."""

from litestar import Litestar, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect


@websocket("/{path:path}")
async def echo(socket: WebSocket) -> None:
    if socket.url.path == "/refused":
        await socket.close()
        return
    chosen = "chat" if "chat" in socket.scope["subprotocols"] else None
    await socket.accept(subprotocols=chosen, headers={"x-app": "litestar"})
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                print("left", message["code"], message.get("reason"), flush=True)
                return
            if message.get("text") == "close":
                await socket.close(4001, "as you wish")
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        print("left", left.code, flush=True)


@get("/")
async def home() -> str:
    return "ok"


app = Litestar([echo, home])
