from litestar import Litestar, Request, get, post
from litestar.response import Stream


@get("/hello/{name:str}")
async def hello(name: str, punctuation: str = "") -> dict[str, str]:
    return {"hello": name + punctuation}


@post("/sum", status_code=200)
async def total(data: list[float]) -> dict[str, float]:
    return {"sum": sum(data)}


@post("/upload", status_code=200, request_max_body_size=None)
async def upload(request: Request) -> dict[str, int]:
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
    return {"bytes": count}


@get("/stream")
async def stream() -> Stream:
    async def lines():
        for number in range(50):
            yield f"line {number}\n"

    return Stream(lines())


@get("/raise")
async def fail() -> None:
    raise ValueError("raised on purpose")


app = Litestar([hello, total, upload, stream, fail])
