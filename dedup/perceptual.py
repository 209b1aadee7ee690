"""Pairs of images whose perceptual hashes almost agree.

A pHash of 64 bits is cheap and robust to re-encoding, but blank and flat images share one.
A pair found here is a candidate only: the embedding confirms it (see ``dedup.engine``).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Codes, Floats, Hashes, Ints
from dedup.graph import unique_pairs
from dedup.neighbours import faiss_threads

_BITS = 64
_QUERIES = 4096
_NARROWEST_BAND = 8


class BinaryIndex(Protocol):
    """What is used of a FAISS binary index."""

    def add(self, codes: Codes, /) -> None:
        """Add codes, uint8 (n, 8)."""
        ...

    def range_search(self, queries: Codes, radius: int, /) -> tuple[Ints, Floats, Ints]:
        """Limits per query, distances below the radius, and row numbers."""
        ...


@dataclass(frozen=True)
class HashPairs:
    """Candidate pairs by perceptual hash.

    Args:
        src: Lower row, int64 (p,).
        dst: Higher row, int64 (p,); the pairs are unique and sorted.
        crowded: Hashes that more rows share than were offered as partners.
    """

    src: Ints
    dst: Ints
    crowded: int


def hash_column(column: pa.ChunkedArray | pa.Array) -> tuple[Hashes, Bools]:
    """The hashes of a nullable column, uint64 (n,), and which rows have one, bool (n,)."""
    column = column.cast(pa.uint64())
    known = column.is_valid().to_numpy(zero_copy_only=False)
    hashes = column.fill_null(0).to_numpy(zero_copy_only=False)
    return hashes, known


def hamming(left: Hashes, right: Hashes) -> Ints:
    """Number of differing bits, 0..64, int64; the arrays broadcast."""
    return np.bitwise_count(left ^ right).astype(np.int64)


def close_hashes(
    hashes: Hashes,
    known: Bools,
    distance: int,
    partners: int = 16,
    threads: int | None = None,
    since: int = 0,
) -> HashPairs:
    """Find the pairs of rows whose hashes differ in at most ``distance`` bits.

    Exact, but for hashes that more than ``partners`` rows share: there every row is paired
    with the first ``partners`` rows of the hash only. Pairs among thousands of blank
    images would be quadratic, and the neighbour search sees those images anyway.

    Args:
        hashes: uint64 (n,).
        known: Which rows have a hash, bool (n,); the others pair with nothing.
        distance: Bits, 0..32.
        partners: Rows per hash that are offered as partners.
        threads: Threads FAISS may use; ``None`` leaves it to ``OMP_NUM_THREADS``.
        since: Only pairs with a row from this one on are wanted.

    Returns:
        The pairs, by row number.

    Raises:
        ImportError: If FAISS is not installed.
    """
    rows = np.flatnonzero(known)
    values, group, sizes = np.unique(hashes[rows], return_inverse=True, return_counts=True)
    asked = np.unique(group[rows >= since])
    near, far = _close_values(values, asked, distance, threads)
    order = np.argsort(group, kind="stable")
    members, starts = rows[order], np.concatenate([[0], np.cumsum(sizes)])
    # Every member of one hash meets the offered members of the other.
    offered = np.minimum(sizes, partners)
    left, right = _cross(members, starts, near, sizes, far, offered)
    back, forth = _cross(members, starts, far, sizes, near, offered)
    src, dst = unique_pairs(
        len(hashes), np.concatenate([left, back]), np.concatenate([right, forth])
    )
    wanted = dst >= since
    return HashPairs(src[wanted], dst[wanted], int(np.count_nonzero(sizes > partners)))


def _close_values(
    values: Hashes, asked: Ints, distance: int, threads: int | None
) -> tuple[Ints, Ints]:
    """Pairs (i <= j) of different hashes within the distance, each with itself included.

    Args:
        values: Different hashes, uint64 (n,).
        asked: Pairs hold one of these, int64 (a,), ascending.
        distance: Bits.
        threads: Of FAISS.
    """
    if len(asked) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    codes = values.view(np.uint8).reshape(-1, _BITS // 8)
    lefts, rights = [], []
    with faiss_threads(threads) as faiss:
        index = _index(faiss, distance)
        index.add(codes[asked])
        for start in range(0, len(values), _QUERIES):
            limits, _, found = index.range_search(codes[start : start + _QUERIES], distance + 1)
            counts = np.diff(limits.astype(np.int64))
            lefts.append(start + np.repeat(np.arange(len(counts)), counts))
            rights.append(asked[found.astype(np.int64)])
    left, right = np.concatenate(lefts), np.concatenate(rights)
    # A pair of two that were asked for is found from either end.
    is_asked = np.zeros(len(values), dtype=np.bool_)
    is_asked[asked] = True
    once = (left <= right) | ~is_asked[left]
    left, right = np.minimum(left, right)[once], np.maximum(left, right)[once]
    close = hamming(values[left], values[right]) <= distance
    return left[close], right[close]


def _index(faiss: ModuleType, distance: int) -> BinaryIndex:
    """An exact index. With more bands than differing bits, one band agrees (pigeonhole)."""
    bands = distance + 1
    width = _BITS // bands
    if width < _NARROWEST_BAND:
        return faiss.IndexBinaryFlat(_BITS)
    return faiss.IndexBinaryMultiHash(_BITS, bands, min(width, 24))


def _cross(
    members: Ints, starts: Ints, one: Ints, ones: Ints, other: Ints, others: Ints
) -> tuple[Ints, Ints]:
    """Rows of ``one[p]`` times the offered rows of ``other[p]``, for every pair p of hashes."""
    width = others[other]
    counts = ones[one] * width
    pair = np.repeat(np.arange(len(one)), counts)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    left = members[starts[one[pair]] + place // width[pair]]
    right = members[starts[other[pair]] + place % width[pair]]
    return left, right
