"""What every threshold of a grid would do, from one search.

**Removed.** The keepers are those of ``dedup.keepers`` within components, counted exactly at
every threshold. A node is removed where a kept neighbour comes before it in policy order, so
one walk over the nodes in that order settles all thresholds together, a bit for each.

**Clusters.** Going down in similarity only ever joins components: one union-find takes the
pairs slice by slice, and its figures are read off at every threshold.

**Borderline pairs.** Around each threshold lie two slices of half a step; the one above the
highest threshold reaches to 1 (``dedup.strata``).
From each a few pairs are drawn, every pair as likely as any other, so that labels of them speak
for the slice; and yet spread: a systematic sample along the components (Cochran, "Sampling
Techniques", 3rd edition 1977, chapter 8) gives each component its share of the draws, rounded
up or down, and a component with less than one draw's worth of pairs is never drawn twice. The
lots are hashes of the ids, so the order of the input does not matter.

Equal items are no borderline pairs: no threshold parts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Doubles, Floats, Hashes, Ints
from dedup.graph import NeighbourGraph
from dedup.restore import Searchable
from dedup.strata import check_grid, cuts_around, stratum_of
from dedup.sweep import WORD, group_by, removed_by_level, roots_of, unite

#: The slice that reaches to 1 gets this many times the draws of another at most.
_MOST = 10


@dataclass(frozen=True)
class Exploration:
    """What ``explore`` gives back.

    Args:
        count: Items compared.
        summary: A row per threshold, ascending: threshold (float64), removed, share (of the
            items, 0..1), clusters (components of more than one item), largest (items of the
            largest component, 1 where all stand alone), pairs (stored pairs at or above the
            threshold; equal items are a star).
        borderline: threshold (float64), side ("below" or "above"), src, dst (int64, ids),
            similarity (float32); ascending by threshold, below before above, and the closest
            to the threshold first.
    """

    count: int
    summary: pa.Table
    borderline: pa.Table


@dataclass(frozen=True)
class _Pairs:
    """The edges of a graph by slice of similarity.

    Args:
        src: Node, int64 (p,), slice by slice from the lowest.
        dst: Node, int64 (p,).
        similarity: float32 (p,).
        lots: Random numbers that depend on the ids and the seed, uint64 (p,).
        bounds: Where each slice begins, int64 (s + 1,).
    """

    src: Ints
    dst: Ints
    similarity: Floats
    lots: Hashes
    bounds: Ints

    def slice_of(self, stratum: int) -> slice:
        """The places of one slice's edges."""
        return slice(int(self.bounds[stratum]), int(self.bounds[stratum + 1]))


def explore(
    searched: Searchable,
    rank: Ints,
    grid: Sequence[float] | Doubles,
    ids: Ints | None = None,
    examples: int = 6,
    seed: int = 0,
    protect: Bools | None = None,
) -> Exploration:
    """Say for every threshold what it would remove, and show the pairs it decides about.

    Besides the graph it takes about 60 bytes a pair and 50 a node.

    >>> import numpy as np
    >>> from dedup import find_duplicates
    >>> found = find_duplicates(np.eye(3, dtype=np.float32)[[0, 1, 0]])
    >>> explore(found.searched, found.rank, [0.9]).summary["removed"].to_pylist()
    [1]

    Args:
        searched: Nodes and graph, of a search or from ``restore``.
        rank: Place of each row in policy order, int64 (n,), all different.
        grid: Thresholds, ascending, at or above the graph's floor.
        ids: Stable, ascending ids of the rows, int64 (n,); ``None`` for the row numbers.
        examples: Pairs drawn from each slice, at least 0; above the highest threshold as many
            for every stretch as wide as the slice below it, up to ten times.
        seed: Other seeds draw other pairs.
        protect: Rows that are never removed, bool (n,); ``None``: none are.

    Returns:
        Figures and pairs.

    Raises:
        ValueError: For a grid out of order or range, or below the floor, or ``protect`` of another
            length.
    """
    thresholds = check_grid(grid)
    floor = searched.graph.floor
    if len(searched.graph) and thresholds[0] < floor:
        raise ValueError(
            f"threshold {thresholds[0]:g} lies below the floor {floor:.6g} of the stored pairs: "
            "begin the grid there or higher, or search again with a lower floor"
        )
    if examples < 0:
        raise ValueError(f"examples must be at least 0, got {examples}")
    protect = np.zeros(len(rank), dtype=np.bool_) if protect is None else protect
    if protect.shape != rank.shape:
        raise ValueError(f"protect must have shape {rank.shape}, got {protect.shape}")
    rows = np.arange(len(rank), dtype=np.int64) if ids is None else ids
    names = rows[searched.nodes.first]
    cuts = cuts_around(thresholds)
    pairs = _by_slice(searched.graph, names, cuts, seed)
    draw = _Draw.by_width(examples, cuts, seed)
    clusters, largest, drawn = _sweep(searched, pairs, thresholds, cuts, draw)
    removed = _removed(searched, rank, protect, thresholds)
    copies = len(rank) - len(searched.nodes)
    summary = {
        "threshold": thresholds,
        "removed": removed,
        "share": removed / max(len(rank), 1),
        "clusters": clusters,
        "largest": largest,
        "pairs": copies + len(pairs.src) - pairs.bounds[np.searchsorted(cuts, thresholds)],
    }
    borderline = _borderline(pairs, names, thresholds, cuts, drawn)
    return Exploration(len(rank), pa.table(summary), borderline)


def _removed(searched: Searchable, rank: Ints, protect: Bools, thresholds: Doubles) -> Ints:
    """Items removed at each threshold: copies always, nodes where a better one is kept."""
    nodes, graph = searched.nodes, searched.graph
    # Protected rows come first, stand for their nodes, and stay, as in ``dedup.solve``.
    order = np.lexsort((rank, ~protect))
    turn = np.empty(len(rank), dtype=np.int64)
    turn[order] = np.arange(len(rank))
    best = nodes.best(turn)
    safe = int(np.count_nonzero(protect[best]))
    place = np.empty(len(nodes), dtype=np.int64)
    place[np.argsort(turn[best])] = np.arange(len(nodes))
    level = (stratum_of(graph.similarity, thresholds) + 1).astype(np.int16)
    src, dst = place[graph.src], place[graph.dst]
    start, order = group_by(np.maximum(src, dst), len(nodes))
    better, level = np.minimum(src, dst)[order], level[order]
    counts = [
        removed_by_level(start, better, _bits(level, first, width), safe, width)
        for first in range(0, len(thresholds), WORD)
        for width in [min(WORD, len(thresholds) - first)]
    ]
    copies = len(rank) - len(nodes) - (int(np.count_nonzero(protect)) - safe)
    return np.concatenate(counts) + copies


def _bits(level: np.ndarray, first: int, width: int) -> Hashes:
    """Which of ``width`` thresholds from ``first`` on each pair reaches, from how many it does."""
    table = [(1 << reached) - 1 for reached in range(width + 1)]
    return np.array(table, dtype=np.uint64)[np.clip(level - first, 0, width)]


def _by_slice(graph: NeighbourGraph, names: Ints, cuts: Doubles, seed: int) -> _Pairs:
    stratum = stratum_of(graph.similarity, cuts).astype(np.int16)
    order = np.argsort(stratum, kind="stable")
    order = order[np.searchsorted(stratum[order], 0) :]
    src, dst = graph.src[order], graph.dst[order]
    bounds = np.searchsorted(stratum[order], np.arange(len(cuts) + 1)).astype(np.int64)
    lots = _mixed(_mixed(names[src].astype(np.uint64), seed) ^ names[dst].astype(np.uint64), 1)
    return _Pairs(src, dst, graph.similarity[order], lots, bounds)


def _mixed(values: Hashes, seed: int) -> Hashes:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): every bit sways every bit."""
    with np.errstate(over="ignore"):
        values = values + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % (1 << 64))
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _sweep(
    searched: Searchable, pairs: _Pairs, thresholds: Doubles, cuts: Doubles, draw: _Draw
) -> tuple[Ints, Ints, list[Ints]]:
    """Join slice by slice from above.

    Returns:
        Clusters and largest by threshold, and the places of the edges drawn by slice.
    """
    sizes = searched.nodes.sizes
    parent = np.arange(len(sizes), dtype=np.int64)
    clusters, largest = int(np.count_nonzero(sizes > 1)), int(sizes.max(initial=0))
    figures = np.zeros((2, len(cuts)), dtype=np.int64)
    drawn = []
    for stratum in reversed(range(len(cuts))):
        part = pairs.slice_of(stratum)
        src, dst = pairs.src[part], pairs.dst[part]
        clusters, largest = unite(parent, sizes, src, dst, clusters, largest)
        figures[:, stratum] = clusters, largest
        drawn.append(part.start + draw.places(roots_of(parent, src), pairs.lots[part], stratum))
    figures = figures[:, np.searchsorted(cuts, thresholds)]
    return figures[0], figures[1], drawn[::-1]


@dataclass(frozen=True)
class _Draw:
    """Draws edges of a slice.

    Args:
        wanted: How many, by slice.
        seed: Other seeds draw other edges.
    """

    wanted: list[int]
    seed: int

    @classmethod
    def by_width(cls, examples: int, cuts: Doubles, seed: int) -> _Draw:
        """As many of each slice, but of the one that reaches to 1 by its width."""
        wanted = [examples] * len(cuts)
        if len(cuts) > 1:
            times = (1.0 - cuts[-1]) / (cuts[-1] - cuts[-2])
            wanted[-1] = math.ceil(examples * min(max(times - 1e-9, 1.0), _MOST))
        return cls(wanted, seed)

    def places(self, roots: Ints, lots: Hashes, stratum: int) -> Ints:
        """A systematic sample along the components: every k-th edge from a random start."""
        wanted = min(self.wanted[stratum], len(roots))
        if not wanted:
            return np.zeros(0, dtype=np.int64)
        order = np.lexsort((lots, roots))
        begins = np.flatnonzero(np.diff(roots[order], prepend=-1))
        # Components in the order of their lowest lot: a root's number depends on the input.
        key = np.repeat(lots[order][begins], np.diff(begins, append=len(order)))
        order = order[np.argsort(key, kind="stable")]
        start = float(_mixed(np.array([stratum], dtype=np.uint64), self.seed)[0]) / 2.0**64
        steps = (start + np.arange(wanted)) * (len(order) / wanted)
        return order[np.minimum(steps.astype(np.int64), len(order) - 1)]


def _borderline(
    pairs: _Pairs, names: Ints, thresholds: Doubles, cuts: Doubles, drawn: list[Ints]
) -> pa.Table:
    rows = list(_in_order(pairs, np.searchsorted(cuts, thresholds), drawn))
    places = np.array([place for _, _, place in rows], dtype=np.int64)
    return pa.table(
        {
            "threshold": thresholds[np.array([at for at, _, _ in rows], dtype=np.int64)],
            "side": pa.array([side for _, side, _ in rows], pa.string()),
            "src": names[pairs.src[places]],
            "dst": names[pairs.dst[places]],
            "similarity": pairs.similarity[places],
        }
    )


def _in_order(pairs: _Pairs, strata: Ints, drawn: list[Ints]) -> Iterator[tuple[int, str, int]]:
    """Threshold's place, side and edge's place; the closest to the threshold first."""
    for at, stratum in enumerate(strata.tolist()):
        for side, near, sign in (("below", stratum - 1, -1), ("above", stratum, 1)):
            places = drawn[near] if near >= 0 else drawn[0][:0]
            keys = (pairs.dst[places], pairs.src[places], sign * pairs.similarity[places])
            for place in places[np.lexsort(keys)].tolist():
                yield at, side, place
