"""The steps of a search by cells, as tasks: blocks are scattered, groups of cells compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Hashes, Ints, Vectors
from dedup.cells.assign import Cells, Centroids, centroid_codes, nearest, nearest_in_lists
from dedup.cells.centroids import CellIndex
from dedup.cells.codes import Codes, encode, padded
from dedup.cells.pairs import Cell, compare
from dedup.cells.pile import Pairs
from dedup.cells.ragged import Ragged
from dedup.cells.shuffle import Gathered, Layout, gather, scatter
from dedup.cells.source import Source
from dedup.cells.store import Store
from dedup.units import MIX, as_units, hash_rows

#: Schema of the files of pairs.
PAIRS = pa.schema({"src": pa.int64(), "dst": pa.int64(), "similarity": pa.float32()})
_PROBES, _PROBE_SLACK = 12, 0.15
_SLICE = 1024


@dataclass(frozen=True)
class CellPlan:
    """How a space is cut, as it is stored and found again.

    Args:
        index: Cells.
        layout: Groups of cells.
        most: Cells that a row goes to at most.
        slack: How much further than its home's a visited centroid may be, in cosine.
        device: Where this search computes, ``cpu`` or ``cuda``; it is not stored.
        copies: Cells that a row is expected to go to, on average.
    """

    index: CellIndex
    layout: Layout
    most: int
    slack: float
    device: str = "cpu"
    copies: float = 1.0

    @property
    def centroids(self) -> Centroids:
        """The cells' centroids as codes."""
        return centroid_codes(self.index.centroids)


@dataclass(frozen=True)
class Scattered:
    """What became of a block.

    Args:
        name: Of its file.
        written: Rows written: once for each cell.
        copies: Ids of rows whose vector is that of an earlier row of the block, and of that
            row, int64 (c, 2).
    """

    name: str
    written: int
    copies: Ints


@dataclass(frozen=True)
class Scatter:
    """The second pass, as a task: rows of a block to the files of the groups.

    Args:
        source: Of vectors.
        plan: Cells and groups.
        store: Where the files go.
        prefix: Of the names of files.
    """

    source: Source
    plan: CellPlan
    store: Store
    prefix: str

    def __call__(self, task: tuple[int, Bools]) -> Scattered:
        """Write the wanted rows of one block."""
        block, wanted = task
        ids, vectors = self.source.read(block)
        rows = np.flatnonzero(wanted)
        ids, vectors = ids[rows], _taken(vectors, rows)
        codes, hashes = _encoded(vectors)
        distinct, first = first_equal(
            np.zeros(len(ids), dtype=np.int32), hashes, vectors.__getitem__
        )
        copies, kept = np.flatnonzero(~distinct), np.flatnonzero(distinct)
        if len(copies):
            codes = codes.take(kept)
        name = f"{self.prefix}block-{block:05d}.arrow"
        written = scatter(
            self.store,
            name,
            self.plan.layout,
            ids[kept],
            hashes[kept],
            assign(codes, self.plan),
            _taken(vectors, kept),
            codes,
        )
        return Scattered(name, written, np.column_stack([ids[copies], ids[first[copies]]]))


def _taken(vectors: Vectors, rows: Ints) -> Vectors:
    """Some rows, ascending; no copy where they are all."""
    return vectors if len(rows) == len(vectors) else vectors[rows]


def _encoded(vectors: Vectors) -> tuple[Codes, Hashes]:
    """Codes of the unit rows, and hashes of them, without holding all unit rows at once."""
    count, width = vectors.shape
    codes = Codes(
        np.zeros((count, padded(width)), dtype=np.int8),
        np.empty(count, dtype=np.float32),
        np.empty(count, dtype=np.float32),
    )
    hashes = np.empty(count, dtype=np.uint64)
    for start in range(0, count, _SLICE):
        part = slice(start, start + _SLICE)
        units, _ = as_units(vectors[part])
        encode(units, codes.take(part))
        hashes[part] = hash_rows(units)
    return codes, hashes


def assign(codes: Codes, plan: CellPlan) -> Cells:
    """The home and the visits of each row, int32 (n, m)."""
    index = plan.index
    if not len(index.coarse):
        return nearest(codes, plan.centroids, plan.most, plan.slack, plan.device)
    coarse = centroid_codes(index.coarse)
    probes = nearest(codes, coarse, _PROBES, _PROBE_SLACK, plan.device)
    return nearest_in_lists(
        codes, plan.centroids, probes, index.bounds, plan.most, plan.slack, plan.device
    )


def first_equal(cell: Cells, hashes: Hashes, take: Callable[[Ints], Vectors]) -> tuple[Bools, Ints]:
    """For each row the first row of the same cell with an equal unit vector.

    Args:
        cell: int32 (n,).
        hashes: Of the unit rows, uint64 (n,).
        take: Gives the vectors of some rows.

    Returns:
        Which rows are the first, bool (n,), and the first of each, int64 (n,).
    """
    first = np.arange(len(cell))
    some = _repeated(hashes ^ (cell.astype(np.uint64) * MIX))
    order = some[np.lexsort((some, hashes[some], cell[some]))]
    same = (np.diff(hashes[order]) == 0) & (np.diff(cell[order]) == 0)
    if same.any():
        run = np.concatenate([[0], np.cumsum(~same)])
        heads = order[np.flatnonzero(np.concatenate([[True], ~same]))]
        first[order] = heads[run]
    rows = np.flatnonzero(first != np.arange(len(first)))
    # Hashes of 64 bits collide once in a while; vectors do not.
    for start in range(0, len(rows), _SLICE):
        part = rows[start : start + _SLICE]
        equal = (as_units(take(part))[0] == as_units(take(first[part]))[0]).all(axis=1)
        first[part[~equal]] = part[~equal]
    return first == np.arange(len(first)), first


def _repeated(keys: Hashes) -> Ints:
    """Places of the keys that occur more than once: one fast sort tells that most do not."""
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.zeros(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(twice, keys), len(twice) - 1)
    return np.flatnonzero(twice[place] == keys)


@dataclass(frozen=True)
class Compared:
    """What became of a group of cells.

    Args:
        name: Of the file with its pairs: src < dst (int64), similarity (float32). Empty where
            there are none and none was written.
        pairs: How many there are.
        copies: As in ``Scattered``, for rows of different blocks.
        full: Ids of rows whose list is full in some cell, int64 (s,).
        reach: The lowest similarity in that list, float32 (s,).
        busiest: The most neighbours of a row in a cell, of those found now.
        busiest_old: The same of the rows that were there before.
    """

    name: str
    pairs: int
    copies: Ints
    full: Ints
    reach: Floats
    busiest: int
    busiest_old: int


@dataclass(frozen=True)
class Compare:
    """The third pass, as a task: all pairs inside the cells of a group.

    Args:
        plan: Cells and groups.
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

    def __call__(self, group: int) -> Compared:
        """Compare one group, and write its pairs."""
        rows = gather(self.store, self.plan.layout, group, list(self.old), list(self.new))
        # Among old rows, too: copies that an earlier batch brought still lie in its files.
        distinct, first = first_equal(rows.cell, rows.hashes, rows.vectors.take)
        # What is old has been reported; where nothing is, all rows count as new.
        copies = np.flatnonzero(~distinct & rows.new & (rows.home == rows.cell))
        runs = [np.flatnonzero(distinct[start:stop]) + start for start, stop in _runs(rows.cell)]
        cells = self._pairs(rows, runs)
        found = [_by_id(rows.ids[chosen], pairs) for chosen, pairs in zip(runs, cells, strict=True)]
        joined = [np.concatenate(each) for each in zip(*found, strict=True)] or _nothing()
        src, dst, similarity, full, reach = joined
        name = f"{self.prefix}edges-{group:05d}.arrow"
        self.store.put(name, [pa.record_batch([src, dst, similarity], schema=PAIRS)])
        copied = np.column_stack([rows.ids[copies], rows.ids[first[copies]]])
        busiest = max((pairs.busiest for pairs in cells), default=0)
        return Compared(name, len(src), copied, full, reach, busiest, busiest)

    def _pairs(self, rows: Gathered, runs: list[Ints]) -> list[Pairs]:
        """Pairs of each cell, by places in its run."""
        device, found = self.plan.device, None
        if device != "cpu" and runs:
            from dedup.cells.cuda.compare import compare_group

            old = bool(self.old)
            found = compare_group(rows, runs, self.floor, self.most, device, some_old=old)
        return [self._cell(rows, chosen) for chosen in runs] if found is None else found

    def _cell(self, rows: Gathered, chosen: Ints) -> Pairs:
        """Pairs of one cell, by places among the chosen rows."""
        lazy = _Units(rows.vectors, chosen)
        units: Floats | _Units = lazy
        if rows.codes is None:
            units = lazy.take(np.arange(len(chosen)))
            codes = encode(units)
        else:
            codes = rows.codes.take(chosen)
        cell = Cell(
            number=int(rows.cell[chosen[0]]),
            ids=rows.ids[chosen],
            home=rows.home[chosen],
            visits=rows.visits[chosen],
            codes=codes,
            units=units,
            new=rows.new[chosen] if self.old else None,
        )
        return compare(cell, self.floor, self.most)


def _by_id(ids: Ints, pairs: Pairs) -> tuple[Ints, Ints, Floats, Ints, Floats]:
    """Lower and higher ends, similarities, and full rows with where their lists end."""
    left, right = ids[pairs.left], ids[pairs.right]
    low, high = np.minimum(left, right), np.maximum(left, right)
    return low, high, pairs.similarity, ids[pairs.full], pairs.reach


@dataclass(frozen=True)
class _Units:
    """Unit rows of a cell, made when they are needed."""

    vectors: Ragged
    rows: Ints

    def take(self, rows: Ints) -> Floats:
        return as_units(self.vectors.take(self.rows[rows]))[0]


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of equal values."""
    cuts = np.flatnonzero(np.diff(values)) + 1
    edges = [0, *cuts.tolist(), len(values)]
    return pairwise(edges) if len(values) else iter(())


def _nothing() -> list[Any]:
    none = np.zeros(0, dtype=np.int64)
    return [none, none, np.zeros(0, dtype=np.float32), none, np.zeros(0, dtype=np.float32)]
