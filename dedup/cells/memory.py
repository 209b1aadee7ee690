"""Rows read where they lie, in several pieces of memory, by compiled loops.

Hundreds of files are mapped, and of each some rows are wanted. A call of compiled code for each
would spend its time on being called, and would make threads wait for each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from dedup.arrays import Ints


def addresses(arrays: list[np.ndarray]) -> Ints:
    """Where C-contiguous arrays begin, int64 (n,); they have to be kept for as long as it is used.

    Raises:
        ValueError: If one is not contiguous.
    """
    for array in arrays:
        if not array.flags.c_contiguous:
            raise ValueError(f"an array of shape {array.shape} must lie in C order, without gaps")
    return np.array([each.__array_interface__["data"][0] for each in arrays], dtype=np.int64)


@intrinsic
def as_pointer(typing: Any, address: Any) -> Any:  # noqa: ANN401, ARG001
    """An address as ``numba.carray`` wants it, in compiled code."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401, ARG001
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@njit(cache=True, nogil=True)
def lying_at(address: int, shape: Any, dtype: Any) -> Any:  # noqa: ANN401 - any array
    """The array that lies at an address, in compiled code."""
    return carray(as_pointer(address), shape, dtype)  # type: ignore[call-arg]


@njit(cache=True, nogil=True)
def copy_rows(address: Ints, part: np.ndarray, row: Ints, into: np.ndarray) -> None:
    """Copy rows from where they lie.

    Args:
        address: Of each part, int64 (p,): rows without gaps, of as many bytes as those of ``into``.
        part: Of each row wanted, integers (n,).
        row: Its number in the part, int64 (n,).
        into: uint8 (n, bytes), written over.
    """
    count, size = into.shape
    for at in range(count):
        into[at] = lying_at(address[part[at]] + row[at] * size, (size,), np.uint8)
