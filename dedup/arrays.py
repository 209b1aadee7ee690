"""Names for the array types that the package passes around."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]
Hashes: TypeAlias = NDArray[np.uint64]
Vectors: TypeAlias = NDArray[Any]
"""Any floating array of shape (n, d): float16, float32 or float64, memory-mapped or not."""


def name_rows(rows: Ints, shown: int = 5) -> str:
    """Row numbers for an error message: the first few, and how many there are in all."""
    head = ", ".join(str(row) for row in rows[:shown])
    return f"{head} ({len(rows)} in all)" if len(rows) > shown else head


def regroup(labels: Ints) -> Ints:
    """Rename groups so that each bears the number of its first member.

    Args:
        labels: Any group numbers, int64 (n,).

    Returns:
        The same groups, int64 (n,), named by the lowest index inside.
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first.astype(np.int64)[inverse]
