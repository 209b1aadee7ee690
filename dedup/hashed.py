"""Pairs that perceptual hashes propose and vectors confirm."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dedup.arrays import Bools, Floats, Hashes, Ints
from dedup.cells.source import Source
from dedup.exact import Nodes
from dedup.graph import NeighbourGraph, distinct_pairs
from dedup.perceptual import close_hashes
from dedup.search import Searched
from dedup.units import as_units, cosine


@dataclass(frozen=True)
class HashPairs:
    """Pairs of rows whose hashes almost agree, and whose vectors confirm it.

    Args:
        src: One row of each, int64 (p,).
        dst: The other.
        similarity: Of their vectors, float32 (p,).
        crowded: Perceptual hashes that too many rows share to pair them all.
    """

    src: Ints
    dst: Ints
    similarity: Floats
    crowded: int = 0

    @classmethod
    def none(cls) -> HashPairs:
        """No pairs."""
        rows = np.zeros(0, dtype=np.int64)
        return cls(rows, rows, np.zeros(0, dtype=np.float32))

    def joined(self, later: HashPairs) -> HashPairs:
        """These pairs and others, found later."""
        return HashPairs(
            np.concatenate([self.src, later.src]),
            np.concatenate([self.dst, later.dst]),
            np.concatenate([self.similarity, later.similarity]),
            later.crowded,
        )


def confirmed_hashes(
    nodes: Nodes,
    valid: Bools,
    source: Source,
    hashes: Hashes,
    known: Bools,
    distance: int,
    floor: float,
    graph: NeighbourGraph | None = None,
    since: int = 0,
) -> HashPairs:
    """Find the pairs whose hashes almost agree, where the vectors confirm them.

    An exact search has found these pairs already; an approximate or saturated one may not.

    Args:
        nodes: Rows collapsed to nodes; one row of each is looked at.
        valid: Which rows have a direction, bool (n,).
        source: Of the vectors that were searched.
        hashes: Perceptual hash of each row, uint64 (n,).
        known: Which rows have a hash, bool (n,).
        distance: Bits that may differ, 0..32.
        floor: Lowest similarity that confirms a pair.
        graph: Between the nodes; the pairs that it has are left out.
        since: Only pairs with a row from this one on.
    """
    rows = np.sort(nodes.spokesman(valid))
    close = close_hashes(
        hashes[rows], known[rows] & valid[rows], distance, since=int(np.searchsorted(rows, since))
    )
    src, dst = rows[close.src], rows[close.dst]
    if graph is not None:
        one, other = nodes.of_row[src], nodes.of_row[dst]
        new = ~graph.has(np.minimum(one, other), np.maximum(one, other))
        src, dst = src[new], dst[new]
    similarity = _cosine_of_rows(source, src, dst)
    good = similarity >= np.float64(floor)
    return HashPairs(src[good], dst[good], similarity[good], close.crowded)


def with_pairs(searched: Searched, found: HashPairs) -> Searched:
    """The same with more edges; those of pairs that are there already stay as they are.

    Args:
        searched: Nodes and edges.
        found: Pairs of its rows.
    """
    nodes, graph = searched.nodes, searched.graph
    if not len(found.src):
        return replace(searched, crowded=found.crowded)
    one, other = nodes.of_row[found.src], nodes.of_row[found.dst]
    low, high = np.minimum(one, other), np.maximum(one, other)
    new = ~graph.has(low, high)
    src, dst, alike = distinct_pairs(
        graph.count,
        np.concatenate([graph.src, low[new]]),
        np.concatenate([graph.dst, high[new]]),
        np.concatenate([graph.similarity, found.similarity[new]]),
    )
    joined = replace(graph, src=src, dst=dst, similarity=alike)
    return replace(searched, graph=joined, crowded=found.crowded)


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
