"""Nearest centroids of rows on a GPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dedup.arrays import Ints
from dedup.cells.assign import Cells, Centroids
from dedup.cells.codes import Codes
from dedup.cells.cuda.arithmetic import products
from dedup.cells.cuda.lanes import lane

#: Products that are held at once.
_TILE = 1 << 25
#: A product and a cell in one number, so that of equal products the lower cell is the larger.
_CELL_BITS = 31
_CELLS = (1 << _CELL_BITS) - 1
_NOTHING = -(1 << 62)


def nearest_on(
    device: str,
    rows: Codes,
    centroids: Centroids,
    probes: Cells,
    bounds: Ints,
    most: int,
    reach: NDArray[np.int32],
) -> Cells:
    """As ``dedup.cells.assign.nearest_in_lists``; the lists of a row have to be different.

    Args:
        device: See ``dedup.cells.cuda.lanes.lane``.
        rows: n codes.
        centroids: c codes; list i is ``centroids[bounds[i]:bounds[i + 1]]``.
        probes: The lists that each row looks into, int32 (n, q), -1 for none.
        bounds: int64 (a + 1,).
        most: Centroids wanted per row at most, at least 1.
        reach: How close those after the first have to come to its product, int32 (n,).

    Returns:
        Centroid numbers, int32 (n, most), the closest first, -1 where there are fewer.
    """
    asking, cuts = _by_list(probes, len(bounds) - 1)
    with lane(device) as way:
        values, lists = way.upload(rows.values), way.upload(centroids.values)
        asked = way.upload(asking)
        best = torch.full((len(rows), most), _NOTHING, dtype=torch.int64, device=way.device)
        for number in range(len(bounds) - 1):
            first, last = int(bounds[number]), int(bounds[number + 1])
            step = max(1, _TILE // max(last - first, 1))
            for start in range(cuts[number], cuts[number + 1] if last > first else 0, step):
                mine = asked[start : min(start + step, int(cuts[number + 1]))]
                found = _keys(products(values[mine], lists[first:last]), first)
                found = _largest(found, min(most, last - first))
                best[mine] = _largest(torch.cat([best[mine], found], dim=1), most)
        return _cells(best, way.upload(reach)).cpu().numpy()


def _by_list(probes: Cells, lists: int) -> tuple[Ints, Ints]:
    """The rows that look into each list, one list after the other, and where each begins."""
    row, place = np.nonzero(probes >= 0)
    number = probes[row, place]
    order = np.argsort(number, kind="stable")
    return row[order], np.searchsorted(number[order], np.arange(lists + 1))


def _keys(found: Tensor, first: int) -> Tensor:
    """Products and cells as keys that sort by both, int64 (n, c)."""
    cells = torch.arange(first, first + found.shape[1], device=found.device)
    return found.long() * (1 << _CELL_BITS) + (_CELLS - cells)


def _largest(keys: Tensor, most: int) -> Tensor:
    """The largest keys of each row, descending."""
    return torch.topk(keys, most, dim=1).values


def _cells(best: Tensor, reach: Tensor) -> Tensor:
    """The cells of sorted keys, int32 (n, m); -1 where there is none or it is too far."""
    value = best >> _CELL_BITS
    far = value[:, :1] - value > reach[:, None]
    far[:, 0] = False
    cells = _CELLS - (best & _CELLS)
    return cells.masked_fill(far | (best == _NOTHING), -1).int()
