"""From vectors to a neighbour graph over distinct items."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Ints
from dedup.cells.among import IdFilter, Places
from dedup.cells.cuda import resolve_device
from dedup.cells.graph import Added, CellGraph, Mapper, plan_cells, survey_source
from dedup.cells.source import Source
from dedup.cells.store import FolderStore, MemoryStore, Store
from dedup.cells.tasks import PAIRS, CellPlan, first_equal
from dedup.exact import Nodes, collapse
from dedup.graph import NeighbourGraph, distinct_pairs, sorted_pairs
from dedup.lookup import Rows
from dedup.mapping import LocalMapper
from dedup.neighbours import find_neighbours
from dedup.options import GraphOptions
from dedup.units import as_units, hash_rows

#: Share of the memory that rows by cell may take; the rest is for pairs and for the work.
_SHARE_FOR_ROWS = 0.5
_NO_COPIES = np.zeros((0, 2), dtype=np.int64)
#: Both ends of pairs and their similarities: by id, and by place in a share.
Columns: TypeAlias = tuple[Ints, Ints, Floats]
Dealt: TypeAlias = tuple[Places, Places, Floats]

_NO_PAIRS = (_NO_COPIES[:, 0], _NO_COPIES[:, 1], np.zeros(0, dtype=np.float32))

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Searched:
    """What a search leaves behind; every decision can be taken from it.

    Args:
        nodes: Rows collapsed to nodes: equal vectors, and what the caller called equal.
        graph: Edges between nodes.
        valid: Which rows have a direction, bool (n,).
        crowded: Perceptual hashes that too many rows share to pair them all.
        cells: Cells that the space was cut into; 0 where FAISS searched.
    """

    nodes: Nodes
    graph: NeighbourGraph
    valid: Bools
    crowded: int = 0
    cells: int = 0

    def pairs(self, threshold: float) -> tuple[Ints, Ints, Floats]:
        """The pairs of rows at or above a threshold, once each, sorted.

        Equal rows are a star, not a clique: the lowest row is paired with each other one,
        at similarity 1, and speaks for all of them in the pairs with other rows.

        Returns:
            Lower rows, higher rows, int64 (p,), and similarities, float32 (p,).
        """
        first = self.nodes.first
        copies = np.flatnonzero(first[self.nodes.of_row] != np.arange(len(self.nodes.of_row)))
        graph = self.graph.above(threshold)
        src = np.concatenate([first[self.nodes.of_row[copies]], first[graph.src]])
        dst = np.concatenate([copies, first[graph.dst]])
        alike = np.concatenate([np.ones(len(copies), dtype=np.float32), graph.similarity])
        return sorted_pairs(len(self.nodes.of_row), src, dst, alike)


@dataclass
class Kept:
    """What a search leaves for the next one, which will add rows.

    Args:
        graph: Cells, rows and pairs.
        valid: Which rows have a direction, bool (n,).
        wanted: Which rows were searched: one of each node that has a direction, bool (n,).
        copies: Ids of rows whose vector is that of an earlier row, and that row, int64 (c, 2).
        added: What the last search added; ``None`` for a graph that was only read.
    """

    graph: CellGraph
    valid: Bools
    wanted: Bools
    copies: Ints
    added: Added | None = None

    def first_of_equal(self, ids: Ints | None = None) -> Ints:
        """For each row the first with an equal vector, as far as the search met both.

        Args:
            ids: Of all rows, int64 (n,), ascending; ``None`` where they are row numbers.
        """
        first = np.arange(len(self.valid))
        copy, original = self.copies.T
        if ids is not None and len(copy):
            rows = Rows(ids)
            copy, original = rows(copy), rows(original)
        first[copy] = original
        return first

    def found_last(self) -> Iterator[tuple[Ints, Ints]]:
        """Ids of both ends of the pairs, and of the copies, that the last search found."""
        if self.added is None:
            return
        yield self.added.copies[:, 0], self.added.copies[:, 1]
        for name in self.added.files:
            batch = self.graph.store.get(name, 0)
            yield batch.column("src").to_numpy(), batch.column("dst").to_numpy()


def search(
    source: Source,
    floor: float,
    options: GraphOptions,
    seed: int,
    equals: Sequence[Ints] = (),
    mapper: Mapper | None = None,
    ids: Ints | None = None,
) -> Searched:
    """Collapse equal rows, and find the neighbours of what is left.

    Args:
        source: Of vectors, n rows; those without a direction have no neighbours.
        floor: Lowest similarity wanted, in [-1, 1].
        options: How to search.
        seed: Of the k-means of ``faiss-ivf``; cells need none.
        equals: Senses in which rows are equal, as ``first_of_equal`` gives them.
        mapper: Where tasks run; ``None`` for threads of this process.
        ids: That the source gives its rows, int64 (n,); ``None`` for row numbers.

    Returns:
        Nodes and graph. Neither the order of the rows nor the number of workers changes
        which pairs are found.

    Raises:
        ImportError: If ``options`` ask for FAISS and it is not installed.
    """
    if options.method in {"faiss-flat", "faiss-ivf"}:
        return _search_faiss(source, floor, options, seed, equals)
    with mapped(options, mapper) as run, ExitStack() as stack:
        place = CellStore(_Room(stack, options.memory_gb))
        kept = grow(None, source, floor, options, equals, run, place)
        kept.graph.drop_rows()
        return gathered(kept, equals, ids)


@dataclass(frozen=True)
class CellStore:
    """Where a graph begins.

    Args:
        store: Of rows by cell and pairs, or what opens one for a number of bytes of rows.
        prefix: Of the names of files.
        codes: Whether codes are kept with the rows, so that more can be added cheaply.
    """

    store: Store | Callable[[float], Store]
    prefix: str = ""
    codes: bool = False

    def begin(self, plan: CellPlan, rows: int, floor: float, options: GraphOptions) -> CellGraph:
        """An empty graph."""
        store = self.store
        if callable(store):
            store = store(rows * plan.copies * plan.layout.row_bytes)
        return CellGraph(store, plan, floor, options.max_k, prefix=self.prefix)


def grow(
    kept: Kept | None,
    source: Source,
    floor: float,
    options: GraphOptions,
    equals: Sequence[Ints],
    mapper: Mapper,
    place: CellStore,
) -> Kept:
    """Search the rows of a source among themselves and all that came before.

    Args:
        kept: What came before; it is changed. ``None`` to begin.
        source: Of the rows that are added, with ids above all earlier ones.
        floor: Lowest similarity wanted; that of ``kept`` where there is one.
        options: How to search.
        equals: Over all rows, earlier ones first; see ``search``.
        mapper: Where tasks run.
        place: Where rows and pairs go, where ``kept`` does not say.

    Returns:
        What is known of all rows.
    """
    device = resolve_device(options.device)
    surveyed = survey_source(source, mapper, sample=kept is None, device=device)
    before = 0 if kept is None else len(kept.valid)
    valid = surveyed.valid if kept is None else np.concatenate([kept.valid, surveyed.valid])
    wanted = np.zeros(len(valid), dtype=np.bool_)
    if kept is not None:
        wanted[:before] = kept.wanted
    wanted[_speakers(valid, wanted, before, equals)] = True
    if kept is None:
        count = int(wanted.sum())
        plan = plan_cells(surveyed.sample, count, source, floor, options, codes=place.codes)
        graph, copies = place.begin(plan, count, floor, options), _NO_COPIES
    else:
        graph, copies = kept.graph, kept.copies
        graph.plan = replace(graph.plan, device=device)
    added = graph.add(source, wanted[before:], mapper, options.cores)
    return Kept(graph, valid, wanted, np.concatenate([copies, added.copies]), added)


def _speakers(valid: Bools, wanted: Bools, before: int, equals: Sequence[Ints]) -> Ints:
    """The first row of each node that has a direction, where an earlier batch brought none.

    Args:
        valid: Which rows have a direction, bool (n,).
        wanted: Those of earlier batches that speak for a node, bool (n,).
        before: Rows of earlier batches.
        equals: See ``search``.
    """
    if len(equals) == 1:
        root = equals[0]
    else:
        nodes = collapse([np.arange(len(valid)), *equals])
        root = nodes.first[nodes.of_row]
    rows = before + np.flatnonzero(valid[before:])
    own = root[rows]
    if before and len(own) and own.min() < before:
        spoken_for = np.zeros(len(valid), dtype=np.bool_)
        spoken_for[root[:before][wanted[:before]]] = True
        rows, own = rows[~spoken_for[own]], own[~spoken_for[own]]
    return rows[np.unique(own, return_index=True)[1]]


def gathered(kept: Kept, equals: Sequence[Ints], ids: Ints | None = None) -> Searched:
    """Nodes and edges of a graph by cells, in memory.

    Args:
        kept: What was searched.
        equals: See ``search``.
        ids: Of all rows, int64 (n,), ascending; ``None`` where they are row numbers.
    """
    store, files = kept.graph.store, kept.graph.pair_files
    place = None if ids is None else Rows(ids)
    batches = pa.Table.from_batches([store.get(name, 0) for name in files], schema=PAIRS)
    src, dst, alike = _columns(batches)
    ends = (src, dst) if place is None else (place(src), place(dst))
    return _assembled(kept, equals, ids, [(*ends, alike)])


@dataclass(frozen=True)
class Shares:
    """Rows in shares.

    Args:
        share: Of each row, int64 (m,).
        place: Of each row in its share, int32 (m,), or int64 where that is too small.
        rows: Of each share, int64, ascending.
    """

    share: Ints
    place: Places
    rows: list[Ints]

    @classmethod
    def of(cls, share: Ints) -> Shares:
        """From the share of each row, int64 (m,); there is one at least, if an empty one."""
        count = int(share.max(initial=0)) + 1
        rows = [np.flatnonzero(share == number) for number in range(count)]
        place: Places = np.empty(len(share), dtype=np.int64)
        for each in rows:
            place[each] = np.arange(len(each))
        return cls(share, place.astype(np.int32) if len(share) < 2**31 else place, rows)

    def __len__(self) -> int:
        return len(self.rows)


def dealt(
    kept: Kept, ids: Ints, chosen: Ints, shares: Shares, mapper: LocalMapper = map
) -> list[Callable[[Sequence[Ints]], Searched]]:
    """Nodes and edges of some rows, in shares of whole components.

    Args:
        kept: What was searched.
        ids: Of the chosen rows, int64 (m,), ascending.
        chosen: Rows, int64 (m,), ascending, whole components only.
        shares: Of the chosen rows, by their places.
        mapper: Threads that files are read in.

    Returns:
        For each share what makes its nodes and edges, numbered by place in the share, from
        senses in which its rows are equal (see ``search``, by place as well).
    """
    among, store = IdFilter(ids), kept.graph.store
    kept = replace(kept, copies=kept.copies[among(kept.copies[:, 0])])

    def read(name: str) -> list[Dealt]:
        pairs = _columns(store.get(name, 0))
        starts, src, dst, alike = among.dealt(*pairs, shares.share, shares.place, len(shares))
        cuts = [slice(start, stop) for start, stop in pairwise(starts.tolist())]
        return [(src[cut], dst[cut], alike[cut]) for cut in cuts]

    files = list(mapper(read, kept.graph.pair_files))

    def one(share: int, equals: Sequence[Ints]) -> Searched:
        own = shares.rows[share]
        mine = replace(kept, valid=kept.valid[chosen[own]])
        if len(kept.copies):
            mine.copies = kept.copies[IdFilter(ids[own])(kept.copies[:, 0])]
        return _assembled(mine, equals, ids[own], [file[share] for file in files])

    return [partial(one, share) for share in range(len(shares))]


def _assembled(
    kept: Kept, equals: Sequence[Ints], ids: Ints | None, parts: Sequence[Columns | Dealt]
) -> Searched:
    """Nodes and edges from pairs of rows, by place."""
    nodes = collapse([kept.first_of_equal(ids), *equals])
    src, dst, alike = (np.concatenate(each) for each in zip(*parts or [_NO_PAIRS], strict=True))
    if len(nodes) < len(kept.valid):
        src, dst = nodes.of_row[src], nodes.of_row[dst]
    low, high, similarity = distinct_pairs(len(nodes), src, dst, alike)
    _, reach = kept.graph.saturated()
    floor = kept.graph.floor
    graph = NeighbourGraph(len(nodes), low, high, similarity, floor, "cells", reach)
    return Searched(nodes, graph, kept.valid, cells=len(kept.graph.plan.index))


def _columns(pairs: pa.Table | pa.RecordBatch) -> Columns:
    src, dst, similarity = (pairs.column(name).to_numpy() for name in PAIRS.names)
    return src, dst, similarity


def _search_faiss(
    source: Source, floor: float, options: GraphOptions, seed: int, equals: Sequence[Ints]
) -> Searched:
    """The reference: all vectors in memory."""
    parts = [as_units(source.read(block)[1]) for block in range(len(source.sizes))]
    units = np.concatenate([part[0] for part in parts] or [_no_rows(source.width)])
    valid = np.concatenate([part[1] for part in parts] or [np.zeros(0, dtype=np.bool_)])
    nodes = collapse([_first_equal_rows(units, valid), *equals])
    rows = nodes.spokesman(valid)
    able = np.flatnonzero(valid[rows])
    graph = find_neighbours(units[rows[able]], floor, options, seed)
    graph = replace(graph, count=len(nodes), src=able[graph.src], dst=able[graph.dst])
    return Searched(nodes, graph, valid)


def _first_equal_rows(units: Floats, valid: Bools) -> Ints:
    """For each row the first row with the same unit vector; the invalid equal nothing."""
    first = np.arange(len(units))
    rows = np.flatnonzero(valid)
    able = units[rows]
    nowhere = np.zeros(len(rows), dtype=np.int32)
    first[rows] = rows[first_equal(nowhere, hash_rows(able), able.__getitem__)[1]]
    return first


def _no_rows(width: int) -> Floats:
    return np.zeros((0, width), dtype=np.float32)


@contextmanager
def mapped(options: GraphOptions, mapper: Mapper | None) -> Iterator[Mapper]:
    """The given mapper, or threads of this process for as long as the context lasts."""
    if mapper is not None:
        yield mapper
        return
    # Tasks are the parallelism: threads inside their products would only fight for the cores.
    with ThreadPoolExecutor(options.cores) as pool, _torch_threads(1):

        def run(function: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
            if len(tasks) != 1:
                return pool.map(function, tasks)
            with _torch_threads(options.cores):
                return [function(tasks[0])]

        yield run


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Room:
    """A place for one search: memory where its rows fit, else a folder that goes afterwards."""

    stack: ExitStack
    memory_gb: float

    def __call__(self, expected: float) -> Store:
        if expected <= _SHARE_FOR_ROWS * self.memory_gb * 2**30:
            return MemoryStore()
        folder = tempfile.TemporaryDirectory(prefix="winnow-cells-")
        return FolderStore(self.stack.enter_context(folder))
