"""The first pass: which rows have a direction, and a sample that depends on content only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Hashes, Vectors
from dedup.cells.source import Source
from dedup.units import as_units, hash_rows

_WORDS = {2: (np.uint16, 0x7C00), 4: (np.uint32, 0x7F800000), 8: (np.uint64, 0x7FF0 << 48)}


@dataclass(frozen=True)
class Surveyed:
    """What is known of a block after the first pass.

    Args:
        valid: Which rows have a direction, bool (n,).
        sampled: Unit rows of the sample, float32 (s, d).
        hashes: Of the sampled rows, uint64 (s,).
    """

    valid: Bools
    sampled: Floats
    hashes: Hashes


def survey(source: Source, block: int, share: float) -> Surveyed:
    """Read a block once.

    Args:
        source: Of vectors.
        block: Which.
        share: Of the rows that are sampled, in [0, 1]. Whether a row is in the sample follows
            from its bytes alone, so the sample is the same in whatever order rows come.
    """
    _, rows = source.read(block)
    valid = has_direction(rows)
    hashes = hash_rows(rows)
    chosen = valid & (hashes <= np.uint64(min(1.0, share) * (2**64 - 1025)))
    return Surveyed(valid, as_units(rows[chosen])[0], hashes[chosen])


def has_direction(rows: Vectors) -> Bools:
    """Which rows are neither all zeros nor hold a NaN or an infinity, bool (n,)."""
    kind, exponent = _WORDS[rows.dtype.itemsize]
    masks = np.array([exponent, exponent | _mantissa(exponent)], dtype=kind)
    valid = np.empty(len(rows), dtype=np.bool_)
    _check(np.ascontiguousarray(rows).view(kind), masks, valid)
    return valid


def _mantissa(exponent: int) -> int:
    """All bits below those of an exponent mask."""
    return (exponent & -exponent) - 1


@njit(cache=True, nogil=True)
def _check(bits: np.ndarray, masks: np.ndarray, valid: np.ndarray) -> None:
    exponent, magnitude = masks[0], masks[1]
    for i in range(len(bits)):
        wrong = 0
        some = 0
        for j in range(bits.shape[1]):
            wrong += (bits[i, j] & exponent) == exponent
            some += (bits[i, j] & magnitude) != 0
        valid[i] = wrong == 0 and some > 0


def sample_of(parts: list[Surveyed], width: int) -> Floats:
    """All sampled rows, each distinct one once, in an order that depends on content only."""
    if not parts:
        return np.zeros((0, width), dtype=np.float32)
    hashes = np.concatenate([part.hashes for part in parts])
    _, first = np.unique(hashes, return_index=True)
    return np.concatenate([part.sampled for part in parts])[first]
