from quart import Quart, request

app = Quart(__name__)


@app.get("/hello/<name>")
async def hello(name):
    return {"hello": name + request.args.get("punctuation", "")}


@app.post("/sum")
async def total():
    return {"sum": sum(await request.get_json())}


@app.post("/upload")
async def upload():
    count = 0
    async for chunk in request.body:
        count += len(chunk)
    return {"bytes": count}


@app.get("/stream")
async def stream():
    async def lines():
        for number in range(50):
            yield f"line {number}\n".encode()

    return lines(), 200


@app.get("/raise")
async def fail():
    raise ValueError("raised on purpose")
