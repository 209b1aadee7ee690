"""Shares of a batch: even, whole, and the same gradients as the batch at once."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from generator.runs import RunOptions
from generator.shares import add_gradients, deal, side_by_side
from tests.generator.distilling import make_distiller
from tests.generator.toys import OPTIONS, make_trainer


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.integers(1, 5))
def test_every_item_is_in_one_share_and_shares_are_even(lengths: list[int], count: int) -> None:
    shares = deal(lengths, count)
    assert sorted(item for share in shares for item in share) == list(range(len(lengths)))
    assert 1 <= len(shares) <= count
    assert all(shares)
    # The cut is by an item's middle: nothing is off by more than one item.
    sizes = [sum(lengths[item] for item in share) for share in shares]
    assert max(sizes) <= sum(lengths) / count + max(lengths)


def test_items_of_a_length_stay_together() -> None:
    assert deal([96, 128, 96, 96, 128, 96], 2) == [[0, 2, 3], [5, 1, 4]]
    assert deal([96, 128, 96], 1) == [[0, 1, 2]]
    assert deal([7], 3) == [[0]]


def test_gradients_are_added_to_what_is_there() -> None:
    one, other = Parameter(torch.ones(2)), Parameter(torch.ones(3))
    one.grad = torch.full((2,), 10.0)

    def loss(number: int) -> Tensor:
        return number * (one.sum() + (other.sum() if number == 2 else 0))

    total = add_gradients([lambda: loss(1), lambda: loss(2)], [one, other], 2)
    assert total == 2 + 2 * 5
    assert one.grad.tolist() == [13.0, 13.0]
    assert other.grad is not None
    assert other.grad.tolist() == [2.0, 2.0, 2.0]


def test_threads_of_torch_are_as_they_were_even_after_a_fault() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = side_by_side([torch.get_num_threads, torch.get_num_threads], 2)
        assert seen == [1, 1]
        with pytest.raises(ZeroDivisionError):
            side_by_side([lambda: 1 // 0, threading.get_ident], 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_run_with_shares_learns_the_same() -> None:
    plain = make_trainer()
    want = plain.run(until=4)
    shared = make_trainer(options=dataclasses.replace(OPTIONS, shares=2))
    got = shared.run(until=4)
    assert got == pytest.approx(want, rel=1e-4)
    again = make_trainer(options=dataclasses.replace(OPTIONS, shares=2))
    assert again.run(until=4) == got
    for one, other in zip(again.model.parameters(), shared.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_distillation_with_shares_is_the_same_every_time() -> None:
    got = make_distiller(shares=2).run(until=2)
    assert got == make_distiller(shares=2).run(until=2)
    # Shares draw other lots, so only the size of the losses is the same.
    assert got == pytest.approx(make_distiller().run(until=2), rel=0.5)


def test_no_share_is_too_few() -> None:
    with pytest.raises(ValueError, match="shares must be at least 1, got 0"):
        RunOptions(shares=0)
