"""Batches: every item in its place, sizes that fit, weights that count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.codecs import BlockDct, to_array
from generator.data import (
    BatchOptions,
    BatchPlan,
    Listed,
    Remembered,
    buckets,
    fit,
    remember,
)


def sized(sizes: list[tuple[int, int]], weights: list[float] | None = None) -> Listed:
    weights = weights or [1.0] * len(sizes)
    return Listed(
        (np.zeros((height, width, 3), np.uint8), "", weight)
        for (height, width), weight in zip(sizes, weights, strict=True)
    )


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90)), min_size=1, max_size=40),
    st.integers(1, 400),
    st.integers(0, 3),
)
def test_every_item_once_an_epoch(sizes: list, tokens: int, seed: int) -> None:
    plan = BatchPlan(sized(sizes), 8, BatchOptions(tokens=tokens), seed)
    for epoch in range(2):
        batches = plan.epoch(epoch)
        assert sorted(item for each in batches for item in each.items) == list(range(len(sizes)))
        for each in batches:
            assert len(each.items) <= plan.batch_size(each.size)
            for item in each.items:
                height, width = sizes[item]
                assert each.size == (height // 8 * 8, width // 8 * 8)
        assert batches == plan.epoch(epoch)
    draws = [draw for epoch in range(2) for each in plan.epoch(epoch) for draw in each.draws]
    assert len(set(draws)) == 2 * len(sizes)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=60).filter(lambda w: max(w) > 1e-3))
def test_items_come_as_often_as_they_weigh(weights: list[float]) -> None:
    plan = BatchPlan(sized([(8, 8)] * len(weights), weights), 8, BatchOptions())
    seen = Counter(item for each in plan.epoch(0) for item in each.items)
    assert sum(seen.values()) == len(weights)
    for item, weight in enumerate(plan.weights):
        assert abs(seen[item] - weight) < 1 + 1e-6


def test_by_loss_an_item_comes_once_and_never_for_nothing() -> None:
    plan = BatchPlan(sized([(8, 8)] * 3, [3.0, 0.0, 1.0]), 8, BatchOptions(weighting="loss"))
    assert sorted(item for each in plan.epoch(0) for item in each.items) == [0, 2]
    assert plan.weights.tolist() == pytest.approx([9 / 4, 0, 3 / 4])


def test_batches_hold_about_the_same_tokens() -> None:
    plan = BatchPlan(sized([(64, 64)]), 8, BatchOptions(tokens=1024))
    assert plan.batch_size((64, 64)) == 16
    assert plan.batch_size((32, 32)) == 32
    assert plan.batch_size((8, 8)) == 32
    assert plan.batch_size((512, 512)) == 1


def test_orders_differ_by_seed_and_epoch() -> None:
    data, options = sized([(8, 8)] * 50), BatchOptions(most=4, tokens=128)
    one, other = BatchPlan(data, 8, options, 0), BatchPlan(data, 8, options, 1)
    assert one.epoch(0) != one.epoch(1)
    assert one.epoch(0) != other.epoch(0)


def test_buckets() -> None:
    found = buckets(16, [256 * 256])[256 * 256]
    assert (256, 256) in found
    for height, width in found:
        assert height % 16 == width % 16 == 0
        assert max(height / width, width / height) <= 2.5
        assert 0.9 < height * width / 256**2 < 1.1
    data = sized([(300, 300), (100, 100), (1200, 600), (150, 2700)])
    plan = BatchPlan(data, 16, BatchOptions(areas=(128 * 128, 256 * 256)))
    size = {item: each.size for each in plan.epoch(0) for item in each.items}
    assert size[0] == (256, 256)
    assert size[1] == (128, 128)
    assert size[2][0] / size[2][1] == pytest.approx(2, rel=0.15)
    assert size[3][1] / size[3][0] == pytest.approx(2.5, rel=0.15)


def test_fit_covers_and_keeps_the_middle() -> None:
    image = np.zeros((30, 90, 3), np.uint8)
    image[:, 30:60] = 255
    assert fit(image, (10, 10)).min() > 200
    assert fit(image, (30, 90)) is image
    assert fit(image, (8, 64)).shape == (8, 64, 3)


def test_latents_have_the_size_of_their_pixels() -> None:
    data = Listed([(torch.zeros(16, 1, 4, 6), "", 1.0)], factor=8)
    assert data.size(0) == (32, 48)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="data set is empty"):
        BatchPlan(sized([]), 8, BatchOptions())
    for weights in ([-1.0], [0.0], [float("nan")]):
        with pytest.raises(ValueError, match="weights must be finite"):
            BatchPlan(sized([(8, 8)], weights), 8, BatchOptions())
    with pytest.raises(ValueError, match="item 1 is 7 x 9 pixels, smaller than one patch of 8"):
        BatchPlan(sized([(8, 8), (7, 9)]), 8, BatchOptions())
    with pytest.raises(ValueError, match="an area must be at least 256 pixels, got 100"):
        buckets(16, [100])
    with pytest.raises(ValueError, match="tokens must be at least 1, got 0"):
        BatchOptions(tokens=0)
    with pytest.raises(ValueError, match="sample or loss, got 'both'"):
        BatchOptions(weighting="both")  # type: ignore[arg-type]


def test_what_is_remembered_is_what_was_read() -> None:
    pictures = [np.full((8, 12, 3), 40 * number, np.uint8) for number in range(4)]

    class Several(Listed):
        def captions(self, index: int) -> list[str]:
            return [f"{index} a", f"{index} b", f"{index} c"]

    data = Several((picture, "", 1.0 + number) for number, picture in enumerate(pictures))
    kept = remember(data, BlockDct(4, 48), (8, 8))
    assert len(kept) == 4
    assert [kept.size(number) for number in range(4)] == [(8, 8)] * 4
    assert [kept.weight(number) for number in range(4)] == [1, 2, 3, 4]
    heard: set[str] = set()
    for place in range(30):
        latent, text = kept.load(2, np.random.default_rng(place))
        assert isinstance(latent, torch.Tensor)
        heard.add(text)
    assert heard == {"2 a", "2 b", "2 c"}
    shown = BlockDct(4, 48).decode([latent])[0]
    assert np.abs(to_array(shown).astype(int) - fit(pictures[2], (8, 8))).max() <= 1


def test_an_item_without_a_caption_is_refused() -> None:
    with pytest.raises(ValueError, match="item 1 has no caption"):
        Remembered([(torch.zeros(3, 1, 2, 2), ["a"], 1.0), (torch.zeros(3, 1, 2, 2), [], 1.0)], 4)
