"""What new rows meet in their cells: the same pairs, whatever arithmetic finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells import dots
from dedup.cells.codes import Codes, encode
from dedup.cells.walk import MANY, NewCodes
from tests.dedup.planted import Array, unit


def rows_of_cells(rng: np.random.Generator, sizes: Array, width: int) -> tuple[Array, Codes]:
    """Cells and codes of rows that gather around a direction per cell."""
    cell = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    centres = np.random.default_rng(5).normal(size=(len(sizes), width))
    noise = rng.normal(size=(len(cell), width)) * rng.uniform(0, 1.2, (len(cell), 1))
    return cell, encode(unit(centres[cell] + noise))


def by_hand(cell: Array, codes: Codes, new_cell: Array, new: Codes, floor: float) -> set[Any]:
    """New row and row of every pair of one cell that the margin of their codes lets pass."""
    found = set()
    for one in range(len(new_cell)):
        for other in np.flatnonzero(cell == new_cell[one]).tolist():
            total = int(new.values[one].astype(np.int64) @ codes.values[other].astype(np.int64))
            left, right = float(new.error[one]), float(codes.error[other])
            margin = left + right + left * right
            if total * float(new.scale[one]) * float(codes.scale[other]) >= floor - margin:
                found.add((one, other))
    return found


@pytest.mark.parametrize("four_at_a_time", [True, False])
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([64, 128]), st.sampled_from([-0.5, 0.3, 0.9]))
def test_all_pairs_that_may_reach_the_floor_are_met(
    four_at_a_time: bool, seed: int, width: int, floor: float
) -> None:
    rng = np.random.default_rng(seed)
    cell, codes = rows_of_cells(rng, rng.integers(0, 9, 6), width)
    new_cell, new = rows_of_cells(rng, rng.integers(0, 7, 6), width)
    newcomers = NewCodes(new, 0, np.searchsorted(new_cell, np.arange(7)))
    if not four_at_a_time:
        newcomers._grouped = False
    left, right = newcomers.reached(cell, codes, floor)
    met = set(zip(left.tolist(), right.tolist(), strict=True))
    assert len(met) == len(left)
    assert by_hand(cell, codes, new_cell, new, floor) <= met
    assert met <= by_hand(cell, codes, new_cell, new, floor - 1e-5)


def test_a_cell_of_many_new_rows_loses_none() -> None:
    rng = np.random.default_rng(1)
    cell, codes = rows_of_cells(rng, np.array([5, 300, 0, 7]), 64)
    new_cell, new = rows_of_cells(rng, np.array([2, MANY + 9, 3, 1]), 64)
    newcomers = NewCodes(new, 0, np.searchsorted(new_cell, np.arange(5)))
    met = set(zip(*(each.tolist() for each in newcomers.reached(cell, codes, 0.8)), strict=True))
    truth = by_hand(cell, codes, new_cell, new, 0.8)
    assert len(truth) > 100
    assert truth <= met


def test_cells_without_new_rows_are_not_looked_at() -> None:
    rng = np.random.default_rng(2)
    cell, codes = rows_of_cells(rng, np.array([4, 4]), 64)
    _, none = rows_of_cells(rng, np.array([0, 0]), 64)
    left, right = NewCodes(none, 0, np.zeros(3, dtype=np.int64)).reached(cell, codes, -1.0)
    assert len(left) == len(right) == 0


def test_other_widths_and_processors_take_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not dots.grouped(48)
    dots.grouped.cache_clear()
    monkeypatch.setattr(dots.binding, "get_host_cpu_features", dict)
    assert not dots.grouped(64)
    dots.grouped.cache_clear()
