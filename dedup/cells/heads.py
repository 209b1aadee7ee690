"""The first numbers of a code, by which most rows of a cell can be told from a new one.

A code ``c`` is cut into a head and a tail. By Cauchy and Schwarz, two rows satisfy

    s_u s_v c_u.c_v <= s_u s_v head_u.head_v + |s_u tail_u| |s_v tail_v|

so that a pair whose right side stays below the floor is none, and its tails need not be read.
Rows of one cell that are not near-copies have cosines of about a half, and 3/8 of the dimensions
estimate those well enough: in twelve cells of a planted million 1.0 % of the pairs came through,
0.44 % by whole codes, and 0.36 % were near-copies. What matters is that memory is read once:
a head is that much shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from dedup.arrays import Floats
from dedup.cells.codes import Bytes, Codes
from dedup.cells.dots import STEP


@dataclass(frozen=True)
class Heads:
    """What is looked at first of some rows.

    Args:
        values: The first numbers of the codes, int8 (n, h).
        tail: Length of what follows, times the scale, float32 (n,), rounded up.
    """

    values: Bytes
    tail: Floats


def head_width(width: int) -> int:
    """How many numbers of a code of a width are its head: at most half, 0 for no head at all."""
    head = -(-3 * width // (8 * STEP)) * STEP
    return head if 2 * head <= width else 0


def heads_of(codes: Codes, width: int) -> Heads:
    """The heads of codes, of a width of at most that of the codes."""
    tail = np.empty(len(codes), dtype=np.float32)
    _tails(codes.values, codes.scale, width, tail)
    return Heads(np.ascontiguousarray(codes.values[:, :width]), tail)


@njit(cache=True, nogil=True)
def _tails(values: Bytes, scale: Floats, width: int, tail: Floats) -> None:
    for row in range(len(values)):
        total = np.int32(0)
        for j in range(width, values.shape[1]):
            total += np.int32(values[row, j]) * np.int32(values[row, j])
        tail[row] = np.sqrt(np.float64(total)) * np.float64(scale[row]) * 1.000001
