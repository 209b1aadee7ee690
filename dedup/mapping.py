"""How work in this process is handed out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class LocalMapper(Protocol):
    """Applies a function to each of a sequence, in this process; answers in order."""

    def __call__(self, function: Callable[[T], R], tasks: Sequence[T], /) -> Iterable[R]:
        """One answer per task."""
        ...
