"""Equal items collapse to one node before anything is searched.

Ten thousand copies of one image would fill each other's neighbour lists and hide everyone
else; as one node they cost one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.arrays import Bools, Ints
from dedup.components import components
from dedup.words import perhaps_among


def first_of_equal(values: pa.Array | pa.ChunkedArray) -> Ints:
    """For each row the first row that holds the same value; a null equals nothing.

    Args:
        values: Any hashable Arrow type, such as sha256 strings or binary digests.

    Returns:
        Row numbers, int64 (n,), each at most its own index.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    codes = values.dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.where(codes < 0, np.arange(len(codes)), first[inverse])


def first_of_equal_added(values: pa.Array | pa.ChunkedArray, before: Ints) -> Ints:
    """The same as ``first_of_equal``, where the answer for the first rows is known.

    Args:
        values: As there, n rows.
        before: The answer for the first m of them, int64 (m,).
    """
    count = len(before)
    old, new = values.slice(0, count), values.slice(count)
    known = pc.unique(new).drop_null()
    place = pc.index_in(new, value_set=known).fill_null(-1).to_numpy()
    some = perhaps_among(old, known)
    seen = pc.index_in(old.take(pa.array(some)), value_set=known).fill_null(-1).to_numpy()
    lowest = np.full(len(known) + 1, -1, dtype=np.int64)  # the last is for nulls
    rows = np.flatnonzero(place >= 0)[::-1]
    lowest[place[rows]] = count + rows
    rows = np.flatnonzero(seen >= 0)[::-1]
    lowest[seen[rows]] = before[some[rows]]
    own = np.arange(count, len(values), dtype=np.int64)
    return np.concatenate([before, np.where(place < 0, own, lowest[place])])


@dataclass(frozen=True)
class Nodes:
    """Rows collapsed to nodes. Nodes are numbered by their lowest row.

    Args:
        of_row: Node of each row, int64 (n,).
        first: Lowest row of each node, int64 (m,), ascending.
    """

    of_row: Ints
    first: Ints

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sizes(self) -> Ints:
        """Rows per node, int64 (m,)."""
        return np.bincount(self.of_row, minlength=len(self)).astype(np.int64)

    def best(self, rank: Ints) -> Ints:
        """The row of each node that comes first in policy order.

        Args:
            rank: Place of each row in policy order, int64 (n,), all different.

        Returns:
            Row numbers, int64 (m,).
        """
        order = np.argsort(rank)
        best = np.empty(len(self), dtype=np.int64)
        best[self.of_row[order[::-1]]] = order[::-1]  # the last write wins: the best rank
        return best

    def spokesman(self, valid: Bools) -> Ints:
        """The row whose vector speaks for the node: the first that has a direction."""
        chosen = self.first.copy()
        rows = np.flatnonzero(valid)[::-1]
        chosen[self.of_row[rows]] = rows
        return chosen


def collapse(equals: Sequence[Ints]) -> Nodes:
    """Join rows that are equal in any of several senses.

    Args:
        equals: Arrays as ``first_of_equal`` gives them, int64 (n,), at least one.

    Returns:
        The nodes.
    """
    count = len(equals[0])
    rows = np.arange(count, dtype=np.int64)
    labels = components(count, np.concatenate(equals), np.tile(rows, len(equals)))
    is_first = labels == rows
    return Nodes((np.cumsum(is_first) - 1)[labels], np.flatnonzero(is_first))
