"""Components at the threshold and at the floor, found in one go."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dedup.arrays import Ints
from dedup.components import UnionFind
from dedup.graph import NeighbourGraph


@dataclass(frozen=True)
class Near:
    """The pairs at or above a threshold, and what hangs together.

    Args:
        graph: These pairs.
        component: Lowest node of the component that each node has by them, int64 (n,).
        root: The same by all pairs, down to the floor.
    """

    graph: NeighbourGraph
    component: Ints
    root: Ints

    @classmethod
    def of(cls, graph: NeighbourGraph, threshold: float) -> Near:
        """Those of a graph."""
        chosen = graph.reaches(threshold)
        near, forest = graph.where(chosen), UnionFind(graph.count)
        forest.add(near.src, near.dst)
        component = root = forest.labels()
        if len(near) < len(graph):
            far = np.flatnonzero(~chosen)
            forest.add(graph.src[far], graph.dst[far])
            root = forest.labels()
        return cls(replace(near, floor=threshold), component, root)
