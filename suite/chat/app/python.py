"""Rooms: what one member says is numbered and goes to all members of the room, the speaker included."""

import asyncio
import json

ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
ROOMS = {}


class Room:
    def __init__(self):
        self.members = set()
        self.said = 0


async def answer(send, members):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": ENCODE({"members": members}).encode()})


async def say(member, event):
    try:
        await member(event)
    except OSError:
        # Gone; its own task takes it out of the room.
        pass


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    name = scope["path"].removeprefix(scope["root_path"])
    if scope["type"] == "http":
        room = ROOMS.get(name)
        await answer(send, len(room.members) if room else 0)
        return
    await receive()
    await send({"type": "websocket.accept"})
    room = ROOMS.setdefault(name, Room())
    room.members.add(send)
    try:
        await send({"type": "websocket.send", "text": '{"type":"welcome"}'})
        while (event := await receive())["type"] == "websocket.receive":
            text = json.loads(event["text"])["text"]
            room.said += 1
            message = {"type": "websocket.send", "text": ENCODE({"type": "message", "number": room.said, "text": text})}
            await asyncio.gather(*[say(member, message) for member in room.members])
    finally:
        room.members.discard(send)
        if not room.members:
            ROOMS.pop(name, None)
