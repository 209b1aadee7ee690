"""All pairs inside one cell, by integer products and float64 scores.

Rows that live in the cell are compared with each other and with the rows that only visit it;
visitors are not compared with visitors, who meet where one of them lives. A pair whose two
rows visit each other's homes is seen twice and kept in the cell with the lower number, so
that the edges of different cells need no merging.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit

from dedup.arrays import Bools, Floats, Ints
from dedup.cells.assign import Cells, centroid_codes, nearest
from dedup.cells.centroids import train_cells
from dedup.cells.codes import Codes
from dedup.cells.pile import Pairs, Pile
from dedup.cells.products import products
from dedup.units import as_units, cosine, hash_rows

_ROWS = 512
_COLUMNS = 2048
_CHUNK = 64
#: A cell of more rows than this is split: comparing it as a whole would be quadratic.
LARGEST = 32_768
NOTHING = np.zeros((0, 0), dtype=np.float32)
_SAMPLED, _VISITS, _SLACK = 64, 6, 0.15


class Units(Protocol):
    """Unit rows, some of which can be had."""

    def take(self, rows: Ints, /) -> Floats:
        """float32 (m, d)."""
        ...


@dataclass(frozen=True)
class Cell:
    """The rows of one cell: first those that live there, then those that visit.

    Args:
        number: Of the cell.
        ids: int64 (n,).
        home: Cell where each row lives, int32 (n,).
        visits: Cells that each row visits, int32 (n, q), -1 for none.
        codes: Of the unit rows.
        units: Unit rows, float32 (n, d), or where to take them from.
        new: Rows of which pairs are wanted, bool (n,); ``None`` for all.
    """

    number: int
    ids: Ints
    home: Cells
    visits: Cells
    codes: Codes
    units: Floats | Units
    new: Bools | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def cosines(self, left: Ints, right: Ints) -> Floats:
        """Similarity of pairs of rows, float32 (p,)."""
        if isinstance(self.units, np.ndarray):
            return cosine(self.units, left, right)
        rows, place = np.unique(np.concatenate([left, right]), return_inverse=True)
        return cosine(self.units.take(rows), place[: len(left)], place[len(left) :])


def compare(cell: Cell, floor: float, most: int, largest: int = LARGEST) -> Pairs:
    """The pairs of a cell with similarity at or above a floor.

    Args:
        cell: Its rows; no two of them equal.
        floor: Lowest similarity wanted, in [-1, 1].
        most: Neighbours listed per row at most; a pair stays if either row lists it.
        largest: A cell of more rows is split into smaller ones first.

    Returns:
        The pairs, each once.
    """
    pile = Pile(cell.ids, most)
    for one, other in _candidates(cell, floor, largest):
        ours = _seen_here(cell, one, other)
        left, right = one[ours], other[ours]
        similarity = cell.cosines(left, right)
        # Compared in float64: float32 would round 0.9 down and let 0.89999998 pass.
        good = similarity >= np.float64(floor)
        pile.add(left[good], right[good], similarity[good])
    return pile.result()


def _seen_here(cell: Cell, left: Ints, right: Ints) -> Bools:
    """Which pairs are this cell's to report."""
    ours = reported(np.int32(cell.number), cell.home, cell.visits, left, right)
    if cell.new is not None:
        ours &= cell.new[left] | cell.new[right]
    return ours


def reported(
    number: Cells | np.int32, home: Cells, visits: Cells, left: Ints, right: Ints
) -> Bools:
    """Which pairs are to be reported by the cell in which they were seen.

    Args:
        number: The cell, or one for each pair, int32 (p,).
        home: Cell where each row lives, int32 (n,).
        visits: Cells that each row visits, int32 (n, q).
        left: Row, int64 (p,).
        right: Row, int64 (p,).
    """
    lives = home[left] == number
    guest, host = np.where(lives, right, left), np.where(lives, left, right)
    elsewhere = home[guest]
    met = (visits[host] == elsewhere[:, None]).any(axis=1)
    return (home[host] == number) & ((elsewhere >= number) | ~met)


def _candidates(cell: Cell, floor: float, largest: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of rows that may reach the floor, each once."""
    if len(cell) <= largest:
        living = int(np.count_nonzero(cell.home == cell.number))
        yield from _in_blocks(cell, living, floor)
        return
    for part in smaller(cell, largest):
        for left, right in _candidates(part.cell, floor, largest):
            once = _seen_here(part.cell, left, right)
            yield part.rows[left[once]], part.rows[right[once]]


@dataclass(frozen=True)
class Part:
    """A cell inside a cell, and which rows of the outer one it holds."""

    cell: Cell
    rows: Ints


def smaller(cell: Cell, largest: int) -> Iterator[Part]:
    """Split a cell by its own k-means, or, where all rows are alike, into windows.

    Windows hold a share of the rows each, and the first share visits all of them: whatever
    is alike throughout stays connected, at a cost that is linear in the size of the cell.
    """
    order = np.argsort(hash_rows(cell.codes.values), kind="stable")
    count = -(-2 * len(cell) // largest)
    index = train_cells(_about(cell.codes.take(order[: _SAMPLED * count])), count)
    places = nearest(cell.codes, centroid_codes(index.centroids), _VISITS, _SLACK)
    sizes = np.bincount(places[places >= 0], minlength=len(index))
    if sizes.max() > 0.9 * len(cell):
        window = largest // 2
        places = np.full((len(cell), -(-len(cell) // window)), -1, dtype=np.int32)
        places[order, 0] = np.arange(len(cell)) // window
        places[order[:window], 1:] = np.arange(1, places.shape[1])
    for number in range(int(places.max()) + 1):
        living = np.flatnonzero(places[:, 0] == number)
        rows = np.concatenate([living, np.flatnonzero((places[:, 1:] == number).any(axis=1))])
        part = Cell(
            number=number,
            ids=cell.ids[rows],
            home=places[rows, 0],
            visits=places[rows, 1:],
            codes=cell.codes.take(rows),
            units=NOTHING,  # scores are the outer cell's
        )
        yield Part(part, rows)


def _about(codes: Codes) -> Floats:
    """Unit rows as near as their codes say, float32 (n, p)."""
    return as_units(codes.values.astype(np.float32))[0]


def _in_blocks(cell: Cell, living: int, floor: float) -> Iterator[tuple[Ints, Ints]]:
    """Rows that live here, or that are new, against all others."""
    codes, count = cell.codes, len(cell)
    if cell.new is None:
        rows = np.arange(living)
        after = rows
    else:
        rows = np.flatnonzero(cell.new)
        after = np.full(len(rows), -1)
    for top in range(0, len(rows), _ROWS):
        part = slice(top, top + _ROWS)
        first = 0 if cell.new is not None else top
        for start in range(first, count, _COLUMNS):
            columns = slice(start, min(start + _COLUMNS, count))
            place, right = _in_block(codes, rows[part], after[part], columns, floor)
            left = rows[part][place]
            if cell.new is not None:
                once = ~cell.new[right] | (left < right)
                left, right = left[once], right[once]
            yield left, right


def _in_block(
    codes: Codes, rows: Ints, after: Ints, columns: slice, floor: float
) -> tuple[Ints, Ints]:
    """Places in ``rows``, and columns behind ``after`` whose products may reach the floor."""
    block = codes.take(columns)
    place, right = reaching(codes.take(rows), block, floor, after - columns.start)
    return place, columns.start + right


def reaching(
    left: Codes, right: Codes, floor: float, after: Ints | None = None
) -> tuple[Ints, Ints]:
    """Pairs of rows whose cosine may reach a floor, by products of codes and their margin.

    Args:
        left: n codes.
        right: m codes.
        floor: Lowest similarity wanted.
        after: For each left row, the right row behind which pairs are wanted, int64 (n,).

    Returns:
        Left and right rows, int64 (p,) each: all pairs at or above the floor, and a few below.
    """
    found = products(left.values, right.values)
    worst = right.error.max(initial=np.float32(0))
    margin = left.error + worst + left.error * worst + np.float32(1e-6)
    with np.errstate(divide="ignore", invalid="ignore"):
        low = ((np.float32(floor) - margin) / left.scale).astype(np.float32)
    if after is None:
        after = np.full(len(left), -1)
    room = 4 * len(found) + 1024
    while True:
        place, other = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        count = _scan(found, right.scale, low, after, place, other)
        if count <= room:
            return place[:count], other[:count]
        room = count


@njit(cache=True, nogil=True)
def _scan(
    found: np.ndarray,
    scale: np.ndarray,
    low: np.ndarray,
    after: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
) -> int:
    """Write the pairs that reach ``low``; returns how many there are, room or not."""
    height, width = found.shape
    whole = width // _CHUNK
    count = 0
    for i in range(height):
        least = low[i]
        for c in range(max(0, (after[i] + 1) // _CHUNK), whole + 1):
            first, last = c * _CHUNK, min(width, c * _CHUNK + _CHUNK)
            if c < whole:
                hits = np.int32(0)
                for j in range(_CHUNK):  # vectorised: most chunks hold nothing
                    at = first + j
                    hits += np.int32(np.float32(found[i, at]) * scale[at] >= least)
                if not hits:
                    continue
            for j in range(max(first, after[i] + 1), last):
                if np.float32(found[i, j]) * scale[j] >= least:
                    if count < len(left):
                        left[count] = i
                        right[count] = j
                    count += 1
    return count
