"""Unit rows, their cosines and their hashes: the arithmetic that every search shares."""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Hashes, Ints, Vectors

#: 2^64 over the golden ratio: the multiplier of Fibonacci hashing (Knuth, TAOCP 3, 6.4).
MIX = np.uint64(0x9E3779B97F4A7C15)
# Sums in float64 may be reordered by the compiler, for speed: what is rounded to float32
# afterwards differs by at most its last bit, and that once in a hundred million.
_SUMS = {"reassoc", "contract"}


def as_units(block: Vectors) -> tuple[Floats, Bools]:
    """Rows of length one, float32 (n, d), and which rows have a direction, bool (n,).

    The norm is summed in float64 in a fixed order. Rows without a direction become zeros.
    """
    rows = np.ascontiguousarray(block)
    if rows.dtype == np.float16:
        rows = _widened(rows)
    elif rows.dtype == np.float64:
        # Squares of what float64 can hold may overflow; those of what is left cannot.
        with np.errstate(invalid="ignore", divide="ignore"):
            rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    units = np.empty(rows.shape, dtype=np.float32)
    valid = np.empty(len(rows), dtype=np.bool_)
    _normalise(rows, units, valid)
    return units, valid


def _widened(rows: Vectors) -> Floats:
    """float16 as float32, by PyTorch: five times as fast as NumPy."""
    import torch

    rows = rows if rows.flags.writeable else rows.copy()  # PyTorch warns of what is read-only
    return np.asarray(torch.from_numpy(rows).float().numpy())


def cosine(units: Floats, left: Ints, right: Ints, others: Floats | None = None) -> Floats:
    """Cosine similarity of pairs of unit rows.

    Summed in float64 and rounded once to float32, so that a pair's similarity does not depend
    on who found it, in what order, or with how many threads.

    Args:
        units: Unit rows, float32 (n, d).
        left: Row of one side, int64 (p,).
        right: Row of the other side, int64 (p,).
        others: Where the rows of the other side are, float32 (m, d); ``None``: in ``units``, too.

    Returns:
        Similarities in [-1, 1], float32 (p,).
    """
    result = np.empty(len(left), dtype=np.float32)
    _dots(units, units if others is None else others, left, right, result)
    return result


def hash_rows(block: Vectors) -> Hashes:
    """A 64-bit hash of each row's bytes, uint64 (n,): equal rows have equal hashes."""
    width = block.dtype.itemsize * block.shape[1]
    raw = np.ascontiguousarray(block).view(np.uint8).reshape(len(block), width)
    spare = -raw.shape[1] % 8
    if spare:
        raw = np.pad(raw, ((0, 0), (0, spare)))
    hashes = np.empty(len(raw), dtype=np.uint64)
    _hash(raw.view(np.uint64), hashes)
    return hashes


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _norm(row: np.ndarray) -> float:
    total = 0.0
    for j in range(len(row)):
        total += np.float64(row[j]) * np.float64(row[j])
    return np.sqrt(total)


@njit(cache=True, nogil=True)
def _normalise(rows: np.ndarray, units: np.ndarray, valid: np.ndarray) -> None:
    for i in range(len(rows)):
        norm = _norm(rows[i])
        valid[i] = norm > 0 and norm < np.inf
        if not valid[i]:
            units[i] = np.float32(0)
            continue
        for j in range(rows.shape[1]):
            # Adding zero turns -0.0 into 0.0: equal vectors are then equal byte by byte.
            units[i, j] = np.float32(np.float64(rows[i, j]) / norm) + np.float32(0)


@njit(cache=True, nogil=True, fastmath=_SUMS)
def _dot(left: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for j in range(len(left)):
        total += np.float64(left[j]) * np.float64(right[j])
    return total


@njit(cache=True, nogil=True)
def _dots(
    units: np.ndarray, others: np.ndarray, left: np.ndarray, right: np.ndarray, result: np.ndarray
) -> None:
    for p in range(len(left)):
        similarity = _dot(units[left[p]], others[right[p]])
        result[p] = min(1.0, max(-1.0, similarity))


@njit(cache=True, nogil=True)
def _hash(words: np.ndarray, hashes: np.ndarray) -> None:
    count, width = words.shape
    for i in range(count):
        value = np.uint64(width)
        for j in range(width):
            value = (value ^ words[i, j]) * MIX
            value ^= value >> np.uint64(29)
        hashes[i] = value
