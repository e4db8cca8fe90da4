from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Route


async def hello(request):
    return PlainTextResponse("hello")


async def json(request):
    return JSONResponse({"got": await request.json()} if request.method == "POST" else {"ok": True})


async def item(request):
    return JSONResponse({"id": request.path_params["id"], "query": dict(request.query_params)})


async def echo(request):
    return StreamingResponse(request.stream())


async def redirect(request):
    return RedirectResponse("/json", 302)


async def boom(request):
    raise RuntimeError("the application broke on purpose")


async def file(request):
    return FileResponse(__file__)


async def pathsend(request):
    return PlainTextResponse(str("http.response.pathsend" in request.scope["extensions"]))


done = 0


async def count():
    global done
    done += 1


async def background(request):
    return JSONResponse({"done": done}, background=BackgroundTask(count))


async def stream(request):
    async def pieces():
        for number in range(int(request.query_params["n"])):
            yield f"{number}\n"

    return StreamingResponse(pieces(), media_type="text/plain")


app = Starlette(
    routes=[
        Route("/", hello),
        Route("/json", json, methods=["GET", "POST"]),
        Route("/items/{id}", item),
        Route("/echo", echo, methods=["POST"]),
        Route("/redirect", redirect),
        Route("/boom", boom),
        Route("/file", file),
        Route("/pathsend", pathsend),
        Route("/background", background),
        Route("/stream", stream),
    ]
)
