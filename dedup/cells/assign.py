"""Nearest centroids of rows, by exact integer products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.arrays import Floats, Ints
from dedup.cells.codes import Bytes, Codes, padded
from dedup.cells.products import products

Cells: TypeAlias = NDArray[np.int32]

_BLOCK = 512
_CHUNK = 64
_LOWEST = np.int32(-(2**31) + 1)


@dataclass(frozen=True)
class Centroids:
    """Unit rows as integers of one common scale, so that bare products can be compared.

    Args:
        values: int8 (c, p).
        scale: What one unit is worth.
    """

    values: Bytes
    scale: float

    def __len__(self) -> int:
        return len(self.values)


def centroid_codes(centroids: Floats) -> Centroids:
    """The codes of unit centroids, float32 (c, d)."""
    scale = max(float(np.abs(centroids).max(initial=0.0)), 1e-9) / 127
    values = np.zeros((len(centroids), padded(centroids.shape[1])), dtype=np.int8)
    values[:, : centroids.shape[1]] = np.rint(centroids / np.float32(scale))
    return Centroids(values, scale)


def nearest(
    rows: Codes, centroids: Centroids, most: int = 1, slack: float = 0.0, device: str = "cpu"
) -> Cells:
    """The centroids closest to each row, among all.

    Args:
        rows: n codes.
        centroids: c codes, at least one.
        most: Centroids wanted per row at most, at least 1.
        slack: Those after the first have to come this close to its cosine.
        device: ``cpu``, or what ``dedup.cells.cuda`` computes on; the answer is the same.

    Returns:
        Centroid numbers, int32 (n, most), the closest first (ties: the lower number), -1
        where there are fewer.
    """
    everyone = np.zeros((len(rows), 1), dtype=np.int32)
    bounds = np.array([0, len(centroids)])
    return nearest_in_lists(rows, centroids, everyone, bounds, most, slack, device)


def nearest_in_lists(
    rows: Codes,
    centroids: Centroids,
    probes: Cells,
    bounds: Ints,
    most: int,
    slack: float,
    device: str = "cpu",
) -> Cells:
    """The centroids closest to each row, among those of some lists.

    Args:
        rows: n codes.
        centroids: c codes; list i is ``centroids[bounds[i]:bounds[i + 1]]``.
        probes: The lists that each row looks into, int32 (n, q), -1 for none.
        bounds: int64 (a + 1,).
        most: Centroids wanted per row at most, at least 1.
        slack: Those after the first have to come this close to its cosine.
        device: As in ``nearest``.

    Returns:
        As ``nearest``.
    """
    reach = _reach(rows, centroids, slack if most > 1 else 0.0)
    if device != "cpu":
        from dedup.cells.cuda.assign import nearest_on

        return nearest_on(device, rows, centroids, probes, bounds, most, reach)
    cells = np.full((len(rows), most), -1, dtype=np.int32)
    best = np.full((len(rows), most), _LOWEST, dtype=np.int32)
    for number in range(len(bounds) - 1):
        mine = np.flatnonzero((probes == number).any(axis=1))
        first, last = int(bounds[number]), int(bounds[number + 1])
        for start in range(0, len(mine) if last > first else 0, _BLOCK):
            part = mine[start : start + _BLOCK]
            found = products(rows.values[part], centroids.values[first:last])
            top = np.maximum(found.max(axis=1), best[part, 0])
            least = np.maximum(top - reach[part], best[part, -1])
            _merge(found, part, first, least, best, cells)
    _drop_far(reach, best, cells)
    return cells


def _reach(rows: Codes, centroids: Centroids, slack: float) -> NDArray[np.int32]:
    """A difference of cosines as one of products, per row, int32 (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.floor(slack / (rows.scale.astype(np.float64) * centroids.scale))
    return np.minimum(reach, 2**30).astype(np.int32)


@njit(cache=True, nogil=True)
def _merge(
    found: np.ndarray,
    part: np.ndarray,
    first: int,
    least: np.ndarray,
    best: np.ndarray,
    cells: np.ndarray,
) -> None:
    """Insert the products that reach ``least`` into the sorted lists of the best of some rows."""
    width = found.shape[1]
    whole = width // _CHUNK
    for i in range(len(part)):
        row, low = part[i], least[i]
        for c in range(whole):
            hits = np.int32(0)
            for j in range(_CHUNK):  # vectorised: most chunks hold nothing
                hits += np.int32(found[i, c * _CHUNK + j] >= low)
            if hits:
                for j in range(c * _CHUNK, c * _CHUNK + _CHUNK):
                    if found[i, j] >= low:
                        _insert(found[i, j], first + j, best[row], cells[row])
        for j in range(whole * _CHUNK, width):
            if found[i, j] >= low:
                _insert(found[i, j], first + j, best[row], cells[row])


@njit(cache=True, nogil=True)
def _insert(value: int, cell: int, best: np.ndarray, cells: np.ndarray) -> None:
    """Put one value into its place; of equal values the lower cell comes first."""
    place = len(best)
    while place > 0 and (
        value > best[place - 1] or (value == best[place - 1] and cell < cells[place - 1])
    ):
        place -= 1
    if place == len(best):
        return
    for k in range(len(best) - 1, place, -1):
        best[k] = best[k - 1]
        cells[k] = cells[k - 1]
    best[place] = value
    cells[place] = cell


@njit(cache=True, nogil=True)
def _drop_far(reach: np.ndarray, best: np.ndarray, cells: np.ndarray) -> None:
    for i in range(len(cells)):
        for k in range(1, cells.shape[1]):
            if best[i, 0] - best[i, k] > reach[i]:
                cells[i, k] = -1
