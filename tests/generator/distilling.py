"""A toy teacher and its distillation, for tests; run as a module, it is there to be killed."""

from __future__ import annotations

import dataclasses
import sys

import torch

from generator import S3DiT
from generator.codecs import BlockDct
from generator.data import BatchOptions
from generator.distil import Distiller, DistilOptions
from generator.sampler import SamplerOptions
from generator.text import HashedWords
from tests.generator.toys import TOY, plain_colours
from tests.generator.twins import randomise

OPTIONS = DistilOptions(
    steps=8,
    learning_rate=1e-3,
    warmup=2,
    save_every=3,
    ema=0.9,
    sampler=SamplerOptions(steps=3),
    guidance=2.0,
    batches=BatchOptions(tokens=256, most=4),
)


def make_teacher(seed: int = 0) -> S3DiT:
    """With random weights: its velocities differ by caption."""
    model = S3DiT(TOY)
    randomise(model, seed)
    return model


def make_distiller(
    folder: str | None = None, *, teacher: S3DiT | None = None, count: int = 24, **changes: object
) -> Distiller:
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]
    teacher = teacher or make_teacher()
    data = plain_colours(count)
    return Distiller(teacher, BlockDct(), HashedWords(48), data, options, folder)


if __name__ == "__main__":
    import time

    torch.set_num_threads(1)

    def tell(step: int, _loss: float) -> None:
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        time.sleep(0.5 if step >= 4 else 0)

    make_distiller(sys.argv[1]).run(on_step=tell)
