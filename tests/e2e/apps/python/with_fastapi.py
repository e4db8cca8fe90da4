from contextlib import asynccontextmanager

import anyio
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(app):
    yield {"warm": True}


app = FastAPI(lifespan=lifespan)
done = []


class Item(BaseModel):
    id: str
    query: dict[str, str]


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "hello"


@app.get("/json")
async def read_json(request: Request):
    return {"ok": request.state.warm}


@app.post("/json")
def post_json(body: dict):
    return {"got": body}


@app.get("/items/{id}")
async def item(id: str, request: Request) -> Item:
    return Item(id=id, query=dict(request.query_params))


@app.post("/echo")
async def echo(request: Request):
    return StreamingResponse(request.stream(), media_type="application/octet-stream")


@app.get("/redirect")
async def redirect():
    return RedirectResponse("/json", 302)


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(done.append, "done")
    return {"done": len(done)}


@app.get("/group")
async def group():
    results = []

    async def work(number):
        await anyio.sleep(0)
        results.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(work, number)
    return sorted(results)


@app.get("/boom")
async def boom():
    raise RuntimeError("the application broke on purpose")
