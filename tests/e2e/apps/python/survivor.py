"""Sockets that outlive their worker, as an object with handlers; see tests/e2e/test_survival.py."""

import os

import bireme


class Survivor(bireme.Sockets):
    def upgrade(self, handshake):
        handshake.subprotocol = "chat"
        return {"name": handshake.query["name"]}

    def open(self, ws):
        ws.subscribe("room", name=ws.data["name"])
        ws.send(f"open {os.getpid()}")

    def resume(self, ws):
        ws.send(f"resumed {os.getpid()} {ws.data['name']} {','.join(ws.topics)} {str(ws.resumed).lower()}")

    def message(self, ws, data):
        if data == "id":
            ws.send(ws.id)
        elif data == "all":
            bireme.publish("room", "to all")
        elif data == "leave":
            ws.unsubscribe("room")
            ws.send("left")
        else:
            ws.send(data)

    def close(self, ws, code, reason):
        print("closed", ws.data["name"], code, reason, flush=True)


async def http(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


app = Survivor(http)
