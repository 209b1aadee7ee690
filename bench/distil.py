"""Few-step distillation on the procedural world: a student of 8 steps against its teacher.

The oracle reads every drawing of a held-out caption, in English and in Chinese; right is a
drawing that shows the caption's scene, all of it and nothing else. Teacher and student are asked
the same captions with the same noise. Bounds are printed, and 1 is the exit code where one is
missed: the student in 8 steps is within 3 points of the teacher in 50, and above the teacher
in 8.

    python bench/distil.py                              # trains a teacher by the recipe first
    python bench/distil.py --teacher model              # that `winnow generator train` wrote
    python bench/distil.py --teacher model --student fast   # measures alone
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# This folder would hide the package ``generator`` behind this file's neighbour.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import torch

from generator.codecs import to_pixels
from generator.data import BatchOptions, DataSet, Picture, Size
from generator.distil import Distiller, DistilOptions
from generator.recipes import Recipe, embedded
from generator.runs import Run
from generator.sampler import SamplerOptions
from generator.text_to_image import TextToImage
from generator.train import Trainer
from generator.world import (
    KINDS,
    LANGUAGES,
    Scene,
    caption,
    draw,
    measure_chance,
    sample_scenes,
)
from generator.world.examine import Question, examine, marks, questions

#: Points that the student may be behind the teacher of 50 steps.
BOUND = 0.03


class Scenes:
    """Drawings of training scenes as a data set; each has a caption in either language.

    Args:
        scenes: What is drawn.
        recipe: Of the generator that learns: latents are made once.
    """

    def __init__(self, scenes: Sequence[Scene], recipe: Recipe) -> None:
        self._scenes = list(scenes)
        side = recipe.size[0]
        pixels = [to_pixels(draw(scene, side)) for scene in self._scenes]
        self._latents = recipe.codec.encode(pixels)
        self._side = side

    def __len__(self) -> int:
        return len(self._scenes)

    def size(self, index: int) -> Size:
        """See ``DataSet``."""
        del index
        return (self._side, self._side)

    def weight(self, index: int) -> float:
        """See ``DataSet``."""
        del index
        return 1.0

    def load(self, index: int, draw_lot: np.random.Generator) -> tuple[Picture, str]:
        """See ``DataSet``."""
        scene = self._scenes[index]
        language, kind = (int(draw_lot.integers(len(each))) for each in (LANGUAGES, KINDS))
        return self._latents[index], caption(scene, LANGUAGES[language], KINDS[kind])


@dataclass(frozen=True)
class Row:
    """One way of drawing, measured.

    Args:
        name: Of the way.
        evaluations: Of the model, for one picture.
        strict: Share of drawings that are right.
        attributes: Share of attributes that are right.
        count: Drawings.
    """

    name: str
    evaluations: int
    strict: float
    attributes: float
    count: int

    def __str__(self) -> str:
        low, high = interval(self.strict, self.count)
        return (
            f"{self.name:44s} {self.evaluations:4d} {self.strict:8.1%}  [{low:.1%}, {high:.1%}]"
            f" {self.attributes:8.1%}"
        )


def interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson)."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count)
    half *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, help="folder; without it one is trained")
    parser.add_argument("--student", type=Path, help="folder; without it one is distilled")
    parser.add_argument("--out", type=Path, default=Path("bench-out") / "distil")
    parser.add_argument("--scenes", type=int, default=4000, help="training scenes")
    parser.add_argument("--groups", type=int, choices=(1, 2), help="scenes of so many alone")
    parser.add_argument("--asked", type=int, default=500, help="held-out scenes, in each language")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--fakes", type=int, default=2, help="updates of the fake model for one")
    parser.add_argument("--fake-rate", type=float, default=3.0, help="times the student's")
    parser.add_argument("--guidance", type=float, default=1.0, help="baked in")
    parser.add_argument("--shift", type=float, default=3.0, help="the student's")
    parser.add_argument("--schedule", default="hybrid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> int:
    """Train, distil, measure."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    scenes = sample_scenes(arguments.scenes, arguments.seed, side="train", groups=arguments.groups)
    data = Scenes(scenes, embedded())
    teacher = load_or_train(arguments, data)
    student = load_or_distil(arguments, teacher, data)
    scenes = sample_scenes(
        arguments.asked, arguments.seed, side="held_out", groups=arguments.groups
    )
    rows = measure_all(teacher, student, questions(scenes))
    many, few, ours = rows[:3]
    chance = measure_chance(scenes)
    print(f"chance {chance.strict:.1%} right, {chance.attributes:.1%} of attributes")
    good = [
        told("student in 8 steps at least teacher in 50 less 3 points", ours, many.strict - BOUND),
        told("student in 8 steps above teacher in 8", ours, few.strict, is_strict=True),
    ]
    return 0 if all(good) else 1


def told(text: str, row: Row, bound: float, is_strict: bool = False) -> bool:
    """Print a bound and whether it is kept."""
    is_kept = row.strict > bound if is_strict else row.strict >= bound
    word = "kept" if is_kept else "MISSED"
    print(f"{word}: {text}: {row.strict:.1%} against {bound:.1%}")
    return is_kept


def load_or_train(arguments: argparse.Namespace, data: DataSet) -> TextToImage:
    """The teacher."""
    if arguments.teacher is not None:
        return TextToImage.from_pretrained(arguments.teacher)
    recipe = embedded(seed=arguments.seed)
    run = Trainer(
        recipe.new_model(arguments.seed),
        recipe.codec,
        recipe.text,
        data,
        dataclasses.replace(recipe.options, save_every=100),
        arguments.out / "teacher-run",
    )
    finish("teacher", run)
    made = recipe.whole(run.average)
    made.save_pretrained(arguments.out / "teacher")
    return made


def load_or_distil(
    arguments: argparse.Namespace, teacher: TextToImage, data: DataSet
) -> TextToImage:
    """The student."""
    if arguments.student is not None:
        return TextToImage.from_pretrained(arguments.student)
    options = DistilOptions(
        steps=arguments.updates,
        learning_rate=arguments.rate,
        save_every=50,
        seed=arguments.seed,
        sampler=SamplerOptions(steps=8, shift=arguments.shift),
        guidance=arguments.guidance,
        schedule=arguments.schedule,
        fake_updates=arguments.fakes,
        fake_rate=arguments.fake_rate,
        shares=arguments.threads,
        batches=BatchOptions(tokens=2**62, most=arguments.batch),
    )
    place = arguments.out / f"student-run-{arguments.schedule}"
    run = Distiller(teacher.model, teacher.codec, teacher.text, data, options, place)
    finish("student", run)
    made = TextToImage(run.average, teacher.codec, teacher.text, options.sampler, teacher.size)
    made.save_pretrained(arguments.out / f"student-{arguments.schedule}")
    return made


def finish(name: str, run: Run) -> None:
    """Run to the end, with a line now and then."""
    began = said = time.monotonic()

    def tell(step: int, loss: float) -> None:
        nonlocal said
        if time.monotonic() - said > 30:
            said = time.monotonic()
            print(f"  {name}: {step + 1} of {run.options.steps}, loss {loss:.4f}", flush=True)

    worked = time.process_time()
    losses = run.run(on_step=tell)
    print(
        f"{name}: {len(losses)} updates in {time.monotonic() - began:.0f} s "
        f"({time.process_time() - worked:.0f} s of processor time)",
        flush=True,
    )


def measure_all(teacher: TextToImage, student: TextToImage, asked: Sequence[Question]) -> list[Row]:
    """The three that count first, then those for information."""
    own, fast = teacher.options, student.options
    ways = [
        ("teacher", teacher, dataclasses.replace(own, steps=50, sigmas=None)),
        ("teacher", teacher, dataclasses.replace(own, steps=8, sigmas=None)),
        ("student", student, fast),
    ]
    for steps in (8, 4, 2, 1):
        ways.append(("teacher", teacher, dataclasses.replace(own, steps=steps, shift=fast.shift)))
        ways.append(("teacher", teacher, dataclasses.replace(fast, steps=steps)))
        if steps != fast.steps:
            ways.append(("student", student, dataclasses.replace(fast, steps=steps)))
    print(f"{'':44s} {'NFE':>4s} {'right':>8s}  {'95 % interval':14s} {'attributes':>9s}")
    rows: list[Row] = []
    for kind, made, options in ways:
        guided = f"guidance {options.guidance:g}" if options.guidance else "no guidance"
        name = f"{kind}, {options.steps} steps, shift {options.shift:g}, {guided}"
        if name not in {row.name for row in rows}:
            rows.append(measure(name, made, options, asked))
            print(rows[-1], flush=True)
    return rows


def measure(
    name: str, made: TextToImage, options: SamplerOptions, asked: Sequence[Question]
) -> Row:
    """Ask every question, and have the oracle read what is drawn."""
    found = marks(examine(made, asked, side=made.size[0], options=options))
    evaluations = options.steps * (2 if options.guidance else 1)
    return Row(name, evaluations, found.strict, found.attributes, found.count)


if __name__ == "__main__":
    sys.exit(main())
