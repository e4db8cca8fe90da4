from flask import Flask, Response, jsonify, redirect, request, stream_with_context

app = Flask(__name__)


@app.get("/")
def hello():
    return "hello", {"content-type": "text/plain"}


@app.route("/json", methods=["GET", "POST"])
def json():
    return jsonify(got=request.get_json()) if request.method == "POST" else jsonify(ok=True)


@app.get("/items/<id>")
def item(id):
    return jsonify(id=id, query=dict(request.args))


@app.post("/echo")
def echo():
    source = request.stream
    return Response(iter(lambda: source.read(65536), b""), mimetype="application/octet-stream")


@app.get("/redirect")
def to_json():
    return redirect("/json")


@app.get("/boom")
def boom():
    raise RuntimeError("the application broke on purpose")


@app.get("/context")
def context():
    """Pieces that look at the request while they are sent."""

    def pieces():
        for number in range(int(request.args["n"])):
            yield f"{request.path} {number}\n"

    return Response(stream_with_context(pieces()), mimetype="text/plain")


def create_app():
    return app
