"""A toy data set and a toy run, for tests that train."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import torch

from generator import S3DiT
from generator.codecs import BlockDct
from generator.data import BatchOptions, Listed
from generator.flow import FlowOptions
from generator.text import HashedWords
from generator.train import Trainer, TrainOptions
from tests.generator.twins import TINY

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220)}
SIZES = ((16, 16), (16, 24), (24, 16))

TOY = dataclasses.replace(TINY, n_layers=1, n_refiner_layers=1)

OPTIONS = TrainOptions(
    steps=12,
    learning_rate=2e-3,
    warmup=2,
    accumulation=2,
    save_every=4,
    ema=0.9,
    flow=FlowOptions(shift=1.0),
    batches=BatchOptions(tokens=256, most=4),
)


def plain_colours(count: int) -> Listed:
    """Pictures of one colour each, of three sizes; the caption says which."""
    samples = []
    for number in range(count):
        name = sorted(COLOURS)[number % 3]
        picture = np.empty((*SIZES[number % 2], 3), np.uint8)
        picture[:] = COLOURS[name]
        samples.append((picture, f"a {name} picture", 1.0 + number % 2))
    return Listed(samples)


def make_trainer(
    folder: str | None = None, options: TrainOptions = OPTIONS, count: int = 24
) -> Trainer:
    torch.manual_seed(0)
    model = S3DiT(TOY)
    return Trainer(model, BlockDct(), HashedWords(48), plain_colours(count), options, folder)


if __name__ == "__main__":
    # A run to be killed: it says when a step is done, and then takes its time.
    import time

    torch.set_num_threads(1)

    def tell(step: int, _loss: float) -> None:
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        time.sleep(0.5 if step >= 6 else 0)

    make_trainer(sys.argv[1]).run(on_step=tell)
