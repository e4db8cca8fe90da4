"""What can be done with a room."""

from . import history
from .tone import tone

TEXT_MAX = 2000


def post(room: str, id: str, author: str, text: str) -> dict:
    """Read the tone of a message and keep it. Asking again with the same id gives the same answer."""
    if not 0 < len(text) <= TEXT_MAX:
        raise ValueError(f"a message has 1 to {TEXT_MAX} characters, this one {len(text)}")
    label, _ = tone(text)
    return history.add(room, id, author, text, label)


def after(room: str, number: int) -> list[dict]:
    """The messages of a room behind a number, oldest first."""
    return history.after(room, number)
