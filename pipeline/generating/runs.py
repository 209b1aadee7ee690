"""Training and distilling, from shards to a folder."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.generating.drawing import describe, parse_size
from pipeline.generating.inputs import Captions, load_generator, open_shards, pick_device, told
from stages.contract import ConfigurationError

if TYPE_CHECKING:
    from generator.data import BatchOptions
    from generator.runs import Run
    from generator.sampler import SamplerOptions
    from generator.text_to_image import TextToImage

#: Checkpoints and losses, below the folder of the generator.
RUN = "run"
_SAY_EVERY_S = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """What training and distilling are told alike.

    Args:
        steps: Updates; ``None``, here and below: as usual for the run.
        batch: Images in an update.
        learning_rate: The highest.
        seed: Of all that is random.
        save_every: Updates between checkpoints.
        device: See :func:`pipeline.generating.inputs.pick_device`.
        threads: On the CPU, how many share the images of an update.
        precision: ``fp32`` or ``bf16``.
    """

    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    save_every: int = 200
    device: str = "auto"
    threads: int = 2
    precision: str = "fp32"

    def options(self, batches: BatchOptions) -> dict[str, Any]:
        """For ``RunOptions``; what is not given is left out."""
        if self.batch is not None:
            # The number alone decides, not the tokens.
            batches = dataclasses.replace(batches, tokens=2**62, most=self.batch)
        given = {
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "save_every": self.save_every,
            "shares": self.threads,
            "precision": self.precision,
            "batches": batches,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Student:
    """What is wanted of a student.

    Args:
        steps: In which it is to draw.
        shift: Of its noise levels.
        guidance: What is baked in; ``None``: the teacher's own, or 1 where it is sampled without.
        schedule: See ``DistilOptions``.
        fake_updates: Likewise.
        size: Pixels, whose area the sizes of the shards are brought to; ``None``: the teacher's.
    """

    steps: int = 8
    shift: float = 3.0
    guidance: float | None = None
    schedule: str = "hybrid"
    fake_updates: int = 2
    size: str | None = None


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Args:
        folder: Where it is.
        parameters: Of the model.
        updates: Made in this call.
        losses: Mean of the first and of the last tenth of all updates' losses.
        seconds: That this call took.
        sampler: How the folder will be sampled.
    """

    folder: Path
    parameters: int
    updates: int
    losses: tuple[float, float]
    seconds: float
    sampler: SamplerOptions

    @property
    def text(self) -> str:
        """All of it, for people."""
        first, last = self.losses
        return (
            f"{self.updates:,} updates in {self.seconds:.0f} s, loss {first:.4f} at first and "
            f"{last:.4f} at last; {self.parameters:,} parameters\n"
            f"{self.folder} draws in {describe(self.sampler)}"
        )


class Progress:
    """A line every few seconds.

    Args:
        total: Updates of the whole run.
        say: Takes a line.
    """

    def __init__(self, total: int, say: Say) -> None:
        self._total = total
        self._say = say
        self._began = self._said = time.monotonic()
        self._first: int | None = None
        self._losses: list[float] = []

    def __call__(self, step: int, loss: float) -> None:
        """Take an update's number, from 0, and its loss."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = step, now
            return
        self._losses.append(loss)
        if now - self._said < _SAY_EVERY_S:
            return
        rate = (step - self._first) / max(now - self._began, 1e-9)
        left = (self._total - step - 1) / rate
        mean = float(np.mean(self._losses))
        self._say(
            f"{step + 1:,} of {self._total:,} updates, loss {mean:.4f}, {rate:.2f} updates/s, "
            f"{math.ceil(left / 60)} min left"
        )
        self._said, self._losses = now, []


def train_embedded(
    shards: Path, output: Path, captions: Captions, how: How, say: Say = lambda _: None
) -> Trained:
    """Train the embedded generator on shards; goes on from what is in the folder.

    Args:
        shards: See :func:`pipeline.generating.inputs.open_shards`.
        output: Folder of the generator; ``run/`` in it holds checkpoints and losses.
        captions: Which to learn from.
        how: What is not the recipe's.
        say: Told how far the run is.

    Raises:
        ConfigurationError: If an input or option is wrong, or the folder holds another run.
        StageError: If a loss is not finite.
    """
    from generator.recipes import embedded
    from generator.train import Trainer

    with told():
        recipe = embedded(seed=how.seed)
        options = dataclasses.replace(recipe.options, **how.options(recipe.options.batches))
        data = open_shards(shards, captions)
        _refuse_foreign(output)
        model = recipe.new_model(how.seed).to(pick_device(how.device))
        run = Trainer(model, recipe.codec, recipe.text, data, options, output / RUN)
        return _finish(run, recipe.whole(run.average), output, output, Progress(options.steps, say))


def distil_generator(
    teacher: Path,
    shards: Path,
    output: Path,
    captions: Captions,
    how: How,
    student: Student,
    say: Say = lambda _: None,
) -> Trained:
    """Distil a generator; goes on from what is in the folder.

    Args:
        teacher: Its folder.
        shards: For captions and sizes.
        output: Folder of the student; ``run/`` in it holds checkpoints and losses.
        captions: Which to draw for.
        how: What is not as ``DistilOptions`` has it.
        student: What is wanted.
        say: Told how far the run is.

    Raises:
        ConfigurationError: If an input or option is wrong, or the folder holds another run.
        StageError: If a loss is not finite.
    """
    from generator.data import BatchOptions
    from generator.distil import Distiller, DistilOptions
    from generator.sampler import SamplerOptions
    from generator.text_to_image import TextToImage

    with told():
        _refuse_foreign(output)
        if output.resolve() == teacher.resolve():
            raise ConfigurationError(f"the student needs a folder of its own, not {teacher}")
        taught = load_generator(teacher, how.device)
        data = open_shards(shards, captions)
        height, width = parse_size(student.size) or taught.size
        # Without any, nothing but the fake would move the student.
        own = taught.options.guidance or 1.0
        options = DistilOptions(
            sampler=SamplerOptions(steps=student.steps, shift=student.shift),
            guidance=own if student.guidance is None else student.guidance,
            schedule=cast("Any", student.schedule),
            fake_updates=student.fake_updates,
            **how.options(BatchOptions(areas=(height * width,))),
        )
        run = Distiller(taught.model, taught.codec, taught.text, data, options, output / RUN)
        made = TextToImage(run.average, taught.codec, taught.text, options.sampler, taught.size)
        return _finish(run, made, teacher, output, Progress(options.steps, say))


def _refuse_foreign(folder: Path) -> None:
    """A folder that holds something else must not be written into."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RUN).is_dir():
        raise ConfigurationError(f"{folder} is not empty and holds no run: name a new folder")
    if folder.is_file():
        raise ConfigurationError(f"{folder} is a file: name a folder")


def _finish(run: Run, made: TextToImage, source: Path, folder: Path, progress: Progress) -> Trained:
    """Run to the end and write the folder."""
    from generator.folder import save_beside
    from generator.states import StateFolder

    began = time.monotonic()
    done = run.run(on_step=progress)
    save_beside(made, source, folder)
    losses = StateFolder(folder / RUN, {}).losses()
    tenth = max(1, len(losses) // 10)
    return Trained(
        folder,
        sum(each.numel() for each in made.model.parameters()),
        len(done),
        (float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))),
        time.monotonic() - began,
        made.options,
    )
