"""Unit vectors as integers, whose products are exact on every machine.

A unit row ``u`` becomes ``scale * c + e`` with ``c`` in -127..127 (int8), ``scale`` the largest
magnitude of ``u`` over 127, and ``e`` the rest, whose length is stored. Two rows then satisfy

    |u.v - s_u s_v c_u.c_v| <= |e_u| + |e_v| + |e_u| |e_v|

by Cauchy and Schwarz, as |u| = |v| = 1 and |s c| <= 1 + |e|. A search that goes down by that
margin misses nothing; what it finds is scored again from the float rows.

Integer products do not depend on the order of summation, so cells, candidates and edges are
the same whatever the number of threads, the blocking, the processor or the GPU. They are also
fast: one instruction of a common server core multiplies 64 pairs of int8, against 16 of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.arrays import Floats, Ints

Bytes: TypeAlias = NDArray[np.int8]

#: The sum of squares of what is left may be reordered: it only widens a margin.
_SUMS = {"reassoc", "contract"}


@dataclass(frozen=True)
class Codes:
    """Rows as integers.

    Args:
        values: int8 (n, p), p being the width rounded up to a multiple of 16; zeros beyond it.
        scale: float32 (n,).
        error: Length of what the integers leave out, float32 (n,), rounded up.
    """

    values: Bytes
    scale: Floats
    error: Floats

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, rows: Ints | slice) -> Codes:
        """The codes of some rows."""
        return Codes(self.values[rows], self.scale[rows], self.error[rows])

    @property
    def margin(self) -> float:
        """How far the product of two of these codes can lie from the cosine at most."""
        error = float(self.error.max(initial=0.0))
        return 2 * error + error * error + 1e-6


def encode(units: Floats, into: Codes | None = None) -> Codes:
    """The codes of unit rows, float32 (n, d); written into ``into`` where it is given."""
    count, width = units.shape
    if into is None:
        into = Codes(
            np.zeros((count, padded(width)), dtype=np.int8),
            np.empty(count, dtype=np.float32),
            np.empty(count, dtype=np.float32),
        )
    units = np.ascontiguousarray(units)
    _quantise(units, units.view(np.int32), into.values, into.scale, into.error)
    return into


def padded(width: int) -> int:
    """The width of the codes of rows of a width: tensor cores want multiples of 16."""
    return -(-width // 16) * 16


@njit(cache=True, nogil=True)
def _quantise(
    units: np.ndarray, bits: np.ndarray, values: np.ndarray, scale: np.ndarray, error: np.ndarray
) -> None:
    half = np.float32(0.5)
    for i in range(len(units)):
        # Magnitudes compare as their bits do, and integers are compared many at a time.
        largest = np.int32(0)
        for j in range(units.shape[1]):
            size = bits[i, j] & np.int32(0x7FFFFFFF)
            largest = size if size > largest else largest
        scale[i] = 0
        for j in range(units.shape[1]):
            if bits[i, j] & np.int32(0x7FFFFFFF) == largest:
                scale[i] = abs(units[i, j]) / np.float32(127)
                break
        inverse = np.float32(1) / scale[i] if largest > 0 else np.float32(0)
        for j in range(units.shape[1]):
            value = units[i, j] * inverse
            values[i, j] = np.int32(value + (half if value >= 0 else -half))
        # Float32 sums lose a few last bits: rounded up, the length stays a bound.
        left = _rest(units[i], scale[i], values[i])
        error[i] = np.sqrt(left) * np.float32(1.0001) + np.float32(1e-7)


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _rest(row: np.ndarray, scale: np.ndarray, values: np.ndarray) -> np.float32:
    total = np.float32(0)
    for j in range(len(row)):
        rest = row[j] - scale * np.float32(values[j])
        total += rest * rest
    return total
