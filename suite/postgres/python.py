"""Looks customers up one by one, sums a city up, and adds purchases in a transaction that is rolled back."""

import asyncio
import os
from pathlib import Path

import asyncpg

SCHEMA = (Path(__file__).parent / "schema.sql").read_text()
BY_ID = "SELECT id, name, city FROM customer WHERE id = $1"
OF_CITY = (
    "SELECT customer.id, name, count(*)::integer AS purchases, sum(cents)::integer AS cents FROM customer "
    "JOIN purchase ON purchase.customer = customer.id WHERE city = $1 GROUP BY customer.id ORDER BY cents DESC, customer.id"
)
ADD = "INSERT INTO purchase (customer, cents) VALUES ($1, $2)"
TOTAL = "SELECT count(*)::integer AS purchases, sum(cents)::integer AS cents FROM purchase"
# One connection: whoever comes meanwhile waits, as a transaction is its own.
turn = asyncio.Lock()
connection = None


async def run(case):
    # asyncpg prepares each statement once and keeps it by its text.
    global connection
    async with turn:
        if connection is None:
            connection = await asyncpg.connect(os.environ["BIREME_SUITE_POSTGRES"])
            await connection.execute(SCHEMA)
        return await ask(case)


async def ask(case):
    found = [dict(await connection.fetchrow(BY_ID, customer)) for customer in case["customers"]]
    sums = [dict(row) for row in await connection.fetch(OF_CITY, case["city"])]
    await connection.execute("BEGIN")
    for purchase in case["purchases"]:
        await connection.execute(ADD, *purchase)
    after = dict(await connection.fetchrow(TOTAL))
    await connection.execute("ROLLBACK")
    return {"found": found, "sums": sums, "after": after}
