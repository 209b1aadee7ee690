"""The sampler: its schedule, guidance, and seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from generator.s3dit import S3DiT
from generator.sampler import PRESETS, SamplerOptions, draw_noise, guide, sample
from tests.generator.twins import TINY, distance, draw, randomise


def test_the_published_schedule() -> None:
    want = [1, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3, 0]
    assert SamplerOptions().schedule().tolist() == pytest.approx(want, abs=1e-4)
    given = SamplerOptions(sigmas=(0.9, 0.2)).schedule().tolist()
    assert given == pytest.approx([0.9, 0.2, 0.0])


@given(st.integers(1, 60), st.floats(0.1, 10))
def test_a_schedule_falls_from_one_to_nought(steps: int, shift: float) -> None:
    levels = SamplerOptions(steps=steps, shift=shift).schedule()
    assert len(levels) == steps + 1
    assert levels[0] == pytest.approx(1, abs=1e-6)
    assert levels[-1] == 0
    assert bool((levels.diff() < 0).all())


def test_presets() -> None:
    steps = {name: options.steps for name, options in PRESETS.items()}
    assert steps == {"turbo": 8, "base": 50, "base-28": 28}
    assert PRESETS["turbo"].guidance == 0


class Straight(nn.Module):
    """A model that knows the answer: its velocity leads straight to the caption's number."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[float, int]] = []

    def encode_captions(self, captions: list[Tensor]) -> Any:
        class Encoded(list):
            def first(self, count: int) -> Encoded:
                return Encoded(self[:count])

        return Encoded(captions)

    def forward(self, latents: list[Tensor], times: Tensor, captions: list[Tensor]) -> list[Tensor]:
        self.calls.append((round(float(times[0]), 4), len(latents)))
        return [
            (caption.mean() - latent) / (1 - time)
            for latent, time, caption in zip(latents, times, captions, strict=True)
        ]


def test_straight_paths_are_followed_exactly() -> None:
    noise = draw_noise([1, 2], [(16, 1, 4, 4), (16, 1, 2, 6)])
    captions = [torch.full((1, 3), value) for value in (0.25, -3.0)]
    for options in (SamplerOptions(steps=1), SamplerOptions(), SamplerOptions(steps=50, shift=6.0)):
        done = sample(Straight(), noise, captions, options)
        wanted = [torch.full_like(a, value) for a, value in zip(noise, (0.25, -3.0), strict=True)]
        assert distance(done, wanted) < 1e-5


def test_guidance_stops_at_its_truncation() -> None:
    model, noise = Straight(), draw_noise([1], [(16, 1, 4, 4)])
    one, other = torch.ones(1, 3), torch.zeros(1, 3)
    sample(model, noise, [one], SamplerOptions(guidance=1.0, truncation=0.3), [other])
    assert [count for _, count in model.calls] == [2, 2, 2, 2, 2, 1, 1, 1]
    assert model.calls[0][0] == 0


def test_guidance() -> None:
    positive, negative = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 4.0])
    assert guide(positive, negative, 2.0).tolist() == [9.0, 4.0]
    short = guide(positive, negative, 2.0, 0.5)
    assert float(short.norm()) == pytest.approx(2.5)
    assert guide(positive, negative, 0.1, 2.0).tolist() == pytest.approx([3.3, 4.0])
    assert guide(torch.zeros(2), torch.zeros(2), 2.0, 0.5).tolist() == [0.0, 0.0]


def test_a_seed_gives_one_image_in_any_batch() -> None:
    model = S3DiT(TINY).eval()
    randomise(model)
    _, _, captions = draw([(4, 4)] * 3, [5, 40, 5])
    noise = draw_noise([3, 4, 5], [(16, 1, 8, 8), (16, 1, 8, 12), (16, 1, 8, 8)])
    together = sample(model, noise, captions)
    turned = sample(model, noise[::-1], captions[::-1])[::-1]
    alone = [sample(model, [a], [b])[0] for a, b in zip(noise, captions, strict=True)]
    assert distance(together, turned) < 1e-4
    assert distance(together, alone) < 1e-4
    assert distance(draw_noise([3], [(16, 1, 8, 8)]), noise[:1]) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"shift": 0.0}, "shift must be above 0, got 0"),
        ({"guidance": -1.0}, "guidance must be 0 or more, got -1"),
        ({"sigmas": (0.5, 0.6)}, "sigmas must fall"),
        ({"sigmas": ()}, "sigmas must fall"),
        ({"sigmas": (1.2, 0.6)}, "sigmas must fall"),
    ],
)
def test_wrong_options_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplerOptions(**values)


def test_guidance_needs_negatives() -> None:
    noise = draw_noise([1], [(16, 1, 4, 4)])
    for negatives, told in ((None, "none"), ([], "0")):
        with pytest.raises(ValueError, match=f"for each of 1 captions, got {told}"):
            sample(Straight(), noise, [torch.ones(1, 3)], SamplerOptions(guidance=2.0), negatives)
