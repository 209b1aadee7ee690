from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.explore import explore
from dedup.intervals import wilson
from dedup.judged import Judged, match_labels
from dedup.labels import Curve, precision_curve
from dedup.restore import restore
from dedup.strata import Strata, cuts_around, threshold_grid

GRID = threshold_grid(0.7, 0.98, 0.02)


class Corpus:
    """Pairs without common items; of some similarities there are many more than of others."""

    def __init__(self, similarity: np.ndarray) -> None:
        self.similarity = np.sort(similarity).astype(np.float32)
        self.count = len(similarity)
        src = 2 * np.arange(self.count)
        edges = pa.table({"src": src, "dst": src + 1, "similarity": self.similarity})
        self.ids = np.arange(2 * self.count)
        self.searched = restore(edges, self.ids, 0.6)
        self.strata = Strata.count(self.searched.graph.similarity, cuts_around(GRID))

    def precision(self, yes: np.ndarray, threshold: float) -> float:
        """The truth, from every pair at or above a threshold."""
        return float(yes[self.similarity >= np.float64(threshold)].mean())


def two_humps(count: int) -> np.ndarray:
    """Many unlike pairs, and near-copies close to 1."""
    rng = np.random.default_rng(0)
    humps = rng.beta(1, 8, count // 2), rng.beta(12, 2, count // 2)
    return 0.65 + 0.35 * np.concatenate(humps)


def falling(count: int) -> np.ndarray:
    """The rarer the more alike, and none of them near-copies: a hard case."""
    return 0.695 + 0.305 * np.random.default_rng(0).beta(1, 4, count)


@pytest.mark.parametrize(
    ("similarity", "middle", "width", "wished", "examples"),
    [
        (two_humps(8_000), 0.82, 0.02, 0.95, 24),
        (falling(8_000), 0.84, 0.02, 0.9, 16),
    ],
    ids=["two_humps", "falling"],
)
def test_a_simulated_person_gets_a_threshold_that_keeps_its_promise(
    similarity: np.ndarray, middle: float, width: float, wished: float, examples: int
) -> None:
    """Who says yes with a logistic probability labels what the explorer draws, 200 times."""
    corpus = Corpus(similarity)
    odds = 1 / (1 + np.exp(-(corpus.similarity.astype(np.float64) - middle) / width))
    rank = corpus.ids
    covered, kept = 0, 0
    for seed in range(200):
        yes = np.random.default_rng(seed).random(corpus.count) < odds
        drawn = explore(corpus.searched, rank, GRID, examples=examples, seed=seed).borderline
        answers = np.where(yes[drawn["src"].to_numpy() // 2], "yes", "no")
        labels = drawn.select(["src", "dst"]).append_column("label", pa.array(answers))
        judged = match_labels(labels, corpus.searched, corpus.ids)

        choice = precision_curve(judged.similarity, judged.yes, corpus.strata).choose(wished)

        truth = corpus.precision(yes, choice.threshold)
        covered += choice.low <= truth <= choice.high
        kept += truth >= wished
        assert choice.low >= wished
    assert covered >= 180
    assert kept >= 190


def test_labels_are_weighted_by_the_pairs_that_they_stand_for() -> None:
    """As many labels from a slice of 900 pairs as from one of 100: the first counts ninefold."""
    strata = Strata(np.array([0.8, 0.9]), np.array([900, 100]))
    similarity = np.repeat([0.85, 0.95], 10)
    yes = np.repeat([True, False, True], [5, 5, 10])
    curve = precision_curve(similarity, yes, strata)
    assert curve.threshold.tolist() == [0.8, 0.9]
    assert curve.precision == pytest.approx([0.9 * 0.5 + 0.1, 1.0])
    assert curve.recall == pytest.approx([1.0, 100 / 550])
    assert curve.labels.tolist() == [20, 10]
    assert curve.pairs.tolist() == [1000, 100]
    unweighted = precision_curve(similarity, yes)
    assert unweighted.precision == pytest.approx([0.75, 1.0])
    assert curve.low[0] < unweighted.low[0]


def test_one_slice_is_a_simple_random_sample() -> None:
    """Of a slice with far more pairs than labels; the guard sways the effective number little."""
    strata = Strata(np.array([0.8]), np.array([10**9]))
    yes = np.arange(400) < 360
    curve = precision_curve(np.full(400, 0.9), yes, strata)
    plain = precision_curve(np.full(400, 0.9), yes)
    assert curve.effective == pytest.approx([400], rel=1e-6)
    assert curve.low == pytest.approx(plain.low, abs=1e-6)
    assert curve.high == pytest.approx(plain.high, abs=1e-6)


def test_where_every_pair_is_judged_there_is_no_doubt() -> None:
    strata = Strata(np.array([0.8, 0.9]), np.array([4, 2]))
    similarity = np.array([0.8, 0.82, 0.84, 0.86, 0.9, 0.95])
    curve = precision_curve(similarity, np.array([0, 1, 1, 1, 1, 1], dtype=bool), strata)
    assert curve.precision == pytest.approx([5 / 6, 1.0])
    assert curve.low == pytest.approx(curve.precision)
    assert curve.high == pytest.approx(curve.precision)
    assert curve.choose(0.8).threshold == 0.8
    assert curve.choose(0.9).threshold == 0.9


def test_the_rest_of_a_small_slice_is_guessed_with_care() -> None:
    """Twelve of fifteen are judged, all yes. If two of the other three were no, that would
    happen in 1 of 35 draws; if three, in 1 of 455: the interval has to admit two."""
    curve = precision_curve(np.full(12, 0.9), np.ones(12, bool), Strata(np.array([0.8]), [15]))
    assert curve.low == pytest.approx([13 / 15])
    assert curve.high == pytest.approx([1.0])
    assert curve.precision == pytest.approx([1.0])


def test_a_small_slice_in_doubt_weighs_as_much_as_it_holds() -> None:
    """Nine tenths are known; of the rest four of forty are judged, all yes."""
    strata = Strata(np.array([0.8, 0.9]), np.array([40, 360]))
    similarity = np.repeat([0.85, 0.95], [4, 360])
    yes = np.arange(364) != 10
    curve = precision_curve(similarity, yes, strata)
    alone = precision_curve(np.full(4, 0.85), np.ones(4, bool), Strata(np.array([0.8]), [40]))
    assert 0.4 < alone.low[0] < 0.6, "as of four labels"
    assert curve.low == pytest.approx([(359 + 40 * alone.low[0]) / 400, 359 / 360])
    assert curve.precision == pytest.approx([399 / 400, 359 / 360])


def test_a_slice_of_nothing_but_no_leaves_doubt() -> None:
    strata = Strata(np.array([0.8]), np.array([10**6]))
    curve = precision_curve(np.full(20, 0.9), np.zeros(20, bool), strata)
    assert curve.precision == curve.low == [0.0]
    assert curve.recall == [0.0]
    # Wilson's upper end for 0 of 20 is z^2 / (20 + z^2).
    assert curve.high == pytest.approx([3.8415 / 23.8415], rel=0.03)


def test_a_slice_without_labels_counts_as_the_labelled_one_below() -> None:
    """The unlabelled top could only do better: its pairs weigh like the slice below it."""
    strata = Strata(np.array([0.7, 0.8, 0.9, 0.95]), np.array([50, 100, 100, 300]))
    similarity = np.array([0.85] * 10 + [0.92] * 10)
    yes = np.repeat([True, False, True, False], [5, 5, 8, 2])
    curve = precision_curve(similarity, yes, strata)
    # Nothing is said of thresholds below the lowest labelled slice.
    assert curve.threshold.tolist() == [0.8, 0.9]
    assert curve.pairs.tolist() == [500, 400]
    assert curve.precision == pytest.approx([(100 * 0.5 + 400 * 0.8) / 500, 0.8])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_curve_keeps_its_bounds(data: Any) -> None:
    counts = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=8), label="pairs")
    labels = [data.draw(st.integers(0, each), label="labels") for each in counts]
    if not sum(labels):
        return
    cuts = 0.5 + 0.05 * np.arange(len(counts))
    similarity = np.repeat(cuts + 0.01, labels)
    said = st.lists(st.booleans(), min_size=len(similarity), max_size=len(similarity))
    yes = np.array(data.draw(said, label="yes"), dtype=bool)
    order = np.random.default_rng(0).permutation(len(yes))

    curve = precision_curve(similarity, yes, Strata(cuts, np.array(counts)))
    mixed = precision_curve(similarity[order], yes[order], Strata(cuts, np.array(counts)))

    assert curve.to_table().equals(mixed.to_table())
    assert (np.diff(curve.threshold) > 0).all()
    assert (curve.low <= curve.precision).all()
    assert (curve.precision <= curve.high).all()
    assert (curve.low >= 0).all()
    assert (curve.high <= 1).all()
    assert (np.diff(curve.recall) <= 1e-12).all()
    assert curve.labels[0] == sum(labels)
    assert (curve.labels <= curve.pairs).all()
    wider = precision_curve(similarity, yes, Strata(cuts, np.array(counts)), confidence=0.99)
    assert (wider.low <= curve.low + 1e-12).all()
    # More pairs behind the same labels leave more doubt where the shares of the slices agree.
    if yes.all():
        more = precision_curve(similarity, yes, Strata(cuts, 10 * np.array(counts)))
        # Ends are whole pairs: the finer one is rounded down to the pairs of the coarser.
        whole = np.floor(more.low * curve.pairs + 1e-9) / curve.pairs
        assert (whole <= curve.low + 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10_000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_solves_its_own_equation(count: int, share: float, confidence: float) -> None:
    """The ends are where the normal test of the share just fails."""
    from scipy.stats import norm

    observed = round(share * count) / count
    low, high = wilson(np.array([observed]), np.array([float(count)]), confidence)
    z = norm.ppf(0.5 + confidence / 2)
    for end in (low[0], high[0]):
        assert (observed - end) ** 2 == pytest.approx(z * z * end * (1 - end) / count, abs=1e-9)
    assert 0 <= low[0] <= observed <= high[0] <= 1


@pytest.mark.parametrize(("wished", "labels"), [(0.9, 35), (0.95, 73), (0.98, 189)])
def test_all_yes_is_enough_once_there_are_enough(wished: float, labels: int) -> None:
    """Wilson's lower end for n of n is n / (n + z^2); z is 1.96."""
    enough = precision_curve(np.full(labels, 0.9), np.ones(labels, dtype=bool))
    assert enough.choose(wished).labels == labels
    with pytest.raises(ValueError, match=r"Label about 1 more pairs at or above it"):
        precision_curve(np.full(labels - 1, 0.9), np.ones(labels - 1, bool)).choose(wished)


@pytest.mark.parametrize("share", [0.96, 0.98, 1.0])
def test_as_many_more_labels_as_asked_for_are_enough(share: float) -> None:
    def labelled(count: int) -> Curve:
        yes = np.arange(count) < round(share * count)
        return precision_curve(np.full(count, 0.9), yes)

    with pytest.raises(ValueError, match=r"0\.9, estimated at .* worst case, from 50") as caught:
        labelled(50).choose(0.95)
    more = int(re.search(r"Label about (\d+) more", str(caught.value)).group(1))
    assert labelled(50 + more).choose(0.95).low >= 0.95
    with pytest.raises(ValueError, match="Label about"):
        labelled(50 + more * 8 // 10).choose(0.95)


def test_never_more_labels_are_asked_for_than_there_are_pairs() -> None:
    strata = Strata(np.array([0.8]), np.array([45]))
    with pytest.raises(ValueError, match="Label about 5 more pairs"):
        precision_curve(np.full(40, 0.9), np.arange(40) < 40, strata).choose(0.999)


def test_the_refusal_says_where_labels_are_missing() -> None:
    strata = Strata(np.array([0.8, 0.9, 0.95]), np.array([100, 100, 5000]))
    similarity = np.repeat([0.85, 0.92, 0.97], [20, 20, 10])
    with pytest.raises(ValueError, match=r"from 0\.95 on \(10 of 5,000 are labelled\); if"):
        precision_curve(similarity, np.ones(50, dtype=bool), strata).choose(0.98)


def test_a_wish_beyond_the_labels_is_refused_with_the_best_there_is() -> None:
    curve = precision_curve(np.repeat([0.8, 0.9], 50), np.tile([True, False], 50))
    with pytest.raises(ValueError, match=r"95 % confidence: the highest estimate is 0\.500"):
        curve.choose(0.98)
    for wished in (0.0, 1.0, 98):
        with pytest.raises(ValueError, match="must lie between 0 and 1, got"):
            curve.choose(wished)


@pytest.mark.parametrize(
    ("similarity", "strata", "confidence", "message"),
    [
        ([], None, 0.95, "there are no labels"),
        ([0.5], Strata(np.array([0.8]), np.array([9])), 0.95, "all 1 labels lie below .* 0.8"),
        ([0.85] * 2, Strata(np.array([0.8]), np.array([1])), 0.95, "2 labels but only 1 pairs"),
        ([0.9], None, 1.0, "confidence must lie between 0 and 1, got 1"),
    ],
)
def test_labels_that_say_nothing_are_refused(
    similarity: list[float], strata: Strata | None, confidence: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        precision_curve(np.array(similarity), np.ones(len(similarity), bool), strata, confidence)


EDGES = pa.table(
    {
        "src": [10, 10, 20, 20],
        "dst": [20, 40, 30, 40],
        "similarity": np.array([0.9, 0.8, 1.0, 0.7], dtype=np.float32),
    }
)
IDS = np.array([10, 20, 30, 40, 50])


def judge(*rows: tuple[int, int, str]) -> Judged:
    src, dst, said = zip(*rows, strict=True) if rows else ((), (), ())
    types = pa.int64(), pa.int64(), pa.string()
    columns = [pa.array(each, kind) for each, kind in zip((src, dst, said), types, strict=True)]
    table = pa.table(dict(zip(("src", "dst", "label"), columns, strict=True)))
    return match_labels(table, restore(EDGES, IDS), IDS)


def test_labels_find_their_similarity_in_either_order_and_once() -> None:
    judged = judge((20, 10, " Yes"), (10, 20, "yes"), (10, 40, "no"), (40, 20, "unsure"))
    assert judged.similarity == pytest.approx([0.9, 0.8])
    assert judged.yes.tolist() == [True, False]
    assert (judged.unsure, judged.equal) == (1, 0)


def test_a_copy_stands_for_what_it_equals_and_equal_items_are_left_out() -> None:
    # 30 is a copy of 20: the pair 10, 30 was never stored, and is as alike as 10, 20.
    judged = judge((10, 30, "yes"), (10, 20, "yes"), (20, 30, "no"))
    assert judged.similarity == pytest.approx([0.9])
    assert judged.equal == 1


def test_a_decided_label_stands_against_an_unsure_one() -> None:
    judged = judge((10, 20, "unsure"), (10, 20, "no"))
    assert (judged.yes.tolist(), judged.unsure) == ([False], 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(10, 20, "maybe")], "label 1 must be one of yes, no, unsure, got 'maybe'"),
        ([(10, 20, "yes"), (10, 50, "no")], "1 of 2 labelled pairs .* such as 10 and 50"),
        ([(10, 99, "yes")], "such as 10 and 99"),
        ([(99, 98, "unsure")], "such as 99 and 98"),
        ([(10, 10, "yes")], "such as 10 and 10"),
        (
            [(10, 40, "yes"), (10, 20, "yes"), (20, 10, "no")],
            r"1 pairs are labelled both yes and no, such as 10 and 20 \(labels 2, 3\)",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge(*rows)


def test_no_labels_and_no_pairs() -> None:
    assert len(judge().similarity) == 0
    labels = pa.table({"src": [10], "dst": [20], "label": ["yes"]})
    with pytest.raises(ValueError, match="not among the stored ones"):
        match_labels(labels, restore(EDGES.slice(0, 0), IDS), IDS)
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="not among the stored ones"):
        match_labels(labels, restore(EDGES.slice(0, 0), none), none)


def test_strata_are_counted_in_float64_from_the_cut_on() -> None:
    strata = Strata.count(np.float32([0.9, 0.91, 0.95, 0.5]), np.array([0.8, 0.9, 0.95]))
    # 0.9 as float32 lies below 0.9, 0.95 as float32 below 0.95.
    assert strata.counts.tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="2 cuts but 1 counts"):
        Strata(np.array([0.8, 0.9]), np.array([1]))
    with pytest.raises(ValueError, match="must ascend"):
        Strata(np.array([0.9, 0.8]), np.array([1, 1]))
