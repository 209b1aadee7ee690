"""Fitting: folds, the minimum, the penalty, and what the network knows of the vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from pipeline.heads.fit import fit, log_loss, make_folds, platt
from pipeline.heads.measures import roc_auc


def planted(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, and labels that a plane through them gives, with noise."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, width)) + 3.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = 40 * (vectors[:, 0] - vectors[:, 1])
    return vectors, rng.random(count) < 1 / (1 + np.exp(-logits))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=120),
    st.integers(2, 6),
    st.integers(0, 99),
    st.randoms(),
)
def test_groups_stay_together_whatever_the_order_of_rows(
    rows: list[tuple[int, bool]], count: int, seed: int, shuffle: object
) -> None:
    groups = np.array([group for group, _ in rows])
    labels = np.array([label for _, label in rows])
    folds = make_folds(labels, groups, count, seed)
    assert ((folds >= 0) & (folds < count)).all()
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    order = np.random.default_rng(seed).permutation(len(rows))
    assert np.array_equal(make_folds(labels[order], groups[order], count, seed), folds[order])


def test_folds_share_both_classes_out_evenly() -> None:
    labels = np.arange(200) < 30
    folds = make_folds(labels, np.arange(200), 10, 3)
    assert [int(labels[folds == fold].sum()) for fold in range(10)] == [3] * 10
    assert [int((~labels)[folds == fold].sum()) for fold in range(10)] == [17] * 10


def test_what_is_planted_is_found_and_probabilities_can_be_taken_at_their_word() -> None:
    vectors, labels = planted(3000, 12)
    folds = make_folds(labels[:1500], np.arange(1500), 5, 0)
    fitted = fit(vectors[:1500], labels[:1500], folds)
    scores = fitted.network.scores(vectors[1500:]).astype(float)
    best = 40 * (vectors[1500:, 0] - vectors[1500:, 1])
    gap = roc_auc(best, labels[1500:]).value - roc_auc(scores, labels[1500:]).value
    assert gap < 0.01
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (scores >= low) & (scores < low + 0.2)
        assert labels[1500:][inside].mean() == pytest.approx(scores[inside].mean(), abs=0.1)
    assert fitted.strength == min(fitted.losses, key=lambda each: fitted.losses[each])


def test_noise_is_met_with_a_strong_penalty_and_scores_near_the_share() -> None:
    vectors, _ = planted(120, 60)
    labels = np.random.default_rng(5).random(120) < 0.3
    folds = make_folds(labels, np.arange(120), 5, 0)
    fitted = fit(vectors, labels, folds)
    assert fitted.strength >= 1.0
    scores = fitted.network.scores(vectors)
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.05)
    assert scores.std() < 0.2


def test_a_hidden_layer_finds_what_no_plane_can_and_its_seed_decides() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.abs(vectors[:, 0]) > 0.5
    folds = make_folds(labels, np.arange(600), 5, 0)
    plane = fit(vectors, labels, folds, strengths=(0.001,)).network.scores(vectors)
    bent = fit(vectors, labels, folds, hidden=8, strengths=(0.001,)).network
    assert roc_auc(plane.astype(float), labels).value < 0.7
    assert roc_auc(bent.scores(vectors).astype(float), labels).value > 0.97
    again = fit(vectors, labels, folds, hidden=8, strengths=(0.001,)).network
    assert np.array_equal(again.scores(vectors), bent.scores(vectors))
    other = fit(vectors, labels, folds, hidden=8, seed=1, strengths=(0.001,)).network
    assert not np.array_equal(other.scores(vectors), bent.scores(vectors))


def test_vectors_without_any_spread_give_the_share() -> None:
    vectors = np.full((40, 4), 0.5)
    labels = np.arange(40) < 10
    fitted = fit(vectors, labels, make_folds(labels, np.arange(40), 5, 0))
    assert fitted.network.scores(vectors) == pytest.approx(np.full(40, 0.25), abs=0.03)


def test_platt_is_the_minimum_and_never_turns_a_head_round() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(400) < 0.4
    values = 3 * rng.normal(size=400) + 4 * labels
    slope, offset = platt(values, labels)
    found = optimize.minimize(
        lambda x: log_loss(x[0] * values + x[1], labels), [1.0, 0.0], method="Nelder-Mead"
    ).x
    # His targets pull a little towards the middle.
    assert slope == pytest.approx(found[0], rel=0.1)
    assert offset == pytest.approx(found[1], rel=0.1)
    assert platt(-values, labels)[0] == 0.0
