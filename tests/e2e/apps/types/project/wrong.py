"""Calls of JavaScript that pyright must not accept."""

from bireme import node

page = node("./page.js")


async def main() -> None:
    await page.render({"titel": "a"})
    await page.render("a")
    n: int = await page.render({"title": "a"})
    await page.nothing()
    await node("./greeting.ts").greet({"id": 1, "name": "a"}, "rude")
    page.render.sync()
    print(n)
