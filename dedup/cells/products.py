"""Exact products of int8 codes, by the fastest arithmetic that this machine has.

All ways give the same integers: int8 with int32 sums by definition; float32 because every
partial sum of at most ``_EXACT`` products of magnitude 127 x 127 is an integer below 2^24.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dedup.cells.codes import Bytes

if TYPE_CHECKING:
    import torch

Arithmetic = Literal["int8", "float32"]

Products: TypeAlias = NDArray[np.int32]

_EXACT = (1 << 24) // (127 * 127)


def products(left: Bytes, right: Bytes, arithmetic: Arithmetic | None = None) -> Products:
    """All dot products of two sets of codes.

    Args:
        left: int8 (n, p), p a multiple of 16.
        right: int8 (m, p).
        arithmetic: How to compute; ``None`` for the fastest here.

    Returns:
        int32 (n, m).
    """
    import torch

    a, b = torch.from_numpy(left), torch.from_numpy(right)
    if (arithmetic or fastest(left.shape[1])) == "int8":
        return torch._int_mm(a, b.T).numpy()
    return _in_float32(a, b).numpy()


def _in_float32(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    import torch

    total = torch.zeros(len(a), len(b), dtype=torch.int32)
    for start in range(0, a.shape[1], _EXACT):
        part = slice(start, start + _EXACT)
        total += (a[:, part].float() @ b[:, part].float().T).int()
    return total


@cache
def fastest(width: int) -> Arithmetic:
    """Try both on one block; the answer changes speed and nothing else."""
    codes = np.ones((512, width), dtype=np.int8)
    seconds: dict[Arithmetic, float] = {}
    for arithmetic in ("int8", "float32"):
        products(codes, codes, arithmetic)
        started = time.perf_counter()
        products(codes, codes, arithmetic)
        seconds[arithmetic] = time.perf_counter() - started
    return min(seconds, key=lambda each: seconds[each])
