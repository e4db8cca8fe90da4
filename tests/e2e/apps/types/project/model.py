"""What the type checkers' test imports from TypeScript; it is never run."""

import datetime as dt
import enum
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
import numpy.typing as npt
from bireme import batch, node

from .schemas import User

page = node("./page.js")
VERSION = "1.0"


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)


class Model:
    """Learns."""

    def __init__(self, rate: float = 0.1, *, name: str = "m"):
        self.count: int = 0

    def fit(self, rows: list[tuple[int, str]]) -> int:
        """Fits."""
        return len(rows)

    @property
    def size(self) -> int:
        return 1

    @classmethod
    def load(cls, path: str) -> "Model":
        return cls()


def predict(values: list[float], top: int = 3, *, color: Optional[Color] = None) -> list[Point]:
    """Predicts."""
    return []


async def rows(query: str) -> AsyncIterator[dict[str, int]]:
    yield {}


def count(n):
    """Counts.

    Args:
        n (int): how far
    """
    yield n


def user(one: User) -> User:
    return one


def when(day: dt.date, who: uuid.UUID | None, tell: Callable[[int], str]) -> dict[int, dt.datetime]:
    return {}


def norm(vector: npt.NDArray[np.float64]) -> float:
    return 1.0


def strict(*, key: str) -> None:
    print(key)


@batch(max_size=4)
def embed(texts: list[str]) -> list[float]:
    return []


def delete(*items: int):
    print(items)
