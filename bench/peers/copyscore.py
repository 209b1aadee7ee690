"""How well similarities tell copies from other pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = dict[str, Any]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """All pairs of a set of pictures.

    Args:
        scores: Similarity of each pair, higher is more alike.
        same: Whether the two are copies of one picture.
    """

    scores: Floats
    same: Bools


@dataclass(frozen=True)
class Curve:
    """Precision and recall from each distinct score on, highest first.

    Args:
        thresholds: Distinct scores, falling.
        precision: Of the pairs at or above each.
        recall: Share of all true pairs at or above each.
    """

    thresholds: Floats
    precision: Floats
    recall: Floats

    def average_precision(self) -> float:
        """Micro-AP: sum of precision times the gain in recall; equal scores count as one step."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    def at_precision(self, wanted: float) -> tuple[float, float]:
        """The highest recall at that precision or better, and its threshold; 0 and inf if none."""
        good = np.flatnonzero(self.precision >= wanted)
        if not len(good):
            return 0.0, float("inf")
        best = good[np.argmax(self.recall[good])]
        return float(self.recall[best]), float(self.thresholds[best])

    def at_threshold(self, threshold: float) -> tuple[float, float]:
        """Precision and recall of the pairs at or above a score; 1 and 0 if there are none."""
        above = np.flatnonzero(self.thresholds >= threshold)
        if not len(above):
            return 1.0, 0.0
        return float(self.precision[above[-1]]), float(self.recall[above[-1]])


def pairs_of(similar: NDArray[np.floating[Any]], groups: Sequence[str | None]) -> Pairs:
    """All pairs i < j of a similarity matrix (n, n); a picture without a group has no copy."""
    first, second = np.triu_indices(len(groups), 1)
    names = np.array([f"alone {row}" if name is None else name for row, name in enumerate(groups)])
    return Pairs(similar[first, second].astype(np.float64), names[first] == names[second])


def joined(parts: Sequence[Pairs]) -> Pairs:
    """The pairs of several sets together; no pair reaches from one set to another."""
    scores = np.concatenate([part.scores for part in parts])
    return Pairs(scores, np.concatenate([part.same for part in parts]))


def curve(pairs: Pairs) -> Curve:
    """Precision and recall over all thresholds."""
    order = np.argsort(-pairs.scores, kind="stable")
    scores, hits = pairs.scores[order], np.cumsum(pairs.same[order])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    found = hits[last]
    return Curve(scores[last], found / (last + 1), found / max(1, int(pairs.same.sum())))


def recall_by(
    similar: NDArray[np.floating[Any]], truth: Sequence[Row], threshold: float
) -> dict[str, tuple[float, int]]:
    """Recall of originals and their copies by transform and by strength, and of pairs of copies.

    Args:
        similar: (n, n).
        truth: Rows of ``truth.jsonl`` in the order of ``similar``.
        threshold: From which a pair counts as found.

    Returns:
        By name: the share found, and of how many.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(truth):
        if item["group"] is not None:
            members[item["group"]].append(row)
    found: dict[str, list[bool]] = defaultdict(list)
    for rows in members.values():
        for place, row in enumerate(rows):
            for other in rows[place + 1 :]:
                hit = bool(similar[row, other] >= threshold)
                for name in _kinds(truth[row], truth[other]):
                    found[name].append(hit)
    return {name: (float(np.mean(hits)), len(hits)) for name, hits in sorted(found.items())}


def _kinds(one: Row, other: Row) -> list[str]:
    """Under which names a true pair counts."""
    copies = [item for item in (one, other) if item["role"] == "copy"]
    if len(copies) == 2:
        return ["two copies"]
    names = [change["name"] for change in copies[0]["transforms"]]
    kind = names[0] if len(names) == 1 else f"chain of {len(names)}"
    third = min(2, int(copies[0]["strength"] * 3))
    return [kind, f"strength {('low', 'middle', 'high')[third]}"]
