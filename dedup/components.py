"""Connected components of a neighbour graph."""

from __future__ import annotations

import numpy as np

from dedup.arrays import Ints, regroup


def components(count: int, src: Ints, dst: Ints) -> Ints:
    """Label every node with its connected component.

    Args:
        count: Number of nodes.
        src: One end of each edge, int64 (p,), in 0..count-1.
        dst: The other end, int64 (p,).

    Returns:
        The lowest node of each node's component, int64 (count,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if count == 0:
        return np.zeros(0, dtype=np.int64)
    weights = np.ones(len(src), dtype=np.float32)
    graph = coo_array((weights, (src, dst)), shape=(count, count)).tocsr()
    _, labels = connected_components(graph, directed=False)
    return regroup(labels.astype(np.int64))
