"""A room whose messages all get, in FastAPI: as its documentation shows, and over topics where Bireme serves it."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

try:
    import bireme
except ImportError:
    bireme = None

app = FastAPI()
room = set()


@app.get("/")
async def root():
    return PlainTextResponse("Hello, world!")


@app.websocket("/room")
async def talk(websocket: WebSocket):
    await websocket.accept()
    if bireme is not None:
        bireme.socket(websocket).subscribe("room")
    room.add(websocket)
    try:
        async for text in websocket.iter_text():
            if bireme is not None:
                bireme.publish("room", text)
            else:
                for other in list(room):
                    await other.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        room.discard(websocket)
