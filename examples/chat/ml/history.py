"""The messages of all rooms, in one SQLite file that every worker opens.

A message has an id that its author's page gave it. Adding it twice adds it once, so whoever did not hear an answer may
simply ask again.
"""

import os
import sqlite3
import threading
from pathlib import Path

DATABASE = Path(os.environ.get("CHAT_DATABASE", Path(__file__).with_name("chat.sqlite")))
# Another worker's write takes milliseconds.
BUSY_TIMEOUT_S = 5.0
PAGE_MAX = 200

_SCHEMA = """
create table if not exists message (
    room text not null,
    number integer not null,
    id text not null unique,
    author text not null,
    text text not null,
    tone text not null,
    primary key (room, number)
) without rowid
"""
_COLUMNS = "room, number, id, author, text, tone"
_thread = threading.local()


def _connection():
    connection = getattr(_thread, "connection", None)
    if connection is None:
        connection = sqlite3.connect(DATABASE, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma journal_mode = wal")
        connection.execute(_SCHEMA)
        _thread.connection = connection
    return connection


def add(room, id, author, text, tone):
    """Add a message unless it is there; return it with its number in the room, from 1 without gaps."""
    connection = _connection()
    connection.execute("begin immediate")
    with connection:
        connection.execute(
            f"insert into message ({_COLUMNS})"
            " select ?, coalesce(max(number), 0) + 1, ?, ?, ?, ? from message where room = ?"
            " on conflict (id) do nothing",
            (room, id, author, text, tone, room),
        )
        row = connection.execute(f"select {_COLUMNS} from message where id = ?", (id,)).fetchone()
    return dict(row)


def after(room, number):
    """The messages of `room` behind `number`, oldest first; the newest `PAGE_MAX` of them."""
    rows = _connection().execute(
        f"select {_COLUMNS} from message where room = ? and number > ? order by number desc limit ?",
        (room, number, PAGE_MAX),
    )
    return [dict(row) for row in reversed(rows.fetchall())]
