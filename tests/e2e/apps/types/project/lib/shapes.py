"""Types that other files of the project import."""

import enum
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

from pydantic import BaseModel, Field, RootModel

T = TypeVar("T")
Mode = Literal["fast", "exact"]
UserId = NewType("UserId", int)
Pair = tuple[T, T]


class Size(enum.IntEnum):
    SMALL = enum.auto()
    LARGE = enum.auto()


class Shape(TypedDict, total=False):
    name: str
    size: Size


class Cell(NamedTuple):
    row: int
    column: int = 0


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: "Page[T] | None" = None
    total: int = field(default=0, init=False)


class Account(BaseModel):
    user_name: str = Field(alias="userName")
    limits: dict[str, float] = Field(default_factory=dict)
    owner: UserId = Field(...)


class Names(RootModel[list[str]]):
    pass


Options = TypedDict("Options", {"mode": Mode, "page-size": int}, total=False)
