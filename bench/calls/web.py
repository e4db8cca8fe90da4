"""add() over HTTP, as one would offer it to Node without a bridge."""

from fastapi import FastAPI
from model import add

app = FastAPI()


@app.get("/add")
async def call_add(a: int, b: int) -> int:
    return add(a, b)
