"""Calls of TypeScript that pyright and mypy must not accept."""

import numpy as np
from bireme import node

typed = node("./typed.ts")


async def main() -> None:
    number: int = await typed.first([{"rows": ["a"]}])  # wrong
    several: list[float] = await typed.parse("1")  # wrong
    await typed.parse("1", 2)  # wrong
    await typed.show({"id": "one", "name": "a"}, {"theme": "dark"})  # wrong
    await typed.show({"id": 1, "name": "a"}, theme="grey")  # wrong
    await typed.scale([1.0])  # wrong
    await typed.each([{"id": 1, "name": "a"}], lambda user: user["nick"])  # wrong
    box = await typed.Box.new("a")
    item: int = await box.get()  # wrong
    await typed.api.v1.greet("a", language="de")  # wrong
    await typed.Level.Medium.get()  # wrong
    print(number, several, item, np.pi)
