"""All pairs inside one cell, on a GPU; see ``dedup.cells.pairs``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dedup.arrays import Ints
from dedup.cells.codes import Codes
from dedup.cells.cuda.arithmetic import TensorCodes, products
from dedup.cells.cuda.group import Score, on_device
from dedup.cells.cuda.lanes import Lane, lane
from dedup.cells.cuda.pile import TensorPile
from dedup.cells.pairs import LARGEST, NOTHING, Cell, smaller
from dedup.cells.pile import Pairs
from dedup.cells.shuffle import Gathered

log = logging.getLogger(__name__)

#: Products that are held at once.
_TILE = 1 << 26


@dataclass(frozen=True)
class TensorCell:
    """The rows of one cell, as ``dedup.cells.pairs.Cell`` has them, as tensors.

    Args:
        number: Of the cell.
        living: How many of the rows, the first ones, live there.
        ids: int64 (n,).
        home: int32 (n,).
        visits: int32 (n, q).
        codes: Of the unit rows.
        new: bool (n,), or ``None``.
    """

    number: int
    living: int
    ids: Tensor
    home: Tensor
    visits: Tensor
    codes: TensorCodes
    new: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


def compare_group(
    rows: Gathered,
    runs: Sequence[Ints],
    floor: float,
    most: int,
    device: str,
    *,
    some_old: bool = False,
    largest: int = LARGEST,
) -> list[Pairs] | None:
    """The pairs of some cells with similarity at or above a floor.

    Args:
        rows: Of a group of cells.
        runs: Rows of each cell, int64 (n,); no two of them equal.
        floor: Lowest similarity wanted, in [-1, 1].
        most: Neighbours listed per row and cell at most; a pair stays if either row lists it.
        device: See ``dedup.cells.cuda.lanes.lane``.
        some_old: Whether pairs of two old rows are left out.
        largest: A cell of more rows is split into smaller ones first.

    Returns:
        The pairs of each cell, each once, by places in its run; ``None`` where the device has
        not enough memory.
    """
    try:
        with lane(device) as way:
            group = on_device(way, rows, few=some_old)
            found = []
            for chosen in runs:
                codes, score = group.cell(chosen)
                cell = _as_tensors(way, rows, chosen, codes, some_old=some_old)
                found.append(_compare(cell, score, floor, most, largest))
            return found
    except torch.OutOfMemoryError:
        log.warning("a group of %d rows does not fit the memory of %s", len(rows.ids), device)
        return None


def _as_tensors(
    way: Lane, rows: Gathered, chosen: Ints, codes: TensorCodes, *, some_old: bool
) -> TensorCell:
    number = int(rows.cell[chosen[0]])
    home = rows.home[chosen]
    return TensorCell(
        number=number,
        living=int(np.count_nonzero(home == number)),
        ids=way.upload(rows.ids[chosen]),
        home=way.upload(home),
        visits=way.upload(rows.visits[chosen]),
        codes=codes,
        new=way.upload(rows.new[chosen]) if some_old else None,
    )


def _compare(cell: TensorCell, score: Score, floor: float, most: int, largest: int) -> Pairs:
    pile = TensorPile(cell.ids, most)
    for one, other in _candidates(cell, floor, largest):
        ours = _seen_here(cell, one, other)
        left, right = one[ours], other[ours]
        similarity = score(left, right)
        # In float64: float32 would round 0.9 down and let 0.89999998 pass.
        good = torch.nonzero(similarity.double() >= floor).flatten()
        pile.add(left[good], right[good], similarity[good])
    return pile.result()


def _seen_here(cell: TensorCell, left: Tensor, right: Tensor) -> Tensor:
    """Which pairs are this cell's to report, int64: as ``dedup.cells.pairs``."""
    lives = cell.home == cell.number
    ours = lives[left]
    guest = torch.where(ours, right, left)
    host = torch.where(ours, left, right)
    elsewhere = cell.home[guest]
    met = (cell.visits[host] == elsewhere[:, None]).any(dim=1)
    ours = lives[host] & ((elsewhere >= cell.number) | ~met)
    if cell.new is not None:
        ours &= cell.new[left] | cell.new[right]
    return torch.nonzero(ours).flatten()


def _candidates(cell: TensorCell, floor: float, largest: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of rows that may reach the floor, each once."""
    if len(cell) <= largest:
        yield from _in_tiles(cell, floor)
        return
    device = cell.ids.device
    for part in smaller(_on_processor(cell), largest):
        rows = torch.from_numpy(part.rows).to(device)
        inner = TensorCell(
            number=part.cell.number,
            living=int(np.count_nonzero(part.cell.home == part.cell.number)),
            ids=cell.ids[rows],
            home=torch.from_numpy(part.cell.home).to(device),
            visits=torch.from_numpy(part.cell.visits).to(device),
            codes=cell.codes.take(rows),
        )
        for left, right in _candidates(inner, floor, largest):
            once = _seen_here(inner, left, right)
            yield rows[left[once]], rows[right[once]]


def _on_processor(cell: TensorCell) -> Cell:
    """What is needed to split a cell."""
    codes = cell.codes
    values, scale, error, ids, home, visits = (
        each.cpu().numpy()
        for each in (codes.values, codes.scale, codes.error, cell.ids, cell.home, cell.visits)
    )
    return Cell(cell.number, ids, home, visits, Codes(values, scale, error), NOTHING)


def _in_tiles(cell: TensorCell, floor: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows that live here, or that are new, against all others."""
    codes, new = cell.codes, cell.new
    count = len(cell)
    if new is None:
        rows = torch.arange(cell.living, device=cell.ids.device)
    else:
        rows = torch.nonzero(new).flatten()
    worst = codes.error.amax() if count else 0.0
    margin = codes.error + worst + codes.error * worst + 1e-6
    low = (floor - margin) / codes.scale
    top = 0
    while top < len(rows):
        first = top if new is None else 0
        step = max(1, _TILE // (count - first))
        part = rows[top : top + step]
        found = products(codes.values[part], codes.values[first:])
        hits = (found * codes.scale[first:]) >= low[part, None]
        del found
        place, right = torch.nonzero(hits, as_tuple=True)
        left, right = part[place], right + first
        once = left < right
        if new is not None:
            once |= ~new[right]
        yield left[once], right[once]
        top += step
