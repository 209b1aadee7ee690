"""What new rows meet in their cells: the same pairs, whatever arithmetic finds them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cells import dots, walk
from dedup.cells.codes import Codes, encode
from dedup.cells.heads import heads_of
from dedup.cells.walk import MANY, NewCodes, Piece
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


def pieces_of(cell: Array, codes: Codes, cuts: list[int], head: int) -> list[Piece]:
    """The rows in several pieces of memory, with heads of a width, or with none."""
    edges = [0, *sorted(cuts), len(cell)]
    pieces = []
    for start, stop in itertools.pairwise(edges):
        part = codes.take(slice(start, stop))
        heads = heads_of(part, head) if head else None
        pieces.append(Piece(cell[start:stop], part, heads))
    return pieces


def met(newcomers: NewCodes, pieces: list[Piece], floor: float) -> set[Any]:
    left, right = newcomers.reached(pieces, floor)
    assert (np.diff(right) >= 0).all()
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    assert len(pairs) == len(left)
    return pairs


@pytest.mark.parametrize("many_at_a_time", [True, False])
@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([(64, 0), (128, 0), (128, 64), (192, 64)]),
    st.sampled_from([-0.5, 0.3, 0.9]),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_all_pairs_that_may_reach_the_floor_are_met(
    many_at_a_time: bool, seed: int, widths: tuple[int, int], floor: float, cuts: list[int]
) -> None:
    rng, (width, head) = np.random.default_rng(seed), widths
    cell, codes = rows_of_cells(rng, rng.integers(2, 9, 6), width)
    new_cell, new = rows_of_cells(rng, rng.integers(0, 7, 6), width)
    with pytest.MonkeyPatch.context() as patch:
        if not many_at_a_time:
            patch.setattr(walk, "grouped", lambda _: False)
        newcomers = NewCodes(new, 0, np.searchsorted(new_cell, np.arange(7)))
        found = met(newcomers, pieces_of(cell, codes, cuts, head), floor)
    assert by_hand(cell, codes, new_cell, new, floor) <= found
    assert found <= by_hand(cell, codes, new_cell, new, floor - 1e-5)


def test_many_pairs_find_room() -> None:
    rng = np.random.default_rng(3)
    cell, codes = rows_of_cells(rng, np.array([4000]), 64)
    new_cell, new = rows_of_cells(rng, np.array([20]), 64)
    newcomers = NewCodes(new, 0, np.searchsorted(new_cell, np.arange(2)))
    assert len(met(newcomers, pieces_of(cell, codes, [100, 2500], 0), -1.0)) == 20 * 4000


def test_one_piece_without_heads_is_enough_to_read_whole_codes() -> None:
    rng = np.random.default_rng(4)
    cell, codes = rows_of_cells(rng, np.array([30, 30]), 128)
    new_cell, new = rows_of_cells(rng, np.array([5, 5]), 128)
    newcomers = NewCodes(new, 0, np.searchsorted(new_cell, np.arange(3)))
    old, later = pieces_of(cell, codes, [20], 64)
    mixed = [Piece(old.cell, old.codes), later]
    assert met(newcomers, mixed, 0.5) == met(newcomers, [old, later], 0.5)


def test_a_cell_of_many_new_rows_loses_none() -> None:
    rng = np.random.default_rng(1)
    cell, codes = rows_of_cells(rng, np.array([5, 300, 0, 7]), 64)
    new_cell, new = rows_of_cells(rng, np.array([2, MANY + 9, 3, 1]), 64)
    newcomers = NewCodes(new, 0, np.searchsorted(new_cell, np.arange(5)))
    truth = by_hand(cell, codes, new_cell, new, 0.8)
    assert len(truth) > 100
    assert truth <= met(newcomers, pieces_of(cell, codes, [40, 200], 0), 0.8)


def test_cells_without_new_rows_are_not_looked_at() -> None:
    rng = np.random.default_rng(2)
    cell, codes = rows_of_cells(rng, np.array([4, 4]), 64)
    _, none = rows_of_cells(rng, np.array([0, 0]), 64)
    newcomers = NewCodes(none, 0, np.zeros(3, dtype=np.int64))
    assert met(newcomers, pieces_of(cell, codes, [], 0), -1.0) == set()


def test_other_widths_and_processors_take_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not dots.grouped(48)
    dots.grouped.cache_clear()
    monkeypatch.setattr(dots.binding, "get_host_cpu_features", dict)
    assert not dots.grouped(64)
    dots.grouped.cache_clear()
