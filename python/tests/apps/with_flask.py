from flask import Flask, request

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name):
    return {"hello": name + request.args.get("punctuation", "")}


@app.post("/sum")
def total():
    return {"sum": sum(request.get_json())}


@app.post("/upload")
def upload():
    count = 0
    while chunk := request.stream.read(50_000):
        count += len(chunk)
    return {"bytes": count}


@app.get("/stream")
def stream():
    return (f"line {number}\n" for number in range(50)), 200


@app.get("/raise")
def fail():
    raise ValueError("raised on purpose")
