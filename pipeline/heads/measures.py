"""How well scores tell two classes apart, and how far they can be taken for probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dedup.intervals import wilson

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BINS = 10


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval.

    Args:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Scores that are close, and what was true of them.

    Args:
        count: How many.
        score: Their mean, 0..1.
        share: Share of positives among them, with its 95 % interval (Wilson 1927).
    """

    count: int
    score: float
    share: Interval


def roc_auc(scores: Doubles, labels: Bools) -> Interval:
    """Area under the ROC curve: how often a positive scores higher than a negative.

    Ties count half. The interval is DeLong's (1988), on the logit scale so that it stays in
    0..1. Where the classes are parted fully its variance is zero; then the lower end is that of
    Clopper and Pearson for the smaller class, ``0.025 ** (1 / n)``.

    Args:
        scores: (n,), higher for positives.
        labels: (n,).

    Raises:
        ValueError: If one class is empty.
    """
    positives, negatives = _split(scores, labels)
    of_positives = _shares_below(positives, negatives)
    of_negatives = 1.0 - _shares_below(negatives, positives)
    area = float(of_positives.mean())
    least = min(len(positives), len(negatives))
    parts = [_variance(each) / len(each) for each in (of_positives, of_negatives)]
    spread = sqrt(sum(parts))
    if spread == 0.0 or area in {0.0, 1.0}:
        bound = 0.025 ** (1 / least)
        return Interval(area, bound if area == 1.0 else 0.0, 1.0 - bound if area == 0.0 else 1.0)
    centre, width = np.log(area / (1 - area)), 1.96 * spread / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-each))) for each in (centre - width, centre + width))
    return Interval(area, low, high)


def average_precision(scores: Doubles, labels: Bools) -> float:
    """Mean precision over the positives, from the highest score down; ties are one step.

    Raises:
        ValueError: If one class is empty.
    """
    _split(scores, labels)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(labels[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float((precision * np.diff(found, prepend=0)).sum() / found[-1])


def brier(scores: Doubles, labels: Bools) -> float:
    """Mean squared distance of a probability from what came true, 0..1; low is good."""
    return float(np.square(scores - labels).mean())


def calibration_bins(scores: Doubles, labels: Bools, count: int = _BINS) -> list[Bin]:
    """Bins of about equally many scores, ascending; equal scores stay together.

    Args:
        scores: Probabilities, (n,).
        labels: (n,).
        count: Most bins.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    # The first of equal scores decides, so that ties are not cut by chance.
    first = np.searchsorted(ranked, ranked, side="left")
    number = first * min(count, max(len(scores), 1)) // max(len(scores), 1)
    bins = []
    for each in np.unique(number):
        members = order[number == each]
        share = _share(labels[members])
        bins.append(Bin(len(members), float(scores[members].mean()), share))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error (Naeini and others 2015), 0..1; low is good.

    The mean distance of score and share over the bins, by their counts.
    """
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.score - each.share.value) for each in bins) / total


def _split(scores: Doubles, labels: Bools) -> tuple[Doubles, Doubles]:
    positives, negatives = scores[labels], scores[~labels]
    if not len(positives) or not len(negatives):
        raise ValueError("both classes need at least one score")
    return positives, negatives


def _share(labels: Bools) -> Interval:
    share = labels.mean(keepdims=True)
    low, high = wilson(share, np.array([float(len(labels))]))
    return Interval(float(share[0]), float(low[0]), float(high[0]))


def _shares_below(mine: Doubles, others: Doubles) -> Doubles:
    """For each of mine the share of others below it, ties as half: by ranks (Sun, Xu 2014)."""
    inside = stats.rankdata(mine)
    everywhere = stats.rankdata(np.concatenate([mine, others]))[: len(mine)]
    shares: Doubles = (everywhere - inside) / len(others)
    return shares


def _variance(values: Doubles) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25
