"""Average precision and recall of pairs, against the definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.peers.copyscore import Pairs, curve, joined, pairs_of, recall_by


def test_a_known_ranking() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    found = curve(Pairs(scores, np.array([True, False, True, False])))
    assert found.average_precision() == pytest.approx((1 + 2 / 3) / 2)
    assert found.at_precision(0.98) == (0.5, 0.9)
    assert found.at_precision(0.6) == (1.0, 0.7)
    assert found.at_threshold(0.75) == (0.5, 0.5)
    assert found.at_threshold(0.95) == (1.0, 0.0)


def test_equal_scores_are_one_step() -> None:
    for same in ([True, False], [False, True]):
        found = curve(Pairs(np.array([0.5, 0.5]), np.array(same)))
        assert found.average_precision() == 0.5
        assert found.at_precision(0.98) == (0.0, float("inf"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_precision_and_recall_at_every_threshold_are_those_of_a_count(
    rows: list[tuple[int, bool]],
) -> None:
    scores, same = (np.array(column) for column in zip(*rows, strict=True))
    found = curve(Pairs(scores.astype(float), same))
    for threshold, precision, recall in zip(
        found.thresholds, found.precision, found.recall, strict=True
    ):
        above = scores >= threshold
        assert precision == pytest.approx(same[above].mean())
        assert recall == pytest.approx(same[above].sum() / max(1, same.sum()))


def test_pairs_of_groups_and_of_pictures_without_a_group() -> None:
    similar = np.arange(16, dtype=float).reshape(4, 4)
    pairs = pairs_of(similar, ["a", None, "a", None])
    assert pairs.scores.tolist() == [1, 2, 3, 6, 7, 11]
    assert pairs.same.tolist() == [False, True, False, False, False, False]
    assert len(joined([pairs, pairs]).scores) == 12


def test_recall_by_transform_counts_each_true_pair_once_a_kind() -> None:
    def row(group: str | None, role: str, *names: str) -> dict[str, object]:
        changes = [{"name": name} for name in names]
        return {"group": group, "role": role, "transforms": changes, "strength": 0.9}

    truth = [row("a", "original"), row("a", "copy", "crop"), row("a", "copy", "crop", "jpeg")]
    truth.append(row(None, "distractor"))
    similar = np.array([[1, 0.9, 0.2, 0], [0.9, 1, 0.9, 0], [0.2, 0.9, 1, 0], [0, 0, 0, 1.0]])
    assert recall_by(similar, truth, 0.8) == {
        "crop": (1.0, 1),
        "chain of 2": (0.0, 1),
        "strength high": (0.5, 2),
        "two copies": (1.0, 1),
    }
