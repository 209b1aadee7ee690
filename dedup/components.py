"""Connected components of a neighbour graph, by streaming union-find.

The state is one int64 per node, its parent, with ``parent[i] <= i`` for every node: a root is
the lowest node of its component. Edges may come in any order and any number of batches; the
components depend on the set of edges alone. Joining by lowest index forgoes union by size;
path halving keeps the walks short, O(log n) amortised per edge (Tarjan and van Leeuwen,
"Worst-case analysis of set union algorithms", Journal of the ACM 31 (1984) 245-281).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.arrays import Ints, name_rows
from dedup.lookup import Rows


class UnionFind:
    """Components of a graph whose edges arrive in batches.

    >>> import numpy as np
    >>> forest = UnionFind(4)
    >>> forest.add(np.array([3]), np.array([1]))
    1
    >>> forest.labels().tolist()
    [0, 1, 2, 1]

    Args:
        count: Number of nodes, at least 0.

    Raises:
        ValueError: If ``count`` is negative.
    """

    def __init__(self, count: int) -> None:
        if count < 0:
            raise ValueError(f"count of nodes must be at least 0, got {count}")
        self._parent = np.arange(count, dtype=np.int64)

    @classmethod
    def restore(cls, parent: Ints) -> UnionFind:
        """Go on from the saved state of another instance.

        Args:
            parent: What ``parent`` gave, int64 (n,); copied.

        Returns:
            An instance with the same components.

        Raises:
            ValueError: If it is no such state.
        """
        parent = np.array(parent, dtype=np.int64)
        if parent.ndim != 1:
            raise ValueError(f"parents must have shape (n,), got {parent.shape}")
        wrong = np.flatnonzero((parent < 0) | (parent > np.arange(len(parent))))
        if len(wrong):
            raise ValueError(
                "not a saved union-find: a parent must be in 0..its node, which fails for "
                f"nodes {name_rows(wrong)}"
            )
        restored = cls(0)
        restored._parent = parent
        return restored

    def __len__(self) -> int:
        return len(self._parent)

    @property
    def parent(self) -> Ints:
        """The state, to be saved: int64 (n,), the parent of each node. Not to be written to."""
        view = self._parent.view()
        view.flags.writeable = False
        return view

    def add(self, src: Ints, dst: Ints) -> int:
        """Take in a batch of edges.

        Args:
            src: One end of each edge, int64 (p,), in 0..n-1. Loops and repeats do no harm.
            dst: The other end, int64 (p,).

        Returns:
            By how many the number of components fell.

        Raises:
            ValueError: If the ends do not match, or one is out of range; nothing is taken in.
        """
        src = np.asarray(src, dtype=np.int64)
        dst = np.asarray(dst, dtype=np.int64)
        if src.shape != dst.shape or src.ndim != 1:
            raise ValueError(
                f"src and dst must have the same shape (p,), got {src.shape} and {dst.shape}"
            )
        outside = _first_outside(src, dst, len(self))
        if outside >= 0:
            raise ValueError(
                f"edge {outside} joins {src[outside]} and {dst[outside]}, but nodes run from 0 "
                f"to {len(self) - 1}: grow the union-find first, or map sparse ids with nodes_of"
            )
        return int(_join(self._parent, src, dst))

    def grow(self, count: int) -> None:
        """Append nodes, each a component of its own, up to ``count`` in all.

        Raises:
            ValueError: If there are more nodes than that already.
        """
        if count < len(self):
            raise ValueError(f"a union-find of {len(self)} nodes cannot shrink to {count}")
        more = np.arange(len(self), count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, more])

    def labels(self) -> Ints:
        """The lowest node of each node's component, int64 (n,), a copy."""
        _flatten(self._parent)
        return self._parent.copy()


def components(count: int, src: Ints, dst: Ints) -> Ints:
    """Label every node with its connected component.

    Args:
        count: Number of nodes.
        src: One end of each edge, int64 (p,), in 0..count-1.
        dst: The other end, int64 (p,).

    Returns:
        The lowest node of each node's component, int64 (count,).

    Raises:
        ValueError: If an end is out of range.
    """
    forest = UnionFind(count)
    forest.add(src, dst)
    return forest.labels()


def nodes_of(ids: Ints, wanted: Ints) -> Ints:
    """Dense node numbers of sparse ids, such as the ends of stored edges.

    Args:
        ids: Id of each node, int64 (n,), strictly ascending; any values.
        wanted: Ids to look up, int64 (p,); faster where they are roughly in order.

    Returns:
        The place of each wanted id in ``ids``, int64 (p,).

    Raises:
        ValueError: If the ids are not strictly ascending, or a wanted one is not among them.
    """
    return Rows(ids)(wanted)


@njit(cache=True, nogil=True)
def _first_outside(src: Ints, dst: Ints, count: int) -> int:
    outside = 0
    for edge in range(len(src)):
        # Not left early, so that several edges are looked at together.
        outside |= (src[edge] < 0) | (src[edge] >= count) | (dst[edge] < 0) | (dst[edge] >= count)
    if outside:
        for edge in range(len(src)):
            if src[edge] < 0 or src[edge] >= count or dst[edge] < 0 or dst[edge] >= count:
                return edge
    return -1


@njit(cache=True, nogil=True)
def find_root(parent: Ints, node: int) -> int:
    """The root of a node, for other compiled code; halves the path to it."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]  # path halving; it keeps parent[i] <= i
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _join(parent: Ints, src: Ints, dst: Ints) -> int:
    joined = 0
    for edge in range(len(src)):
        if parent[src[edge]] == parent[dst[edge]]:
            continue  # the rule, once most of a component is together
        one, other = find_root(parent, src[edge]), find_root(parent, dst[edge])
        if one != other:
            parent[max(one, other)] = min(one, other)
            joined += 1
    return joined


@njit(cache=True, nogil=True)
def _flatten(parent: Ints) -> None:
    # Parents are never above their node, so they are settled before it.
    for node in range(len(parent)):
        parent[node] = parent[parent[node]]
