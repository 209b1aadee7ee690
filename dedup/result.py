"""``find_duplicates``: near-copies among vectors, as an object that can be questioned."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Floats, Ints, Vectors, name_rows
from dedup.cells.source import ArraySource
from dedup.options import CommunityOptions, GraphOptions, Level, check_threshold
from dedup.recall import Recall
from dedup.search import Searched, mapped, search
from dedup.solve import Solution, solve
from dedup.stats import measure
from dedup.vectors import check_shape

_LEVEL = "cluster"


@dataclass(frozen=True)
class Explanation:
    """Why one row was kept or removed; ``str()`` gives a sentence.

    Args:
        row: The row.
        keep: Whether it is kept.
        cluster: Its cluster: the lowest row inside.
        members: Rows in that cluster.
        witness: The kept row it names; ``None`` where kept.
        similarity: To the witness; ``None`` where kept.
        neighbours: Rows at or above the threshold with their similarity, the most similar
            first. Equal rows speak through the lowest of them.
        threshold: The threshold in force.
    """

    row: int
    keep: bool
    cluster: int
    members: int
    witness: int | None
    similarity: float | None
    neighbours: list[tuple[int, float]]
    threshold: float

    def __str__(self) -> str:
        group = f"cluster {self.cluster} of {self.members}"
        if self.witness is not None:
            return (
                f"row {self.row} ({group}) is removed: kept row {self.witness} comes before it "
                f"and has similarity {self.similarity:.4f} >= {self.threshold:g}"
            )
        if self.members == 1 and not self.neighbours:
            return f"row {self.row} is kept: no other row reaches similarity {self.threshold:g}"
        return (
            f"row {self.row} ({group}) is kept: no row kept before it reaches "
            f"similarity {self.threshold:g}"
        )


@dataclass(frozen=True)
class Duplicates:
    """The answer of ``find_duplicates``.

    Args:
        searched: Distinct vectors and their neighbour graph.
        rank: Place of each row in keep order, int64 (n,).
        threshold: Similarity, in [-1, 1], from which rows are duplicates.
        options: How communities are cut and where keepers compete.
        seed: Of the solver.
        graph_options: How neighbours were searched.
    """

    searched: Searched
    rank: Ints
    threshold: float
    options: CommunityOptions
    seed: int
    graph_options: GraphOptions = field(default_factory=GraphOptions)

    def __len__(self) -> int:
        return len(self.rank)

    @cached_property
    def _pairs(self) -> tuple[Ints, Ints, Floats]:
        return self.searched.pairs(self.threshold)

    @cached_property
    def _solution(self) -> Solution:
        ids = np.arange(len(self), dtype=np.int64)
        level = Level(_LEVEL, self.threshold)
        return solve(self.searched, self.rank, [level], self.options, ids, self.seed)

    @property
    def floor(self) -> float:
        """The lowest threshold that this search can answer for."""
        return self.searched.graph.floor

    @property
    def method(self) -> str:
        """What searched the neighbours; with ``auto``, what it picked."""
        return self.searched.graph.method

    @property
    def saturated(self) -> int:
        """Distinct rows that may have more neighbours than ``max_k`` above the threshold."""
        return self.searched.graph.saturated(self.threshold)

    @property
    def labels(self) -> Ints:
        """The lowest row of each row's cluster, int64 (n,)."""
        return self._solution.levels[_LEVEL]

    @property
    def components(self) -> Ints:
        """The lowest row of each row's connected component, int64 (n,)."""
        return self._solution.component

    @property
    def keep(self) -> Bools:
        """Which rows are kept, bool (n,)."""
        return self._solution.keep

    @property
    def witness(self) -> Ints:
        """The kept row that each removed row names, int64 (n,); -1 where kept."""
        return self._solution.witness

    @property
    def similarity(self) -> Floats:
        """Similarity to the witness, float32 (n,); NaN where kept."""
        return self._solution.similarity

    def pairs(self) -> pa.Table:
        """The pairs at or above the threshold: src, dst (int64), similarity (float32).

        Once each, ``src < dst``, sorted. Equal rows form a star around the lowest of them,
        which also speaks for them in the pairs with other rows.
        """
        src, dst, similarity = self._pairs
        return pa.table({"src": src, "dst": dst, "similarity": similarity})

    def to_table(self) -> pa.Table:
        """One line per row: row, cluster, keep, witness, similarity (null where kept)."""
        kept = self.keep
        return pa.table(
            {
                "row": np.arange(len(self), dtype=np.int64),
                "cluster": self.labels,
                "keep": kept,
                "witness": pa.array(self.witness, mask=kept),
                "similarity": pa.array(self.similarity, mask=kept),
            }
        )

    def rethreshold(self, threshold: float) -> Duplicates:
        """The answer for another threshold, without a new search.

        Args:
            threshold: At least ``floor``.

        Returns:
            What ``find_duplicates`` would answer for that threshold.

        Raises:
            ValueError: If the threshold is out of range, or below the floor.
        """
        check_threshold("threshold", threshold)
        if threshold < self.floor:
            raise ValueError(
                f"threshold {threshold:g} lies below the floor {self.floor:g} of this search: "
                f"search again with find_duplicates(..., floor={threshold:g})"
            )
        return replace(self, threshold=threshold)

    def explain(self, row: int) -> Explanation:
        """Say why a row is kept or removed.

        Raises:
            IndexError: If there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row must be in 0..{len(self) - 1}, got {row}")
        src, dst, similarity = self._pairs
        first = self.searched.nodes.first[self.searched.nodes.of_row[row]]
        mine = (src == first) | (dst == first)
        others = np.where(src[mine] == first, dst[mine], src[mine])
        found = {int(at): float(alike) for at, alike in zip(others, similarity[mine], strict=True)}
        if row != first:
            found = {**found, int(first): 1.0}
            found.pop(row)
        removed = not self.keep[row]
        return Explanation(
            row=row,
            keep=not removed,
            cluster=int(self.labels[row]),
            members=int(np.count_nonzero(self.labels == self.labels[row])),
            witness=int(self.witness[row]) if removed else None,
            similarity=float(self.similarity[row]) if removed else None,
            neighbours=sorted(found.items(), key=lambda pair: (-pair[1], pair[0])),
            threshold=self.threshold,
        )

    def audit(self, vectors: Vectors, sample: int = 1000) -> Recall:
        """Measure the recall: search a sample exactly, and see what of it the graph has.

        Args:
            vectors: What ``find_duplicates`` was given.
            sample: Rows searched, at least 1.

        Returns:
            Share of the true pairs at or above the threshold, with its interval.
        """
        ids = np.arange(len(self), dtype=np.int64)
        with mapped(self.graph_options, None) as run:
            source = ArraySource(vectors)
            return measure(source, self.searched, ids, self.threshold, sample, run)


def find_duplicates(
    vectors: Vectors,
    threshold: float = 0.9,
    seed: int = 0,
    *,
    floor: float | None = None,
    priority: Vectors | Ints | None = None,
    graph: GraphOptions | None = None,
    communities: CommunityOptions | None = None,
) -> Duplicates:
    """Find near-copies among embeddings, and choose which to keep.

    >>> import numpy as np
    >>> found = find_duplicates(np.eye(3, dtype=np.float32)[[0, 1, 0]])
    >>> found.keep.tolist(), found.witness.tolist()
    ([True, True, False], [-1, -1, 0])

    Args:
        vectors: Shape (n, d), float16, float32 or float64, normalised or not; may be a
            ``np.memmap``.
        threshold: Cosine similarity, in [-1, 1], from which two rows are duplicates.
        seed: Same vectors, settings and seed give the same answer.
        floor: How low the neighbour graph goes, so that ``rethreshold`` can go down to it;
            ``None`` for 0.1 below the threshold.
        priority: The lower, the rather kept; any numbers, shape (n,). Ties, and ``None``,
            go to the lower row.
        graph: How neighbours are searched.
        communities: How clusters are cut, and where keepers compete.

    Returns:
        The answer; clusters and keepers are computed when first asked for.

    Raises:
        ValueError: For a wrong shape, rows of zeros or NaN (naming them), a threshold or
            floor out of range, or a floor above the threshold.
        ImportError: If FAISS is not installed, naming the extra that brings it.
    """
    check_threshold("threshold", threshold)
    floor = max(-1.0, round(threshold - 0.1, 6)) if floor is None else floor
    check_threshold("floor", floor)
    if floor > threshold:
        raise ValueError(f"floor {floor:g} lies above threshold {threshold:g}: lower it")
    check_shape(vectors)
    graph = graph or GraphOptions()
    searched = search(ArraySource(vectors), floor, graph, seed)
    if not searched.valid.all():
        raise ValueError(
            f"vectors without a direction (all zeros, NaN or infinite) in rows "
            f"{name_rows(np.flatnonzero(~searched.valid))}: remove them before the search"
        )
    rank = _rank(len(vectors), priority)
    communities = communities or CommunityOptions()
    return Duplicates(searched, rank, threshold, communities, seed, graph)


def _rank(count: int, priority: Vectors | Ints | None) -> Ints:
    if priority is None:
        return np.arange(count, dtype=np.int64)
    priority = np.asarray(priority)
    if priority.shape != (count,):
        raise ValueError(f"priority must have shape ({count},), got {priority.shape}")
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(priority, kind="stable")] = np.arange(count)
    return rank
