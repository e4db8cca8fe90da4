"""Calls of JavaScript that pyright accepts."""

from bireme import CallTimeout, node

page = node("./page.js")
greeting = node("./greeting.ts")


async def main() -> None:
    html: str = await page.render({"title": "a"}, 2)
    html += page.render.sync({"title": "a", "tags": ["b"]})
    async for item in page.feed():
        html += item
    for item in page.feed.sync():
        html += item
    version: str = await page.VERSION.get()
    counter = await page.Counter.new(1)
    n: float = await counter.add(2)
    try:
        greeted = await greeting.greet.with_(timeout=0.5)({"id": 1, "name": version}, "polite", 1, n)
        print(greeted["text"], greeted["at"].year)
    except CallTimeout:
        pass
    async for number in greeting.numbers():
        print(number + 1)
    await node("lodash").chunk([1, 2], 1)
