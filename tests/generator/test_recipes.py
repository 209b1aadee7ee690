"""The recipe: how a model begins, and that its training leads somewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from generator.codecs import to_pixels
from generator.data import BatchOptions, Remembered
from generator.recipes import embedded
from generator.train import Trainer
from generator.world import Scene, draw, sample_scenes
from generator.world.examine import questions


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def known(scenes: Sequence[Scene]) -> Remembered:
    """Scenes with captions in both languages."""
    recipe = embedded()
    asked = questions(scenes)
    samples: list[tuple[Tensor, list[str], float]] = []
    for number, scene in enumerate(scenes):
        latent = recipe.codec.encode([to_pixels(draw(scene, recipe.size[0]))])[0]
        samples.append((latent, [each.caption for each in asked[2 * number : 2 * number + 2]], 1.0))
    return Remembered(samples, recipe.codec.factor)


def test_a_new_model_takes_the_noise_off() -> None:
    recipe = embedded()
    model = recipe.new_model(3)
    noise = [torch.randn(24, 1, 8, 8) for _ in range(4)]
    captions = recipe.text.encode(["a large red circle on the left, grey background"] * 4)
    with torch.no_grad():
        velocities = model(noise, torch.zeros(4), captions)
    error = torch.stack(velocities) + torch.stack(noise)
    assert float(error.square().mean()) < 0.5
    again = recipe.new_model(3).state_dict()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())
    other = recipe.new_model(4).state_dict()
    assert not torch.equal(other["x_pad_token"], again["x_pad_token"])


def test_steps_and_seed_are_taken_over() -> None:
    recipe = embedded(7, 5)
    assert (recipe.options.steps, recipe.options.seed) == (7, 5)
    generator = recipe.whole(recipe.new_model())
    picture = generator.generate(
        ["x"], options=dataclasses.replace(recipe.sampler, steps=1, guidance=0.0)
    )[0]
    assert picture.shape == (3, *recipe.size)


def test_a_few_updates_lower_the_loss() -> None:
    options = dataclasses.replace(
        embedded(24).options, warmup=4, batches=BatchOptions(tokens=10**6, most=8)
    )
    recipe = dataclasses.replace(embedded(), options=options)
    trainer = Trainer(
        recipe.new_model(), recipe.codec, recipe.text, known(sample_scenes(8, 0)), options
    )
    losses = trainer.run()
    assert np.mean(losses[-6:]) < 0.85 * np.mean(losses[:6])
