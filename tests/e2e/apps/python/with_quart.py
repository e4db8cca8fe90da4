from quart import Quart, jsonify, redirect, request, websocket

app = Quart(__name__)


@app.get("/")
async def hello():
    return "hello", {"content-type": "text/plain"}


@app.route("/json", methods=["GET", "POST"])
async def json():
    return jsonify(got=await request.get_json()) if request.method == "POST" else jsonify(ok=True)


@app.get("/items/<id>")
async def item(id):
    return jsonify(id=id, query=dict(request.args))


@app.post("/echo")
async def echo():
    body = request.body

    async def parts():
        async for part in body:
            yield part

    return parts(), {"content-type": "application/octet-stream"}


@app.get("/redirect")
async def to_json():
    return redirect("/json")


@app.websocket("/socket")
async def socket():
    while True:
        await websocket.send(await websocket.receive())


@app.get("/boom")
async def boom():
    raise RuntimeError("the application broke on purpose")
