"""Annotations that TypeScript is told of: of other files, with type variables, with overloads; it is never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar, Union, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Self, TypeAlias, Unpack

import lib.shapes as shapes
from lib import Shape
from lib.shapes import Account, Cell, Mode, Names, Options, Page, Pair, Size, UserId

T = TypeVar("T")
K = TypeVar("K", str, bytes)
Rows: TypeAlias = list[dict[str, T]]
LIMITS: Final = {"low": 1, "high": 2.5}
COLORS = ["red", "blue"]


class Scorer(Protocol):
    def __call__(self, text: str, weight: float = 1.0) -> int: ...


class Fitting(Protocol):
    def fit(self, rows: Sequence[float]) -> Self: ...


class Counts(dict[str, int]):
    pass


class Box(Generic[T]):
    def __init__(self, item: T, *, label: str = "") -> None:
        self.item = item
        self.label = label
        self.opened = 0

    def get(self) -> T:
        return self.item

    def put(self, item: T) -> Self:
        self.item = item
        return self

    @overload
    def at(self, where: int) -> T: ...
    @overload
    def at(self, where: Literal["all"]) -> list[T]: ...
    def at(self, where: Any) -> Any:
        return self.item

    @classmethod
    def empty(cls) -> Box[None]:
        return cls(None)


class Words(Box[str]):
    pass


class Line:
    def fit(self, rows: Sequence[float]) -> Self:
        return self


def first(values: Sequence[T], default: T | None = None) -> T:
    return values[0]


def double(text: K) -> K:
    return text


@overload
def parse(text: str, *, many: Literal[True]) -> list[int]: ...
@overload
def parse(text: str, base: int = 10) -> int: ...
@overload
def parse(text: bytes) -> bytes: ...
def parse(text, base=10, *, many=False):
    return 0


def shape(one: Shape, mode: Mode = "fast") -> shapes.Page[Shape]:
    raise NotImplementedError


def cells(cell: Cell, pair: Pair[float]) -> tuple[Cell, ...]:
    return ()


def account(one: Account, names: Names, owner: UserId) -> Account:
    return one


def search(text: str, **options: Unpack[Options]) -> Union[Rows[int], None]:
    return None


def size(which: Literal[Size.LARGE]) -> Size:
    return which


def score(scorer: Scorer, each: Callable[[int, str], Awaitable[bool]]) -> Counts:
    return Counts()


def later() -> Callable[[float], str]:
    return str


def arrays(flat: np.ndarray[tuple[int], np.dtype[np.int32]], any_shape: npt.NDArray[np.float32], flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return any_shape


async def pages(of: Iterable[Annotated[int, "ids"]]) -> AsyncGenerator[Page[int], None]:
    yield Page([])


def train(model: Fitting) -> Box[int]:
    return Box(1)
