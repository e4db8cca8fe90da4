from typing import Any

from litestar import Litestar, MediaType, Request, get, post
from litestar.response import Redirect, Stream


@get("/", media_type=MediaType.TEXT)
async def hello() -> str:
    return "hello"


@get("/json")
async def read_json() -> dict[str, bool]:
    return {"ok": True}


@post("/json", status_code=200)
async def post_json(data: dict[str, Any]) -> dict[str, Any]:
    return {"got": data}


@get("/items/{id:str}")
async def item(id: str, request: Request) -> dict[str, Any]:
    return {"id": id, "query": dict(request.query_params)}


@post("/echo", status_code=200)
async def echo(request: Request) -> Stream:
    # Litestar's Stream watches for a disconnect with the same receive() that request.stream() reads, so the body is
    # read first.
    body = await request.body()
    return Stream(iter([body]))


@get("/redirect", status_code=302)
async def redirect() -> Redirect:
    return Redirect("/json", status_code=302)


@get("/boom")
async def boom() -> None:
    raise RuntimeError("the application broke on purpose")


app = Litestar([hello, read_json, post_json, item, echo, redirect, boom])
