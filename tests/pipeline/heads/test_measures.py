"""AUC, average precision and calibration against what they are defined as."""

import itertools
from math import erf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heads.measures import (
    average_precision,
    brier,
    calibration_bins,
    calibration_error,
    roc_auc,
)

# Few values, so that ties are common.
CASES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


def arrays(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s / 6 for s, _ in rows]), np.array([label for _, label in rows])


@settings(max_examples=100, deadline=None)
@given(CASES)
def test_auc_is_how_often_a_positive_scores_higher(rows: list[tuple[int, bool]]) -> None:
    scores, labels = arrays(rows)
    gaps = scores[labels][:, None] - scores[~labels][None, :]
    found = roc_auc(scores, labels)
    assert found.value == pytest.approx(((gaps > 0) + 0.5 * (gaps == 0)).mean())
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


@settings(max_examples=100, deadline=None)
@given(CASES)
def test_average_precision_takes_each_distinct_score_as_a_threshold(
    rows: list[tuple[int, bool]],
) -> None:
    scores, labels = arrays(rows)
    expected, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        over = scores >= threshold
        now = labels[over].sum() / labels.sum()
        expected += (now - recall) * labels[over].mean()
        recall = now
    assert average_precision(scores, labels) == pytest.approx(expected)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) < 45
    truth = 0.5 * (1 + erf(1.2 / 2))  # of two normal classes 1.2 deviations apart
    held = 0
    for _ in range(400):
        found = roc_auc(rng.normal(size=90) + 1.2 * labels, labels)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_full_separation_is_not_taken_for_certainty() -> None:
    labels = np.arange(40) < 20
    found = roc_auc(labels.astype(float), labels)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.025 ** (1 / 20))
    turned = roc_auc(-labels.astype(float), labels)
    assert (turned.value, turned.low) == (0.0, 0.0)
    assert turned.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        roc_auc(np.zeros(3), np.ones(3, dtype=bool))


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_bins_hold_every_score_once_and_ties_stay_together(rows: list[tuple[int, bool]]) -> None:
    scores, labels = arrays(rows)
    bins = calibration_bins(scores, labels, 4)
    assert sum(each.count for each in bins) == len(scores)
    assert sum(each.count * each.score for each in bins) == pytest.approx(scores.sum())
    assert sum(each.count * each.share.value for each in bins) == pytest.approx(labels.sum())
    assert len(bins) <= 4
    for one, two in itertools.pairwise(bins):
        assert one.score < two.score
    for each in bins:
        assert 0 <= each.share.low <= each.share.value <= each.share.high <= 1


def test_calibration_of_a_known_case() -> None:
    scores = np.repeat([0.2, 0.8], 50)
    labels = np.concatenate([np.arange(50) < 10, np.arange(50) < 25])
    bins = calibration_bins(scores, labels)
    assert [(each.count, each.score, each.share.value) for each in bins] == [
        (50, pytest.approx(0.2), 0.2),
        (50, pytest.approx(0.8), 0.5),
    ]
    assert calibration_error(bins) == pytest.approx(0.5 * 0.3)
    assert brier(scores, labels) == pytest.approx(0.5 * 0.16 + 0.5 * (0.5 * 0.04 + 0.5 * 0.64))
