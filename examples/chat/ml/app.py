"""The history of the rooms over HTTP: how the site and other programs write and read it."""

import os

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from . import chat


async def health(request):
    return JSONResponse({"service": "ml", "pid": os.getpid()})


async def read(request):
    try:
        number = int(request.query_params.get("after", "0"))
    except ValueError:
        return JSONResponse({"error": "after is not a number"}, status_code=400)
    return JSONResponse(await run_in_threadpool(chat.after, request.path_params["room"], number))


async def write(request):
    """PUT, since the author's page names the message: doing it twice is doing it once, and Bireme may do so."""
    where = request.path_params
    try:
        message = await request.json()
        author, text = str(message["author"]), str(message["text"])
        kept = await run_in_threadpool(chat.post, where["room"], where["id"], author, text)
    except (ValueError, KeyError, TypeError) as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    return JSONResponse(kept)


app = Starlette(
    routes=[
        Route("/api/health", health),
        Route("/api/rooms/{room}/messages", read),
        Route("/api/rooms/{room}/messages/{id}", write, methods=["PUT"]),
    ]
)
