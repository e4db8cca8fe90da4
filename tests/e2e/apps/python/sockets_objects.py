"""The sockets' contract as an object with handlers; see tests/e2e/test_websockets.py."""

import bireme


class Echo(bireme.Sockets):
    async def upgrade(self, handshake):
        if handshake.path == "/refused":
            raise bireme.Refused()
        if handshake.path == "/denied":
            raise bireme.Refused(401, "who are you?", {"X-Why": "nobody"})
        if handshake.path == "/unasked":
            handshake.subprotocol = "unasked"
        elif "chat" in handshake.subprotocols:
            handshake.subprotocol = "chat"
        handshake.response_headers["x-app"] = "objects"
        return {"path": handshake.path}

    def message(self, ws, data):
        if data == "close":
            ws.close(4001, "as you wish")
        elif data == "raise":
            raise ValueError("asked to")
        elif data == "return":
            ws.close()
        elif data == "flood":
            for _ in range(64):
                ws.data["last"] = ws.send(bytes(1 << 20))
        elif data == "count":
            ws.data["counted"] = all([ws.send(f"{number:08}".ljust(16_384)) for number in range(700)])
        else:
            ws.send(data)

    async def drain(self, ws):
        if "last" in ws.data:
            ws.send(f"drained after {ws.data['last']}")
        if ws.data.pop("counted", False):
            print("sent all", flush=True)

    def close(self, ws, code, reason):
        print("left", code, reason, flush=True)


async def http(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


app = Echo(http)
