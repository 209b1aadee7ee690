"""Where vectors come from, block by block."""

from __future__ import annotations

import mmap
from typing import Any, Protocol

import numpy as np

from dedup.arrays import Bools, Ints, Vectors

BLOCK_ROWS = 32_768


class Source(Protocol):
    """Vectors in blocks that are read again for every pass, by whoever works on them."""

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """float16, float32 or float64."""
        ...

    @property
    def sizes(self) -> Ints:
        """Rows per block, int64 (b,)."""
        ...

    def read(self, block: int) -> tuple[Ints, Vectors]:
        """The rows of a block: ids, int64 (n,), ascending through the blocks, and (n, d)."""
        ...


class ArraySource:
    """Vectors of an array, in memory or memory-mapped; ids are row numbers.

    Args:
        vectors: Shape (n, d), any floating type.
        block_rows: Rows of a block, at least 1.
        first: Id of the first row.
    """

    def __init__(self, vectors: Vectors, block_rows: int = BLOCK_ROWS, first: int = 0) -> None:
        self._vectors = vectors
        self._first = first
        self._block_rows = block_rows

    @property
    def width(self) -> int:
        """See ``Source.width``."""
        return int(self._vectors.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Source.dtype``."""
        return self._vectors.dtype

    @property
    def sizes(self) -> Ints:
        """See ``Source.sizes``."""
        starts = np.arange(0, len(self._vectors), self._block_rows)
        return np.minimum(self._block_rows, len(self._vectors) - starts).astype(np.int64)

    def read(self, block: int) -> tuple[Ints, Vectors]:
        """See ``Source.read``."""
        start = block * self._block_rows
        rows = np.array(self._vectors[start : start + self._block_rows])
        _forget_pages(self._vectors)
        return self._first + np.arange(start, start + len(rows)), rows


def per_block(source: Source, values: Bools) -> list[Bools]:
    """A value per row, bool (n,), cut into the source's blocks."""
    return np.split(values, np.cumsum(source.sizes)[:-1]) if len(source.sizes) else []


def _forget_pages(vectors: Vectors) -> None:
    """Give back the memory of pages that a memory-mapped array has read; the file keeps them."""
    pages = getattr(vectors, "_mmap", None)
    # Pages of a private mapping that were written to would be lost.
    if isinstance(pages, mmap.mmap) and getattr(vectors, "mode", "") in {"r", "r+"}:
        pages.madvise(mmap.MADV_DONTNEED)
