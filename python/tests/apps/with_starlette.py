from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


async def hello(request):
    return JSONResponse({"hello": request.path_params["name"] + request.query_params.get("punctuation", "")})


async def total(request):
    return JSONResponse({"sum": sum(await request.json())})


async def upload(request):
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
    return JSONResponse({"bytes": count})


async def stream(request):
    async def lines():
        for number in range(50):
            yield f"line {number}\n"

    return StreamingResponse(lines())


async def fail(request):
    raise ValueError("raised on purpose")


app = Starlette(
    routes=[
        Route("/hello/{name}", hello),
        Route("/sum", total, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/stream", stream),
        Route("/raise", fail),
    ]
)
