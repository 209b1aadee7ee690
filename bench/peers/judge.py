"""What a peer's answer is worth, measured from outside and the same way for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.peers.base import Bools, Found, Ints, unit
from bench.peers.truth import Sample, cosine

DRAWN_PAIRS = 200_000
#: A pair this far below the threshold has no business in one cluster.
FALSE_MARGIN = 0.05
#: Float32 rescoring may pass a pair that float64 puts this little below the threshold.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Figures:
    """The quality of one answer.

    Args:
        pairs: Pairs of the exact sample.
        recall: Share of them that were found. Equal rows speak for one another.
        inside: Pairs of rows in one cluster, over all clusters.
        false: Share of them whose similarity lies below the threshold by more than
            ``FALSE_MARGIN``, estimated from ``DRAWN_PAIRS`` of them.
        kept: Rows kept.
        unwitnessed: Removed rows whose witness is not kept or not similar enough. For a peer
            that names none: removed rows that no kept row of its cluster (where it compares
            whole cells: of its cell) reaches at the threshold.
        lost: Share of the sampled removed rows that have no kept neighbour anywhere.
        left: Share of the sampled kept rows that have a kept neighbour still.
    """

    pairs: int
    recall: float
    inside: int
    false: float
    kept: int
    unwitnessed: int
    lost: float
    left: float


def judge(
    found: Found,
    vectors: NDArray[np.float16],
    sample: Sample,
    threshold: float,
    seed: int = 3,
) -> Figures:
    """Measure an answer.

    Args:
        found: The answer.
        vectors: The rows it is about, float16 (n, d).
        sample: Exact neighbours of some of the rows.
        threshold: What the answer was asked for.
        seed: Of the draw of pairs.
    """
    inside, false = false_merges(found.labels, vectors, threshold, seed)
    neighbour = np.zeros(len(vectors), dtype=np.bool_)
    neighbour[sample.src[found.keep[sample.dst]]] = True
    neighbour, kept = neighbour[sample.rows], found.keep[sample.rows]
    return Figures(
        pairs=len(sample.src),
        recall=_recall(found, sample),
        inside=inside,
        false=false,
        kept=int(np.count_nonzero(found.keep)),
        unwitnessed=unwitnessed(found, vectors, threshold),
        lost=_share(~neighbour, ~kept),
        left=_share(neighbour, kept),
    )


def _share(of: Bools, among: Bools) -> float:
    return float(np.mean(of[among])) if among.any() else 0.0


def _recall(found: Found, sample: Sample) -> float:
    one, other = sample.lowest[sample.src], sample.lowest[sample.dst]
    hit = one == other
    if found.cell is not None:
        hit |= found.cell[sample.src] == found.cell[sample.dst]
    if found.src is not None and found.dst is not None:
        known = _keys(sample.lowest[found.src], sample.lowest[found.dst])
        hit |= np.isin(_keys(one, other), known)
    return float(hit.mean()) if len(hit) else 1.0


def _keys(one: Ints, other: Ints) -> NDArray[np.uint64]:
    """Unordered pairs as one number each."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    return low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64)


def false_merges(
    labels: Ints, vectors: NDArray[np.float16], threshold: float, seed: int
) -> tuple[int, float]:
    """Pairs within clusters, and the share of them far below the threshold.

    Pairs are drawn evenly from all pairs within clusters, with repetition.
    """
    order = np.argsort(labels, kind="stable")
    _, start, size = np.unique(labels[order], return_index=True, return_counts=True)
    weight = size * (size - 1) // 2
    inside = int(weight.sum())
    if not inside:
        return 0, 0.0
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, inside, min(DRAWN_PAIRS, inside))
    cluster = np.searchsorted(np.cumsum(weight), drawn, side="right")
    one = rng.integers(0, size[cluster])
    other = (one + rng.integers(1, size[cluster])) % size[cluster]
    left, right = (order[start[cluster] + place] for place in (one, other))
    similarity = cosine(vectors, left, right)
    return inside, float(np.mean(similarity < threshold - FALSE_MARGIN))


def unwitnessed(found: Found, vectors: NDArray[np.float16], threshold: float) -> int:
    """Removed rows without a kept witness; see ``Figures``."""
    low = threshold - ROUNDING
    removed = np.flatnonzero(~found.keep)
    if found.witness is not None:
        witness = found.witness[removed]
        good = (witness >= 0) & found.keep[witness]
        good[good] = cosine(vectors, removed[good], witness[good]) >= low
        return int(np.count_nonzero(~good))
    group = found.labels if found.cell is None else found.cell
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    alone = 0
    for members in np.split(order, bounds):
        gone, kept = members[~found.keep[members]], members[found.keep[members]]
        if len(gone):
            alone += _alone(vectors, gone, kept, low)
    return alone


def _alone(vectors: NDArray[np.float16], gone: Ints, kept: Ints, low: float) -> int:
    """How many of the gone rows no kept row reaches."""
    ours, theirs = unit(vectors[gone]), unit(vectors[kept])
    count = 0
    for start in range(0, len(ours), 2048):
        best = (ours[start : start + 2048] @ theirs.T).max(axis=1, initial=-1.0)
        count += int(np.count_nonzero(best < low))
    return count
