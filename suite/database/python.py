"""Looks customers up one by one, sums a city up, and adds purchases in a transaction that is rolled back."""

import sqlite3
from pathlib import Path

# Transactions are begun by hand. sqlite3 keeps prepared statements by their text.
DATABASE = sqlite3.connect(":memory:", isolation_level=None)
DATABASE.executescript((Path(__file__).parent / "schema.sql").read_text())
BY_ID = "SELECT id, name, city FROM customer WHERE id = ?"
OF_CITY = (
    "SELECT customer.id, name, count(*) AS purchases, sum(cents) AS cents FROM customer "
    "JOIN purchase ON purchase.customer = customer.id WHERE city = ? GROUP BY customer.id ORDER BY cents DESC, customer.id"
)
ADD = "INSERT INTO purchase (customer, cents) VALUES (?, ?)"
TOTAL = "SELECT count(*) AS purchases, sum(cents) AS cents FROM purchase"


def as_dict(cursor, row):
    return dict(zip([column[0] for column in cursor.description], row))


DATABASE.row_factory = as_dict


def run(case):
    execute = DATABASE.execute
    found = [execute(BY_ID, (customer,)).fetchone() for customer in case["customers"]]
    sums = execute(OF_CITY, (case["city"],)).fetchall()
    execute("BEGIN")
    DATABASE.executemany(ADD, case["purchases"])
    after = execute(TOTAL).fetchone()
    execute("ROLLBACK")
    return {"found": found, "sums": sums, "after": after}
