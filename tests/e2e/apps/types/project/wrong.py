"""Calls of JavaScript that pyright must not accept."""

from bireme import node

page = node("./page.js")


async def main() -> None:
    await page.render({"titel": "a"})  # wrong
    await page.render("a")  # wrong
    n: int = await page.render({"title": "a"})  # wrong
    await page.nothing()  # wrong
    await node("./greeting.ts").greet({"id": 1, "name": "a"}, "rude")  # wrong
    page.render.sync()  # wrong
    print(n)
