"""A small service as people write it: a framework, a route with a parameter, a JSON answer."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    id: int
    customer: str
    cents: int


@app.get("/orders/{id}")
async def order(id: int) -> Order:
    return Order(id=id, customer="Käse", cents=1700)
