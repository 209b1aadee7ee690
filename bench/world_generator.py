"""The embedded generator from nothing: a world, its shards, training, examination by the oracle.

The world is drawn and run through the whole pipeline as ``winnow demo --world`` does it. The
generator is trained on the shards that come out, and then asked for scenes of the other side of
the split, in both languages: 16 triples of shape, colour and place that no training image shows.
Beside its marks stand those of answers drawn by lot and of the same model before training. The
minutes are of training alone, with the reading of the shards; it stops after a number of steps,
not by the clock. Bounds are printed, and 1 is the exit code where one is missed.

    python bench/world_generator.py
    python bench/world_generator.py --keep OUT --grid OUT/samples.png
    python bench/world_generator.py --world OUT/world                 # on a world that is there
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# This folder would hide the package ``generator`` behind its file of that name.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import torch
from PIL import Image
from rich.console import Console

from generator.data import remember
from generator.recipes import Recipe, embedded
from generator.shards import Shards
from generator.text_to_image import TextToImage
from generator.train import Trainer
from generator.world import LANGUAGES, measure_chance
from generator.world.examine import Answer, Marks, examine, marks, marks_by, read_questions
from pipeline.demo.world import run_world

#: Share of right answers, and minutes of training.
RIGHT, MINUTES = 0.95, 10.0
#: Captions that the untrained model is asked for: it gets none right.
_UNTRAINED = 100
_GRID = (4, 6)
_ENLARGED = 3


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Args:
        generator: It.
        samples: Pictures it has seen.
        minutes: Wall time, reading of the shards included.
    """

    generator: TextToImage
    samples: int
    minutes: float


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=4000, help="scenes in the world")
    parser.add_argument("--seed", type=int, default=0, help="of world, model and training")
    parser.add_argument("--steps", type=int, help="updates; the recipe's")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="the bound")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--groups", type=int, choices=(1, 2), help="scenes of so many alone")
    parser.add_argument("--asked", type=int, default=200, help="held-out scenes that are asked for")
    parser.add_argument("--world", type=Path, help="a world that is there, not a new one")
    parser.add_argument("--keep", type=Path, help="folder for world, model and checkpoints")
    parser.add_argument("--grid", type=Path, help="picture of samples to write")
    return parser.parse_args()


def train_on(world: Path, recipe: Recipe, groups: int | None) -> Trained:
    """Train on the shards of a world, telling the loss now and then.

    Args:
        world: Its folder.
        recipe: What to train, and how.
        groups: Only scenes of so many groups; ``None``: all.
    """
    started = time.perf_counter()
    recent: list[float] = []

    def tell(step: int, loss: float) -> None:
        recent.append(loss)
        if (step + 1) % 100 == 0:
            minutes = (time.perf_counter() - started) / 60
            mean = sum(recent) / len(recent)
            print(f"  step {step + 1:>5}  loss {mean:.4f}  {minutes:.1f} min", flush=True)
            recent.clear()

    index = world / "corpus" / "shards" / "index.json"
    shards = Shards(index, levels=("short",))
    if groups is not None:
        wanted = {
            shards.item_id(each): float(of_groups(shards, each, groups))
            for each in range(len(shards))
        }
        shards = Shards(index, wanted, levels=("short",))
    samples = sum(shards.weight(index) > 0 for index in range(len(shards)))
    # Images are read, brought to size and encoded once.
    data = remember(shards, recipe.codec, recipe.size)
    model = recipe.new_model(recipe.options.seed)
    trainer = Trainer(model, recipe.codec, recipe.text, data, recipe.options)
    trainer.run(on_step=tell)
    minutes = (time.perf_counter() - started) / 60
    return Trained(recipe.whole(trainer.average), samples, minutes)


def of_groups(shards: Shards, index: int, groups: int) -> bool:
    """Whether the scene of a sample has so many groups."""
    return len(shards.record(index)["meta"]["scene"]["groups"]) == groups


def shown(found: Marks) -> str:
    """Marks in a line."""
    return f"{found.strict:6.1%} right, {found.attributes:6.1%} of attributes, {found.count} asked"


def tell_marks(answers: Sequence[Answer]) -> None:
    """Print the marks of the trained generator, whole and by kind, and what was wrong."""
    print(f"trained        {shown(marks(answers))}")
    for language, found in marks_by(answers, lambda each: each.question.language).items():
        print(f"  {language:<12} {shown(found)}")
    by_groups = marks_by(answers, lambda each: str(len(each.question.scene.groups)))
    for groups, found in by_groups.items():
        print(f"  {groups} group{'s' if groups != '1' else ' '}     {shown(found)}")
    faults: dict[str, int] = {}
    for answer in answers:
        for name in answer.faults:
            faults[name] = faults.get(name, 0) + 1
    print(
        f"  faults       {', '.join(f'{name} {count}' for name, count in sorted(faults.items()))}"
    )


def write_grid(answers: Sequence[Answer], path: Path) -> None:
    """Write the first answers as one picture, and print their captions as a table."""
    rows, columns = _GRID
    chosen = answers[: rows * columns]
    side = chosen[0].image.shape[0] * _ENLARGED
    gap = 4
    size = (columns * (side + gap) - gap, rows * (side + gap) - gap)
    sheet = Image.new("RGB", size, (255, 255, 255))
    for number, answer in enumerate(chosen):
        row, column = divmod(number, columns)
        image = Image.fromarray(answer.image).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(image, (column * (side + gap), row * (side + gap)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    print(f"\n{path}\n\nPlace | Caption | Right\n--- | --- | ---")
    for number, answer in enumerate(chosen):
        row, column = divmod(number, columns)
        right = "yes" if answer.is_right else f"no: {', '.join(answer.faults)}"
        print(f"{row + 1}, {column + 1} | {answer.question.caption} | {right}")


def run(folder: Path, arguments: argparse.Namespace) -> int:
    """Everything, in a folder; 1 where a bound is missed."""
    world = arguments.world or folder / "world"
    if arguments.world is None:
        run_world(Console(), world, arguments.count, arguments.seed)
    torch.set_num_threads(arguments.threads)
    recipe = embedded(arguments.steps, arguments.seed)
    asked = [
        each
        for each in read_questions(world / "held_out.jsonl")
        if arguments.groups in (None, len(each.scene.groups))
    ]
    asked = asked[: max(1, arguments.asked) * len(LANGUAGES)]
    trained = train_on(world, recipe, arguments.groups)
    if arguments.keep is not None:
        trained.generator.save_pretrained(folder / "generator")
    started = time.perf_counter()
    answers = examine(trained.generator, asked)
    seconds = time.perf_counter() - started
    before = examine(recipe.whole(recipe.new_model(arguments.seed)), asked[:_UNTRAINED])
    chance = measure_chance([each.scene for each in asked], arguments.seed)
    print(f"\nby the oracle, held out by combination, {trained.samples} samples in the shards")
    print(f"chance         {shown(Marks(chance.count, chance.strict, chance.attributes))}")
    print(f"untrained      {shown(marks(before))}")
    tell_marks(answers)
    print(f"{len(answers)} drawn in {seconds:.0f} s, {arguments.threads} threads")
    if arguments.grid is not None:
        write_grid(answers, arguments.grid)
    strict, limit = marks(answers).strict, arguments.minutes
    held = (strict >= RIGHT, trained.minutes < limit)
    words = ["held" if each else "MISSED" for each in held]
    print(f"at least {RIGHT:.0%} right: {strict:.1%} {words[0]}")
    print(f"under {limit:g} minutes: {trained.minutes:.1f} {words[1]}")
    return 0 if all(held) else 1


def main() -> int:
    """Run in a folder that is kept, or in one that is not."""
    arguments = parse_arguments()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        return run(arguments.keep, arguments)
    folder = Path(tempfile.mkdtemp(prefix="winnow-world-"))
    try:
        return run(folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
