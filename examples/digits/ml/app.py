"""The service that reads digits: an ordinary FastAPI application, also at home under ``uvicorn ml.app:app``."""

import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from .drawing import image_of
from .model import middle_of, train

Coordinate = Annotated[float, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]
Stroke = Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=2_000)]


class Drawing(BaseModel):
    """What was drawn: strokes, each a list of points (x, y) in pixels, y downwards."""

    strokes: Annotated[list[Stroke], Field(max_length=50)]


class Answer(BaseModel):
    """What the model makes of it."""

    digit: int
    confidence: float
    probabilities: list[float]
    milliseconds: float


class Health(BaseModel):
    """Who answers."""

    service: str
    python: str
    pid: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Train the model before the first request."""
    begin = time.perf_counter()
    app.state.model = train()
    print(f"digits: the model is trained, in {time.perf_counter() - begin:.1f} s", flush=True)
    yield


app = FastAPI(title="Digits", lifespan=lifespan, docs_url="/api/docs", openapi_url="/api/openapi.json")


@app.get("/api/health")
async def health() -> Health:
    """Say that the service is up, and which interpreter it runs on."""
    return Health(service="ml", python=platform.python_version(), pid=os.getpid())


def read(drawing: Drawing) -> Answer:
    """Read the digit. The site calls this from JavaScript; raises ValueError when nothing is drawn."""
    begin = time.perf_counter()
    image = image_of(drawing.strokes)
    shares = app.state.model.predict_proba(image.reshape(1, -1))[0]
    return Answer(
        digit=int(shares.argmax()),
        confidence=float(shares.max()),
        probabilities=[float(share) for share in shares],
        milliseconds=(time.perf_counter() - begin) * 1000,
    )


# Not `async`: the model computes for some milliseconds, and FastAPI gives such functions a thread.
@app.post("/api/predict")
def predict(drawing: Drawing) -> Answer:
    """Read the digit, for who asks over HTTP."""
    try:
        return read(drawing)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


@app.get("/api/card/{digit}", response_class=HTMLResponse)
async def card(digit: Annotated[int, Path(ge=0, le=9)]) -> str:
    """Show what the model has learnt of a digit: the numbers are Python's, the picture is a React component's."""
    # Here and not above: under uvicorn the rest of this application runs without Bireme.
    from bireme import node

    samples, rows = middle_of(digit)
    return await node("../web/card.js").card({"digit": digit, "samples": samples, "rows": rows})
