from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Nested(BaseModel):
    ok: bool


class Answer(BaseModel):
    message: str
    items: list[int]
    nested: Nested


@app.get("/")
async def read() -> Answer:
    return Answer(message="Hello, world!", items=[1, 2, 3], nested=Nested(ok=True))
