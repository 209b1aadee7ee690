"""Flow matching: the path, the times, the shift, and what is left out."""

from __future__ import annotations

import math

import pytest
import torch

from generator.flow import (
    FlowOptions,
    draw_times,
    flow_losses,
    image_tokens,
    make_batch,
    resolution_shift,
    shifted,
)
from tests.generator.twins import TINY, distance, draw

LATENTS, _, CAPTIONS = draw([(8, 12), (8, 8)], [5, 40])
EMPTY = torch.zeros(1, 48)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_shift_by_resolution() -> None:
    side = {256: 1.65, 512: 1.88, 768: 2.33, 1024: 3.16, 1280: 4.67, 1536: 7.51}
    for pixels, want in side.items():
        assert resolution_shift((pixels // 16) ** 2) == pytest.approx(want, abs=0.01)
    assert float(shifted(torch.tensor(0.5), 3.0)) == pytest.approx(0.75)


def test_the_target_leads_from_noise_to_data() -> None:
    batch = make_batch(LATENTS, CAPTIONS, EMPTY, TINY, FlowOptions(), seeded())
    for number, latent in enumerate(LATENTS):
        time, velocity = batch.times[number], batch.targets[number]
        end = batch.noised[number] + (1 - time) * velocity
        noise = batch.noised[number] - time * velocity
        assert distance([end], [latent]) < 1e-5
        assert abs(float(noise.std()) - 1) < 0.2


def test_times_are_logit_normal_and_shifted_to_noise() -> None:
    plain = draw_times([256] * 20000, FlowOptions(shift=1.0), seeded())
    logits = torch.logit(plain)
    assert abs(float(logits.mean())) < 0.03
    assert abs(float(logits.std()) - 1) < 0.03
    noisier = torch.logit(draw_times([4096] * 20000, FlowOptions(), seeded()))
    assert float(noisier.mean()) == pytest.approx(-1.15, abs=0.03)
    leaning = torch.logit(draw_times([9] * 20000, FlowOptions(1.0, 0.5, 1.0), seeded()))
    assert float(leaning.mean()) == pytest.approx(-1.0, abs=0.03)
    assert float(leaning.std()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_captions_are_left_out_as_often_as_told(rate: float) -> None:
    count = 3000
    options = FlowOptions(caption_dropout=rate)
    latents = [torch.zeros(16, 1, 2, 2)] * count
    batch = make_batch(latents, CAPTIONS[:1] * count, EMPTY, TINY, options, seeded())
    dropped = sum(each is EMPTY for each in batch.captions) / count
    assert dropped == pytest.approx(rate, abs=0.03 if 0 < rate < 1 else 0)


def test_a_seed_gives_one_batch() -> None:
    one, same, other = (
        make_batch(LATENTS, CAPTIONS, EMPTY, TINY, FlowOptions(), seeded(seed))
        for seed in (1, 1, 2)
    )
    assert distance(one.noised, same.noised) == 0
    assert distance(one.noised, other.noised) > 0


def test_losses_and_tokens() -> None:
    zeros = [torch.zeros_like(each) for each in LATENTS]
    losses = flow_losses(LATENTS, zeros)
    assert losses.tolist() == pytest.approx([float(each.square().mean()) for each in LATENTS])
    assert image_tokens(LATENTS[0], TINY) == 24
    assert math.isclose(resolution_shift(256), math.exp(0.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"std": 0.0}, "std must be above 0"),
        ({"shift": -1.0}, "shift must be above 0"),
        ({"caption_dropout": 1.5}, r"must be in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_options_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowOptions(**values)
