"""Rows that lie in several arrays, taken as if they lay in one."""

from __future__ import annotations

import numpy as np

from dedup.arrays import Floats, Ints
from dedup.cells.codes import Codes
from dedup.cells.memory import addresses, copy_rows


class Ragged:
    """Rows of several arrays in a common order, without a copy until they are taken.

    Args:
        parts: C-contiguous arrays of one type, (n_i, d) or (n_i,), such as views of mapped files.
        order: Rows of the parts, one after the other, in the order wanted, int64 (n,).

    Raises:
        ValueError: If the arrays differ in type or width, or have gaps.
    """

    def __init__(self, parts: list[np.ndarray], order: Ints) -> None:
        first = parts[0]
        for part in parts:
            if part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"arrays of one type and width are needed, got {first.dtype} "
                    f"{first.shape[1:]} and {part.dtype} {part.shape[1:]}"
                )
        self.parts = parts
        self.order = order
        starts = np.cumsum([0, *(len(part) for part in parts)])
        self._part = (np.searchsorted(starts, order, side="right") - 1).astype(np.int32)
        self._row = order - starts[self._part]
        self._address = addresses(parts)

    def __len__(self) -> int:
        return len(self._row)

    def take(self, rows: Ints) -> np.ndarray:
        """Some rows, int64 (m,), as one array (m, ...)."""
        first = self.parts[0]
        taken = np.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
        if taken.size:
            raw = taken.reshape(len(rows), -1).view(np.uint8)
            copy_rows(self._address, self._part[rows], self._row[rows], raw)
        return taken

    def all(self) -> np.ndarray:
        """All rows."""
        return self.take(np.arange(len(self)))


class RaggedCodes:
    """Codes that lie in several files, made one array where they are needed.

    A cell's codes fit the processor's cache, those of a group do not.

    Args:
        values: int8 (n, p).
        scale: float32 (n,).
        error: float32 (n,).
    """

    def __init__(self, values: Ragged, scale: Floats, error: Floats) -> None:
        self._values = values
        self._scale = scale
        self._error = error

    def take(self, rows: Ints) -> Codes:
        """The codes of some rows, int64 (m,)."""
        return Codes(self._values.take(rows), self._scale[rows], self._error[rows])

    def all(self) -> Codes:
        """The codes of all rows."""
        return self.take(np.arange(len(self._scale)))
