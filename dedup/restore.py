"""A search restored from its stored pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Ints, name_rows
from dedup.exact import Nodes
from dedup.graph import NeighbourGraph


class Searchable(Protocol):
    """What a search leaves behind, fresh (``Searched``) or restored (``Restored``)."""

    @property
    def nodes(self) -> Nodes:
        """Rows collapsed to nodes."""

    @property
    def graph(self) -> NeighbourGraph:
        """Edges between nodes, sorted."""


@dataclass(frozen=True)
class Restored:
    """What is known of a search from its stored pairs.

    Args:
        nodes: Rows collapsed to nodes.
        graph: Edges between nodes.
    """

    nodes: Nodes
    graph: NeighbourGraph


def restore(edges: pa.Table, ids: Ints, floor: float | None = None) -> Restored:
    """Undo ``Searched.pairs``: stored pairs of items back into nodes and a graph.

    Equal items were stored as a star at similarity 1 around the lowest of them, which speaks
    for all: an item whose only pair is one of exactly 1 with a lower item is taken for its
    copy. Of unequal items whose cosine rounds to 1 the same is assumed where one of them has
    no other pair. Such two are within 2.5e-4 of each other in similarity to anything else, so
    the neighbours that they do not share lie that close to the floor, or were not found.

    Args:
        edges: src, dst (int64, ids, src < dst), similarity (float32, in [-1, 1]); each pair
            once, in any order.
        ids: Of all items compared, int64 (n,), ascending.
        floor: No pair below this similarity was stored; ``None`` for the lowest stored,
            rounded down to six digits.

    Returns:
        Nodes and graph by row: row i has ``ids[i]``.

    Raises:
        ValueError: If pairs name items that are not there, or not in order.
    """
    src, dst = _rows(edges, "src", ids), _rows(edges, "dst", ids)
    similarity = edges.column("similarity").to_numpy().astype(np.float32)
    if (src >= dst).any():
        raise ValueError(f"{np.count_nonzero(src >= dst)} pairs do not have src < dst")
    order = np.lexsort((dst, src))
    src, dst, similarity = src[order], dst[order], similarity[order]
    star = _stars(len(ids), src, dst, similarity)
    head = np.arange(len(ids), dtype=np.int64)
    head[dst[star]] = src[star]
    first, of_row = np.unique(head, return_inverse=True)
    # Rounded down: a pair found at a floor of 0.8 may be stored as 0.80000001.
    lowest = math.floor(float(similarity.min(initial=1.0)) * 1e6) / 1e6
    graph = NeighbourGraph(
        count=len(first),
        src=of_row[src[~star]].astype(np.int64),
        dst=of_row[dst[~star]].astype(np.int64),
        similarity=similarity[~star],
        floor=lowest if floor is None else min(floor, lowest),
    )
    return Restored(Nodes(of_row.astype(np.int64), first.astype(np.int64)), graph)


def _stars(count: int, src: Ints, dst: Ints, similarity: Floats) -> Bools:
    degree = np.bincount(src, minlength=count) + np.bincount(dst, minlength=count)
    return (similarity == np.float32(1.0)) & (degree[dst] == 1)


def _rows(edges: pa.Table, column: str, ids: Ints) -> Ints:
    wanted = edges.column(column).to_numpy().astype(np.int64)
    rows = np.searchsorted(ids, wanted)
    known = np.zeros(len(wanted), dtype=np.bool_)
    inside = rows < len(ids)
    known[inside] = ids[rows[inside]] == wanted[inside]
    if not known.all():
        raise ValueError(
            f"pairs name items that were not compared: {name_rows(np.unique(wanted[~known]))}"
        )
    return rows.astype(np.int64)
