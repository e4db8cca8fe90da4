"""Calls of TypeScript that pyright and mypy accept."""

import numpy as np
from bireme import node

typed = node("./typed.ts")


async def main() -> None:
    text: str = await typed.first([{"rows": ["a"]}])
    one: float = await typed.parse(text)
    many: list[float] = typed.parse.sync(text, True)
    shown = await typed.show({"id": 1, "name": text}, {"theme": "dark"})
    same = await typed.show({"id": 1, "name": text}, theme="light", depth=2)
    names: list[str] = [user["name"] for user in [*shown["rows"], *same["rows"]]]
    pixels = await typed.scale(np.zeros(3), 0.5)
    half: np.float32 = pixels[0]
    level = await typed.each([{"id": 1, "name": "a"}], lambda user: user["id"] > 1)
    low: bool = level == 5
    box = await typed.Box.new(1.5)
    item: float = await box.get()
    again: float = await box.item.get()
    html: str = await typed.render({"title": text}, 2)
    greeting: str = await typed.api.v1.greet.with_(timeout=0.5)(text, lang="de")
    high = await typed.Level.High.get()
    print(one, many, names, half, low, item, again, html, greeting, high + 1)
