"""A few new rows against all rows of their cells, as a task over groups of cells.

Each file of old rows is read once, front to back, and of most of its rows nothing but the
code: ids, cells and vectors are looked up only where a code comes close to that of a new row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Ints, Vectors
from dedup.cells.codes import Codes, padded
from dedup.cells.heads import Heads
from dedup.cells.pairs import reported
from dedup.cells.ragged import Ragged
from dedup.cells.shuffle import Layout, gathered, views
from dedup.cells.store import Store, from_binary
from dedup.cells.tasks import PAIRS, CellPlan, Compared, first_equal
from dedup.cells.walk import NewCodes, Piece
from dedup.units import as_units, cosine

#: Files that are open at a time.
_OPEN = 64
#: Equal rows are at least so similar, however the last bits were rounded.
_EQUAL = 1 - 1e-5
_NAMING = ("id", "hash")


@dataclass(frozen=True)
class CompareFew:
    """The third pass where few rows are new.

    Args:
        plan: Cells and groups; its layout keeps codes.
        store: Where the files of the blocks are.
        old: Files of blocks that have been compared before.
        new: Files of the others.
        floor: Lowest similarity wanted.
        most: Neighbours listed per row at most.
        prefix: Of the names of the files with the pairs.
    """

    plan: CellPlan
    store: Store
    old: tuple[str, ...]
    new: tuple[str, ...]
    floor: float
    most: int
    prefix: str

    def __call__(self, groups: Sequence[int]) -> list[Compared | None]:
        """Compare some groups, and write their pairs.

        Returns:
            What became of each; ``None`` where a row has more pairs than it may list: such a
            group has to be compared cell by cell.
        """
        new = [self.store.several(name, groups) for name in self.new]
        hunts = [_Hunt(self, group, [*own]) for group, *own in zip(groups, *new, strict=True)]
        for start in range(0, len(self.old), _OPEN):
            files = [self.store.several(name, groups) for name in self.old[start : start + _OPEN]]
            for hunt, *batches in zip(hunts, *files, strict=True):
                hunt.meet(batches)
        return [hunt.finish() for hunt in hunts]


@dataclass(frozen=True)
class _Rows:
    """Some rows of a group of cells; columns as in ``dedup.cells.shuffle.Gathered``.

    Vector i is row ``at[i]`` of ``vectors``, counted from one array to the next.
    """

    cell: np.ndarray
    cells: np.ndarray
    ids: Ints
    hashes: np.ndarray
    vectors: list[Vectors]
    at: Ints

    @classmethod
    def joined(cls, parts: Sequence[_Rows]) -> _Rows:
        """One after the other; vectors stay where they are."""
        sizes = [sum(map(len, part.vectors)) for part in parts]
        starts = np.cumsum([0, *sizes[:-1]])
        return cls(
            cell=np.concatenate([part.cell for part in parts]),
            cells=np.concatenate([part.cells for part in parts]),
            ids=np.concatenate([part.ids for part in parts]),
            hashes=np.concatenate([part.hashes for part in parts]),
            vectors=[each for part in parts for each in part.vectors],
            at=np.concatenate([start + part.at for start, part in zip(starts, parts, strict=True)]),
        )


class _Hunt:
    """The new rows of a group, and what they meet.

    Args:
        task: What is to be done.
        group: Of cells.
        batches: The group's new rows, of each file.
    """

    def __init__(self, task: CompareFew, group: int, batches: list[pa.RecordBatch]) -> None:
        layout = task.plan.layout
        self._task, self._group, self._layout = task, group, layout
        rows = gathered(layout, [], batches)
        if rows.codes is None:
            raise ValueError("rows that were written without codes cannot be compared by them")
        cells, vectors = np.column_stack([rows.home, rows.visits]), rows.vectors.all()
        everyone = np.arange(len(rows.ids))
        self._new = _Rows(rows.cell, cells, rows.ids, rows.hashes, [vectors], everyone)
        self._units = as_units(vectors)[0]
        first, last = int(layout.bounds[group]), int(layout.bounds[group + 1])
        self._codes = rows.codes.all()
        bounds = np.searchsorted(rows.cell, np.arange(first, last + 1))
        self._newcomers = NewCodes(self._codes, first, bounds)
        self._met: list[_Rows] = []
        self._pairs: list[tuple[Ints, Ints, Floats]] = []
        self._count = 0

    def meet(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Compare with the old rows of some files."""
        pieces = [_piece_of(batch, self._layout) for batch in batches]
        left, right = self._newcomers.reached(pieces, self._task.floor)
        if not len(left):
            return
        rows, place = _each_once(right)
        kind, width = np.dtype(self._layout.dtype), self._layout.width
        vectors = Ragged(views(batches, "vector", kind, width), rows).all()
        similarity = cosine(self._units, left, place, as_units(vectors)[0])
        near = similarity >= min(self._task.floor, _EQUAL)
        at, place = _each_once(place[near])
        self._met.append(self._found(batches, pieces, rows[at], vectors, at))
        self._pairs.append((left[near], self._count + place, similarity[near]))
        self._count += len(at)

    def _found(
        self,
        batches: Sequence[pa.RecordBatch],
        pieces: Sequence[Piece],
        rows: Ints,
        vectors: Vectors,
        at: Ints,
    ) -> _Rows:
        """Some rows, numbered from piece to piece, with what is known of them."""
        width = self._new.cells.shape[1]
        ids, hashes = ([batch.column(name).to_numpy() for batch in batches] for name in _NAMING)
        return _Rows(
            cell=Ragged([piece.cell for piece in pieces], rows).all(),
            cells=Ragged(views(batches, "cells", np.dtype(np.int32), width), rows).all(),
            ids=Ragged(ids, rows).all(),
            hashes=Ragged(hashes, rows).all(),
            vectors=[vectors],
            at=at,
        )

    def finish(self) -> Compared | None:
        """Write the pairs, unless there are too many of a row."""
        own = Piece(self._new.cell, self._codes)
        left, right = self._newcomers.reached([own], self._task.floor)
        once = left < right
        left, right = left[once], right[once]
        among = left, self._count + right, cosine(self._units, left, right)
        pairs = zip(*self._pairs, among, strict=True)
        left, right, similarity = (np.concatenate(each) for each in pairs)
        left += self._count
        rows = _Rows.joined([*self._met, self._new])
        # Old rows come first, and ids ascend from file to file: the first of equals is the
        # one with the lowest id. Whatever equals a row that was met has been met as well.
        distinct, first = first_equal(rows.cell, rows.hashes, Ragged(rows.vectors, rows.at).take)
        ours = distinct[left] & distinct[right] & (similarity >= np.float64(self._task.floor))
        ours &= reported(rows.cell[left], rows.cells[:, 0], rows.cells[:, 1:], left, right)
        copies = self._copies(rows, distinct)
        copied = np.column_stack([rows.ids[copies], rows.ids[first[copies]]])
        return self._written(rows.ids, left[ours], right[ours], similarity[ours], copied)

    def _copies(self, rows: _Rows, distinct: Bools) -> Ints:
        """New rows that equal another, once each: where they live."""
        again = self._count + np.flatnonzero(~distinct[self._count :])
        return again[rows.cells[again, 0] == rows.cell[again]]

    def _written(
        self, ids: Ints, left: Ints, right: Ints, similarity: Floats, copies: Ints
    ) -> Compared | None:
        degree = np.bincount(np.concatenate([left, right]), minlength=len(ids))
        busiest = int(degree.max(initial=0))
        if busiest > self._task.most:
            return None
        one, other = ids[left], ids[right]
        name = f"{self._task.prefix}edges-{self._group:05d}.arrow" if len(left) else ""
        columns = [np.minimum(one, other), np.maximum(one, other), similarity]
        if name:
            self._task.store.put(name, [pa.record_batch(columns, schema=PAIRS)])
        return Compared(
            name=name,
            pairs=len(left),
            copies=copies,
            full=np.zeros(0, dtype=np.int64),
            reach=np.zeros(0, dtype=np.float32),
            busiest=busiest,
            busiest_old=int(degree[: self._count].max(initial=0)),
        )


def _each_once(places: Ints) -> tuple[Ints, Ints]:
    """What ascending places are there, and which of these each is."""
    first = np.ones(len(places), dtype=np.bool_)
    first[1:] = places[1:] != places[:-1]
    return places[first], np.cumsum(first) - 1


def _piece_of(batch: pa.RecordBatch, layout: Layout) -> Piece:
    codes = Codes(
        from_binary(batch.column("code"), np.dtype(np.int8), padded(layout.width)),
        batch.column("scale").to_numpy(),
        batch.column("error").to_numpy(),
    )
    return Piece(batch.column("cell").to_numpy(), codes, _heads_of(batch))


def _heads_of(batch: pa.RecordBatch) -> Heads | None:
    """Heads, unless codes are too short for them, or an older version wrote the file."""
    if "head" not in batch.schema.names:
        return None
    column = batch.column("head")
    width = column.type.byte_width
    return Heads(from_binary(column, np.dtype(np.int8), width), batch.column("tail").to_numpy())
