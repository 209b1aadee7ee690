from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells.codes import encode
from dedup.cells.pairs import Cell, compare
from dedup.cells.pile import Pairs
from dedup.units import as_units, cosine
from tests.dedup.planted import Array, groups_and_chains, near, unit


def one_cell(vectors: Array) -> Cell:
    units, _ = as_units(vectors)
    count = len(units)
    return Cell(
        number=0,
        ids=np.arange(count),
        home=np.zeros(count, dtype=np.int32),
        visits=np.full((count, 1), -1, dtype=np.int32),
        codes=encode(units),
        units=units,
    )


def found(pairs: Pairs) -> set[tuple[int, int]]:
    low, high = np.minimum(pairs.left, pairs.right), np.maximum(pairs.left, pairs.right)
    rows = list(zip(low.tolist(), high.tolist(), strict=True))
    assert len(rows) == len(set(rows))
    return set(rows)


def truth(vectors: Array, floor: float) -> set[tuple[int, int]]:
    """All pairs at or above a floor by the package's own definition of similarity."""
    units, _ = as_units(vectors)
    left, right = np.triu_indices(len(units), 1)
    good = cosine(units, left, right) >= np.float64(floor)
    return set(zip(left[good].tolist(), right[good].tolist(), strict=True))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1))
def test_all_pairs_of_a_cell_are_found_at_any_floor(seed: int, floor: float) -> None:
    vectors = groups_and_chains(np.random.default_rng(seed), groups=10)
    assert found(compare(one_cell(vectors), floor, 1000)) == truth(vectors, floor)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_rows_of_several_cells_meet_once(seed: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = groups_and_chains(rng)
    units, _ = as_units(vectors)
    places = np.stack([rng.permutation(6)[:copies] for _ in vectors]).astype(np.int32)
    union: set[tuple[int, int]] = set()
    total = 0
    for number in range(6):
        rows = np.flatnonzero((places == number).any(axis=1))
        rows = rows[np.argsort(places[rows, 0] != number, kind="stable")]
        cell = Cell(
            number, rows, places[rows, 0], places[rows, 1:], encode(units[rows]), units[rows]
        )
        pairs = compare(cell, 0.8, 1000)
        part = {
            (min(a, b), max(a, b))
            for a, b in zip(rows[pairs.left].tolist(), rows[pairs.right].tolist(), strict=True)
        }
        total += len(part)
        union |= part

    assert total == len(union)
    expected = {
        (left, right)
        for left, right in truth(vectors, 0.8)
        if places[left, 0] in places[right] or places[right, 0] in places[left]
    }
    assert union == expected


def test_a_cell_that_is_split_finds_nearly_all_pairs_and_none_twice() -> None:
    vectors = groups_and_chains(np.random.default_rng(1), groups=600, chains=200, singles=800)
    whole = truth(vectors, 0.85)

    parts = found(compare(one_cell(vectors), 0.85, 1000, largest=400))

    assert parts <= whole
    assert len(parts) > 0.97 * len(whole)


def test_a_cell_of_look_alikes_stays_connected_at_linear_cost() -> None:
    rng = np.random.default_rng(2)
    centre = unit(rng.normal(size=(1, 64)))[0].astype(np.float64)
    crowd = unit(np.array([near(rng, centre, 0.99999) for _ in range(3000)]))

    pairs = compare(one_cell(crowd), 0.99, 5000, largest=300)

    # All rows reach the first window, through which all hang together.
    partners = np.bincount(np.concatenate([pairs.left, pairs.right]), minlength=3000)
    assert partners.min() >= 149
    assert len(pairs.left) < 3000 * 300


@pytest.mark.parametrize("most", [1, 3, 10])
def test_rows_with_too_many_neighbours_list_their_best(most: int) -> None:
    rng = np.random.default_rng(4)
    centre = unit(rng.normal(size=(1, 32)))[0].astype(np.float64)
    crowd = unit(np.array([near(rng, centre, rng.uniform(0.9, 0.99)) for _ in range(60)]))

    pairs = compare(one_cell(crowd), 0.5, most)

    units, _ = as_units(crowd)
    similarity = np.array(
        [[cosine(units, np.array([a]), np.array([b]))[0] for b in range(60)] for a in range(60)]
    )
    expected = set()
    for row in range(60):
        order = sorted((b for b in range(60) if b != row), key=lambda b: (-similarity[row, b], b))
        expected |= {(min(row, b), max(row, b)) for b in order[:most]}
        place = pairs.full.tolist().index(row)
        assert pairs.reach[place] == similarity[row, order[most - 1]]
    assert found(pairs) == expected
