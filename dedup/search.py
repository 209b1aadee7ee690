"""From vectors to a neighbour graph over distinct items."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Hashes, Ints
from dedup.cells.graph import CellGraph, Mapper, fits_memory, plan_cells, survey_source
from dedup.cells.source import Source
from dedup.cells.store import FolderStore, MemoryStore, Store
from dedup.cells.tasks import PAIRS, first_equal
from dedup.exact import Nodes, collapse
from dedup.graph import NeighbourGraph, sorted_pairs
from dedup.neighbours import find_neighbours
from dedup.options import GraphOptions
from dedup.perceptual import close_hashes
from dedup.units import as_units, cosine, hash_rows

log = logging.getLogger(__name__)

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


def search(
    source: Source,
    floor: float,
    options: GraphOptions,
    seed: int,
    equals: Sequence[Ints] = (),
    mapper: Mapper | None = None,
) -> Searched:
    """Collapse equal rows, and find the neighbours of what is left.

    Args:
        source: Of vectors, n rows; those without a direction have no neighbours.
        floor: Lowest similarity wanted, in [-1, 1].
        options: How to search.
        seed: Of the k-means of ``faiss-ivf``; cells need none.
        equals: Senses in which rows are equal, as ``first_of_equal`` gives them.
        mapper: Where tasks run; ``None`` for threads of this process.

    Returns:
        Nodes and graph. Neither the order of the rows nor the number of workers changes
        which pairs are found.

    Raises:
        ImportError: If ``options`` ask for FAISS and it is not installed.
    """
    if options.method in {"faiss-flat", "faiss-ivf"}:
        return _search_faiss(source, floor, options, seed, equals)
    if options.method == "auto":
        log.info("neighbour graph of %d vectors: auto picked cells", int(source.sizes.sum()))
    with mapped(options, mapper) as run:
        surveyed = survey_source(source, run)
        nodes = collapse([np.arange(len(surveyed.valid)), *equals])
        wanted = np.zeros(len(surveyed.valid), dtype=np.bool_)
        wanted[nodes.spokesman(surveyed.valid)] = True
        wanted &= surveyed.valid
        plan = plan_cells(surveyed.sample, int(wanted.sum()), source, floor, options)
        with _room(fits_memory(int(wanted.sum()), source, options)) as store:
            cells = CellGraph(store, plan, floor, options.max_k)
            added = cells.add(source, wanted, run)
            cells.drop_rows()
            return _gathered(cells, added.copies, surveyed.valid, equals)


def _gathered(cells: CellGraph, copies: Ints, valid: Bools, equals: Sequence[Ints]) -> Searched:
    """Nodes and edges of a graph by cells, in memory."""
    count = len(valid)
    first = np.arange(count)
    first[copies[:, 0]] = copies[:, 1]
    nodes = collapse([first, *equals])
    pairs = pa.Table.from_batches(list(cells.pairs()), schema=PAIRS)
    src, dst = (nodes.of_row[pairs.column(name).to_numpy()] for name in ("src", "dst"))
    similarity = pairs.column("similarity").to_numpy()
    low, high = np.minimum(src, dst), np.maximum(src, dst)
    low, high, similarity = sorted_pairs(len(nodes), low, high, similarity)
    _, reach = cells.saturated()
    graph = NeighbourGraph(len(nodes), low, high, similarity, cells.floor, "cells", reach)
    return Searched(nodes, graph, valid, cells=len(cells.plan.index))


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
    with ThreadPoolExecutor(options.cores) as pool, _one_torch_thread():

        def run(function: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
            return pool.map(function, tasks)

        yield run


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Tasks are the parallelism: threads inside their products would only fight for the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _room(in_memory: bool) -> Iterator[Store]:
    """A place for rows by cell: memory where they fit, else a folder that goes afterwards."""
    if in_memory:
        yield MemoryStore()
        return
    with tempfile.TemporaryDirectory(prefix="winnow-cells-") as folder:
        yield FolderStore(folder)


def add_perceptual(
    searched: Searched, source: Source, hashes: Hashes, known: Bools, distance: int
) -> Searched:
    """Add the pairs whose hashes almost agree, where the vectors confirm them.

    An exact search has found these pairs already; an approximate or saturated one may not.

    Args:
        searched: What the neighbour search found.
        source: Of the vectors that were searched.
        hashes: Perceptual hash of each row, uint64 (n,).
        known: Which rows have a hash, bool (n,).
        distance: Bits that may differ, 0..32.

    Returns:
        The same, with the confirmed pairs among the edges.
    """
    nodes, graph, valid = searched.nodes, searched.graph, searched.valid
    rows = nodes.spokesman(valid)
    close = close_hashes(hashes[rows], known[rows] & valid[rows], distance)
    new = ~graph.has(close.src, close.dst)
    src, dst = close.src[new], close.dst[new]
    similarity = _cosine_of_rows(source, rows[src], rows[dst])
    good = similarity >= np.float64(graph.floor)
    src, dst, alike = sorted_pairs(
        graph.count,
        np.concatenate([graph.src, src[good]]),
        np.concatenate([graph.dst, dst[good]]),
        np.concatenate([graph.similarity, similarity[good]]),
    )
    joined = replace(graph, src=src, dst=dst, similarity=alike)
    return replace(searched, graph=joined, crowded=close.crowded)


def _cosine_of_rows(source: Source, left: Ints, right: Ints) -> Floats:
    """Similarity of pairs of rows that are read again, block by block."""
    rows, place = np.unique(np.concatenate([left, right]), return_inverse=True)
    units = np.zeros((len(rows), source.width), dtype=np.float32)
    start = 0
    for block, size in enumerate(source.sizes.tolist()):
        first, last = np.searchsorted(rows, [start, start + size])
        if last > first:
            units[first:last] = as_units(source.read(block)[1][rows[first:last] - start])[0]
        start += size
    return cosine(units, place[: len(left)], place[len(left) :])
