import asyncio
import contextlib
import contextvars

import anyio
import anyio.to_thread
import sniffio
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import FileResponse, StreamingResponse

variable = contextvars.ContextVar("variable")
background_done = asyncio.Event()
endless_done = asyncio.Event()
results = {"background": [], "endless": []}


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"value": "from the lifespan"}
    print("lifespan ended")


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def set_variable(request, call_next):
    variable.set("set in the middleware")
    return await call_next(request)


@app.get("/hello/{name}")
async def hello(name: str, punctuation: str = ""):
    return {"hello": name + punctuation}


@app.post("/sum")
async def total(numbers: list[float]):
    return {"sum": sum(numbers)}


@app.post("/upload")
async def upload(request: Request):
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
    return {"bytes": count}


@app.get("/stream")
def stream():
    return StreamingResponse(f"line {number}\n" for number in range(50))


@app.get("/raise")
async def fail():
    raise ValueError("raised on purpose")


@app.get("/group")
async def group():
    found = {}

    async def square(number):
        await anyio.sleep(0.001 * number)
        found[number] = number * number

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(square, number)
    timed_out = False
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep(30)
    timed_out = scope.cancelled_caught
    return {
        "results": [found[number] for number in sorted(found)],
        "library": sniffio.current_async_library(),
        "context": variable.get(),
        "thread": await anyio.to_thread.run_sync(variable.get),
        "timed_out": timed_out,
    }


@app.get("/background")
async def background(tasks: BackgroundTasks):
    async def later():
        await asyncio.sleep(0.01)
        results["background"].append("done")
        background_done.set()

    tasks.add_task(later)
    return "answered"


@app.get("/background-result")
async def background_result():
    await background_done.wait()
    return results["background"]


@app.get("/state")
async def state(request: Request):
    return {"state": request.state.value}


@app.get("/endless")
async def endless():
    async def parts():
        try:
            while True:
                yield b"x" * 100
                await asyncio.sleep(0.001)
        finally:
            results["endless"].append("closed")
            endless_done.set()

    return StreamingResponse(parts())


@app.get("/endless-result")
async def endless_result():
    await endless_done.wait()
    return results["endless"]


@app.get("/file")
async def file():
    return FileResponse(__file__)
