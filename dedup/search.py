"""From vectors to a neighbour graph over distinct items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dedup.arrays import Bools, Floats, Hashes, Ints
from dedup.exact import Nodes, collapse, first_of_equal
from dedup.graph import NeighbourGraph, unique_pairs
from dedup.neighbours import find_neighbours
from dedup.options import GraphOptions
from dedup.perceptual import close_hashes
from dedup.vectors import cosine, digests


@dataclass(frozen=True)
class Searched:
    """What a search leaves behind; every decision can be taken from it.

    Args:
        nodes: Rows collapsed to nodes: equal vectors, and what the caller called equal.
        graph: Edges between nodes.
        crowded: Perceptual hashes that too many rows share to pair them all.
    """

    nodes: Nodes
    graph: NeighbourGraph
    crowded: int = 0

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
        order = np.lexsort((dst, src))
        return src[order], dst[order], alike[order]


def search(
    units: Floats,
    valid: Bools,
    floor: float,
    options: GraphOptions,
    seed: int,
    equals: Sequence[Ints] = (),
) -> Searched:
    """Collapse equal rows, and find the neighbours of what is left.

    Args:
        units: Unit rows, float32 (n, d).
        valid: Which rows have a direction, bool (n,); the others have no neighbours.
        floor: Lowest similarity wanted, in [-1, 1].
        options: How to search.
        seed: Of the search.
        equals: Further senses in which rows are equal, as ``first_of_equal`` gives them.

    Returns:
        Nodes and graph.

    Raises:
        ImportError: If FAISS is not installed.
    """
    nodes = collapse([first_of_equal(digests(units, valid)), *equals])
    rows = nodes.spokesman(valid)
    able = np.flatnonzero(valid[rows])
    graph = find_neighbours(units[rows[able]], floor, options, seed)
    return Searched(
        nodes, replace(graph, count=len(nodes), src=able[graph.src], dst=able[graph.dst])
    )


def add_perceptual(
    searched: Searched, units: Floats, valid: Bools, hashes: Hashes, known: Bools, distance: int
) -> Searched:
    """Add the pairs whose hashes almost agree, where the vectors confirm them.

    An exact search has found these pairs already; an approximate or saturated one may not.

    Args:
        searched: What the neighbour search found.
        units: Unit rows, float32 (n, d).
        valid: Which rows have a direction, bool (n,).
        hashes: Perceptual hash of each row, uint64 (n,).
        known: Which rows have a hash, bool (n,).
        distance: Bits that may differ, 0..32.

    Returns:
        The same, with the confirmed pairs among the edges.
    """
    nodes, graph = searched.nodes, searched.graph
    rows = nodes.spokesman(valid)
    close = close_hashes(hashes[rows], known[rows] & valid[rows], distance)
    src, dst = unique_pairs(
        graph.count,
        np.concatenate([graph.src, close.src]),
        np.concatenate([graph.dst, close.dst]),
    )
    similarity = cosine(units, rows[src], rows[dst])
    joined = replace(graph, src=src, dst=dst, similarity=similarity).above(graph.floor)
    return replace(searched, graph=joined, crowded=close.crowded)
