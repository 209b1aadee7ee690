"""Strata of similarity: the slices around thresholds from which pairs are sampled.

A person cannot judge every pair, and pairs grow rarer with every step in similarity: the
few that decide between two thresholds are found only by sampling slice by slice. The same
slices then weigh the judgements, each by the number of pairs that it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dedup.arrays import Doubles, Floats, Ints
from dedup.options import check_threshold

#: Most thresholds of one grid.
MOST = 1000
#: Width of the slice below, where a grid has one threshold only.
_HALF = 0.005
#: Thresholds are decimal numbers as people write them, and not sums of steps.
_DIGITS = 9


def threshold_grid(low: float, high: float, step: float) -> Doubles:
    """Thresholds from ``low`` to ``high``.

    Args:
        low: The lowest, in [-1, 1].
        high: The highest, in [low, 1]; it is part of the grid when a step falls on it.
        step: Distance, above 0.

    Returns:
        Ascending, float64 (t,), at least one and at most 1000.

    Raises:
        ValueError: For values out of range, or more thresholds than that.
    """
    check_threshold("lowest threshold", low)
    check_threshold("highest threshold", high)
    if high < low:
        raise ValueError(f"the highest threshold {high:g} lies below the lowest {low:g}")
    if not step > 0:
        raise ValueError(f"the step between thresholds must be above 0, got {step:g}")
    steps = (high - low) / step
    if steps >= MOST:
        raise ValueError(f"at most {MOST} thresholds are explored, got {steps:.0f}: widen the step")
    return np.round(low + step * np.arange(int(steps + 1e-9) + 1), _DIGITS)


def check_grid(grid: Sequence[float] | Doubles) -> Doubles:
    """The thresholds as float64 (t,), ascending.

    Raises:
        ValueError: If there are none, too many, or any out of range or order.
    """
    values = np.asarray(grid, dtype=np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= MOST:
        raise ValueError(f"a grid holds 1 to {MOST} thresholds, got shape {values.shape}")
    for value in values:
        check_threshold("threshold", float(value))
    if (np.diff(values) <= 0).any():
        raise ValueError("the thresholds of a grid must ascend, each once")
    return values


def cuts_around(grid: Sequence[float] | Doubles) -> Doubles:
    """Where the slices just below and just above each threshold begin.

    The slices of neighbouring thresholds meet half way, so that every pair lies in one slice
    at most. That below the lowest threshold is as wide as the one above it. That above the
    highest has no upper end: the pairs far above count in the precision of every threshold, and
    labels have to speak for them as well.

    Args:
        grid: Thresholds, ascending, in [-1, 1].

    Returns:
        Ascending, float64; every threshold is among them. A slice reaches from its cut to the
        next one; the last has no upper end.

    Raises:
        ValueError: As ``check_grid``.
    """
    values = check_grid(grid)
    middles = np.round((values[1:] + values[:-1]) / 2, _DIGITS)
    half = middles[0] - values[0] if len(middles) else _HALF
    lowest = np.round(max(-1.0, values[0] - half), _DIGITS)
    return np.unique(np.concatenate([[lowest], values, middles]))


@dataclass(frozen=True)
class Strata:
    """How many pairs there are in each slice of similarity.

    Args:
        cuts: Lower ends, ascending, float64 (s,); the last slice has no upper end.
        counts: Pairs in each, int64 (s,).

    Raises:
        ValueError: If the two do not match, or the cuts do not ascend.
    """

    cuts: Doubles
    counts: Ints

    def __post_init__(self) -> None:
        if len(self.cuts) != len(self.counts) or not len(self.cuts):
            raise ValueError(f"{len(self.cuts)} cuts but {len(self.counts)} counts of pairs")
        if (np.diff(self.cuts) <= 0).any():
            raise ValueError("the cuts of strata must ascend, each once")

    @classmethod
    def count(cls, similarity: Floats | Doubles, cuts: Doubles) -> Strata:
        """Count the pairs of a corpus.

        Args:
            similarity: Of all pairs, float32 or float64 (p,).
            cuts: Lower ends, such as ``cuts_around`` gives them.
        """
        place = stratum_of(similarity, cuts)
        counts = np.bincount(place[place >= 0], minlength=len(cuts))
        return cls(cuts, counts.astype(np.int64))


def stratum_of(similarity: Floats | Doubles, cuts: Doubles) -> Ints:
    """The slice of each similarity, int64 (p,); -1 below the first cut."""
    # In float64: 0.9 as float32 would let 0.89999998 into the slice that begins at 0.9.
    values = np.asarray(similarity, dtype=np.float64)
    return np.searchsorted(cuts, values, side="right").astype(np.int64) - 1
