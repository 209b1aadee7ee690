"""Cells: spherical k-means in integers, and the index that assigns rows to centroids.

Rows and centroids are codes (``dedup.cells.codes``), so every assignment is exact integer
arithmetic, and sums of members run in a fixed order: the same sample gives the same cells on
every machine. The sample is chosen by content, so the order of the input does not matter.

Small counts of cells are one flat list. Larger ones are a tree of two storeys: coarse
centroids, and below each a list of fine ones whose number follows the coarse cell's share of
the sample. A leaf that holds far more of the sample than its share is split again, so that a
dense region of the data becomes many cells and not one large one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from dedup.arrays import Doubles, Floats, Ints
from dedup.cells.assign import centroid_codes, nearest
from dedup.cells.codes import Codes, encode

#: Up to this many cells are searched as one list; more get a second storey.
FLAT_CELLS = 2048
_ITERATIONS = 8
#: A leaf with this many times its fair share of the sample is split again.
_CROWDED = 2.5
_DEPTH = 12


@dataclass(frozen=True)
class CellIndex:
    """Centroids, and how to reach them.

    Args:
        centroids: Unit rows, float32 (c, d); fine cells, those of one coarse cell together.
        coarse: Unit rows, float32 (a, d), or (0, d) where the list is flat.
        bounds: Fine cells of coarse cell i are ``bounds[i]:bounds[i + 1]``, int64 (a + 1,).
        share: Share of the sample in each cell, float64 (c,).
    """

    centroids: Floats
    coarse: Floats
    bounds: Ints
    share: Doubles

    def __len__(self) -> int:
        return len(self.centroids)


def train_cells(sample: Floats, count: int) -> CellIndex:
    """Cut the space into about ``count`` cells.

    Args:
        sample: Unit rows, float32 (n, d), distinct, in an order that depends on their content
            only.
        count: Cells wanted, at least 1; never more than there are rows.

    Returns:
        The cells. Their number may differ from ``count`` where cells were split.
    """
    count = max(1, min(count, len(sample)))
    codes = encode(sample)
    if count <= FLAT_CELLS:
        leaves = _leaves(sample, codes, np.arange(len(sample)), count, len(sample) / count)
        return _index(sample, [leaves], np.zeros((0, sample.shape[1]), dtype=np.float32))
    storey = int(np.ceil(np.sqrt(count)))
    coarse, member = _kmeans(sample, codes, storey)
    parts = []
    for number in range(len(coarse)):
        rows = np.flatnonzero(member == number)
        wanted = max(1, round(count * len(rows) / len(sample)))
        parts.append(_leaves(sample, codes, rows, wanted, len(sample) / count))
    return _index(sample, parts, coarse)


def _index(sample: Floats, parts: list[list[Ints]], coarse: Floats) -> CellIndex:
    leaves = [leaf for part in parts for leaf in part]
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    return CellIndex(
        centroids=np.stack([_mean(sample[leaf]) for leaf in leaves]),
        coarse=coarse,
        bounds=np.concatenate([[0], np.cumsum(sizes)]),
        share=np.array([len(leaf) / len(sample) for leaf in leaves]),
    )


def _leaves(
    sample: Floats, codes: Codes, rows: Ints, count: int, fair: float, depth: int = 0
) -> list[Ints]:
    """Members of each of about ``count`` cells, those that are crowded split again."""
    if count <= 1 or len(rows) <= 1:
        return [rows]
    _, member = _kmeans(sample[rows], codes.take(rows), count)
    leaves = []
    for number in range(count):
        leaf = rows[member == number]
        again = round(len(leaf) / fair)
        if len(leaf) > _CROWDED * fair and len(leaf) < len(rows) and depth < _DEPTH:
            leaves += _leaves(sample, codes, leaf, again, fair, depth + 1)
        elif len(leaf):
            leaves.append(leaf)
    return leaves


def _kmeans(sample: Floats, codes: Codes, count: int) -> tuple[Floats, Ints]:
    """Lloyd's iterations from the first rows; centroids that lose all members stay put.

    Returns:
        Unit centroids, float32 (count, d), and the nearest of them per row, int64 (n,).
    """
    count = min(count, len(sample))
    centroids = sample[:count].copy()
    member = np.zeros(len(sample), dtype=np.int64)
    for _ in range(_ITERATIONS):
        found = nearest(codes, centroid_codes(centroids))[:, 0].astype(np.int64)
        if np.array_equal(found, member):
            break
        member = found
        _move(sample, member, centroids)
    return centroids, member


def _mean(rows: Floats) -> Floats:
    """The direction of the sum of some rows."""
    mean = rows[:1].copy()
    _move(rows, np.zeros(len(rows), dtype=np.int64), mean)
    return mean[0]


@njit(cache=True, nogil=True)
def _move(sample: np.ndarray, member: np.ndarray, centroids: np.ndarray) -> None:
    """Put every centroid at the direction of the sum of its members, if there is one."""
    count, width = centroids.shape
    sums = np.zeros((count, width))
    for i in range(len(sample)):
        for j in range(width):
            sums[member[i], j] += sample[i, j]
    for k in range(count):
        norm = np.sqrt((sums[k] * sums[k]).sum())
        if norm > 0:
            for j in range(width):
                centroids[k, j] = np.float32(sums[k, j] / norm)
