"""The history of the rooms over HTTP, for other programs. The site itself calls `chat`'s functions."""

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


app = Starlette(routes=[Route("/api/health", health), Route("/api/rooms/{room}/messages", read)])
