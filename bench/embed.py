"""Images/s of the embed stage with open_clip against a bare loop over the same model.

Per number of cores one process, bound to that many of them, with the stage (read, decode, resize,
model, float16 rows) and two bare loops over the same model, batch size and cores. Weights are
random; nothing is downloaded.

- ``bare``: what one would write over images already decoded in memory: open_clip's own
  transform image by image, the model on all cores. The bound is for the stage against it.
- ``model``: the same model over tensors already made, batch by batch: what no stage can beat
  unless it uses the cores better than one batch on all of them does.

Everything takes turns over small groups of images: the three of a process, and the processes, of
which one works at a time. Each turn is compared with the other's turn over the same group in the
same round, seconds before or after it, and the median of these ratios counts: a machine that is
slower from one minute to the next then slows neither alone. Rates are sums of the fastest turn
over each group. The spread, how much longer the slowest took, says how noisy the machine was.

A group is one batch for each thread, the same images for every number of cores. One turn of the
stage is one call of ``process`` as for a partition that small. What a long run does once in
hundreds of images, start its threads, wait for the first images and for the last batch, is in
every turn and counts against the stage. So does a last group that the images do not fill, which
the stage shares out among its threads in smaller batches. Loading the model is in no turn, nor is
the first turn of each, which does not count.

    python bench/embed.py                       # ViT-B-32 on 1 and on 2 cores
    python bench/embed.py --model ViT-S-32-alt --images 512 --batch-size 32
    python bench/embed.py --folder PHOTOS --cores 1,2,4,8
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # This folder would hide the packages of the repository behind its files.
    sys.path[0] = str(ROOT)

import pyarrow as pa

if TYPE_CHECKING:
    import torch
    from PIL import Image

#: Least share of the bare loop's rate that the stage must reach.
BOUND = 0.9
#: Least gain of twice the cores, decoding included.
SCALING = 1.6
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
NAMES = ("stage", "bare", "model")


class Turn(NamedTuple):
    """What one turn over one group took."""

    seconds: float
    cpu_seconds: float
    wait_share: float


#: All turns by group, at least one each.
Turns: TypeAlias = list[list[Turn]]


class Rate(NamedTuple):
    """What the fastest turns over all groups amount to.

    Attributes:
        images_per_s: Images over the sum of the fastest turns.
        cpu_ms: Processor milliseconds an image, of the turns that took least of them.
        wait_share: Share of the fastest turns, 0..1, in which the stage's model had no batch.
        spread: Slowest over fastest turn, at least 1; the median over the groups.
    """

    images_per_s: float
    cpu_ms: float
    wait_share: float
    spread: float


@dataclass(frozen=True)
class Job:
    """What one process measures: groups of files, on so many cores."""

    model: str
    weights: str
    cores: int
    batch_size: int
    groups: list[list[str]]


def pictures(folder: Path, count: int, scratch: Path) -> list[str]:
    """Photographs: those of a folder, or the demo's, written to ``scratch``, where it is absent."""
    if not folder.is_dir():
        from pipeline.demo import write_sample_set

        write_sample_set(scratch / "demo")
        folder = scratch / "demo" / "images" / "photos"
    found = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".webp", ".png"})
    if not found:
        raise SystemExit(f"{folder} holds no .jpg, .webp or .png: name another --folder")
    found = found[:: max(1, len(found) // count)]
    return [str(path) for path in (found * (count // len(found) + 1))[:count]]


def grouped(paths: list[str], batch_size: int, cores: list[int]) -> list[list[str]]:
    """Groups that are whole batches for each thread, for every one of these numbers of cores."""
    size = batch_size * math.lcm(*cores)
    return [paths[first : first + size] for first in range(0, len(paths), size)]


def items(paths: list[str]) -> pa.Table:
    """Rows of the table ``items`` for files."""
    from stages.schemas import ITEMS

    rows = [
        {"item_id": number, "uri": path, "key": path, "length": Path(path).stat().st_size}
        for number, path in enumerate(paths)
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)


def decoded(paths: list[str]) -> list[Image.Image]:
    """RGB images in memory."""
    from PIL import Image

    results = []
    for path in paths:
        with Image.open(path) as image:
            results.append(image.convert("RGB"))
    return results


def save_random(model: str, target: Path) -> None:
    """Random weights of an open_clip architecture."""
    import logging

    import open_clip
    import torch

    logging.disable(logging.WARNING)  # that they are random is meant
    torch.manual_seed(0)
    try:
        torch.save(open_clip.create_model(model).state_dict(), target)
    finally:
        logging.disable(logging.NOTSET)


class Loops:
    """The stage and the bare loops of one process, with their model loaded."""

    def __init__(self, job: Job) -> None:
        import open_clip

        from stages.embed import EmbedSettings, EmbedStage
        from stages.storage import Storage

        self._cores, self._batch = job.cores, job.batch_size
        settings = EmbedSettings(
            model=f"open_clip/{job.model}",
            checkpoint=job.weights,
            threads=job.cores,
            batch_size=job.batch_size,
            device="cpu",
        )
        self._stage = EmbedStage(settings, Storage())
        self._stage.setup()
        self._model, _, self._transform = open_clip.create_model_and_transforms(
            job.model, pretrained=job.weights
        )
        self._model.eval()

    def over(self, paths: list[str]) -> dict[str, Callable[[], float]]:
        """The three over a group; each gives the share of its time that it waited for data."""
        import torch

        images = decoded(paths)
        tensors = torch.stack([self._transform(image) for image in images])
        return {
            "stage": partial(self._run_stage, items(paths)),
            "bare": partial(self._run_bare, images),
            "model": partial(self._run_model, tensors),
        }

    def _run_stage(self, table: pa.Table) -> float:
        import torch

        torch.set_num_threads(1)  # as its setup() has set it: a batch for each thread
        output = self._stage.process(table)
        if output.quarantined:
            raise RuntimeError(f"not embedded: {output.quarantined[0]}")
        return output.metrics["wait_share"]

    def _run_bare(self, images: list[Image.Image]) -> float:
        import torch

        torch.set_num_threads(self._cores)
        for first in range(0, len(images), self._batch):
            batch = images[first : first + self._batch]
            self._encode(torch.stack([self._transform(image) for image in batch]))
        return 0.0

    def _run_model(self, tensors: torch.Tensor) -> float:
        import torch

        torch.set_num_threads(self._cores)
        for first in range(0, len(tensors), self._batch):
            self._encode(tensors[first : first + self._batch])
        return 0.0

    def _encode(self, batch: torch.Tensor) -> None:
        import torch

        with torch.inference_mode():
            torch.nn.functional.normalize(self._model.encode_image(batch), dim=1).numpy()


def timed(call: Callable[[], float]) -> Turn:
    """What a call takes, with the processor time of all threads."""
    started, before = time.perf_counter(), time.process_time()
    waited = call()
    return Turn(time.perf_counter() - started, time.process_time() - before, waited)


def serve(job: Job) -> None:
    """Bind this process to its cores and take the turns that standard input asks for.

    A line ``GROUP ROUND`` is answered by one line of JSON, a ``Turn`` for each of ``NAMES``.
    The first line of all says that the model is loaded and each has had its turn to warm up.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.cores])
    answers = sys.stdout
    with redirect_stdout(sys.stderr):  # libraries that print must not come between the answers
        loops = Loops(job)
        groups = [loops.over(group) for group in job.groups]
        for call in loops.over(job.groups[0][: job.cores * job.batch_size]).values():
            call()
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            group, number = map(int, line.split())
            # Another one goes first in each round, in case it matters what ran before.
            first = number % len(NAMES)
            order = NAMES[first:] + NAMES[:first]
            turns = {name: timed(groups[group][name]) for name in order}
            print(json.dumps(turns), file=answers, flush=True)


class Worker:
    """A process that runs ``serve``; its libraries see only its cores.

    Args:
        job: What it measures.
        scratch: Folder for the job and for what the process writes to standard error.
    """

    def __init__(self, job: Job, scratch: Path) -> None:
        self._cores = job.cores
        self._said = scratch / f"{job.cores}.stderr"
        description = scratch / f"{job.cores}.json"
        description.write_text(json.dumps(asdict(job)), encoding="utf-8")
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--measure", str(description)],
                env={**os.environ, "OMP_NUM_THREADS": str(job.cores)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_ready(self) -> None:
        """Wait until it has loaded the model and warmed up.

        Raises:
            SystemExit: If it ended, with what it wrote to standard error.
        """
        self._answer()

    def turns(self, group: int, number: int) -> dict[str, Turn]:
        """A turn of each of ``NAMES`` over a group.

        Raises:
            SystemExit: If it ended, with what it wrote to standard error.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{group} {number}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and no answer comes either
        return {name: Turn(*each) for name, each in json.loads(self._answer()).items()}

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        code = self._process.wait()
        said = self._said.read_text(encoding="utf-8", errors="replace").strip()
        raise SystemExit(f"the process for {self._cores} cores ended with code {code}:\n{said}")


def summed(turns: Turns, images: int) -> Rate:
    """The fastest turn of each group, summed over groups of so many images together."""
    fastest = [min(each, key=lambda turn: turn.seconds) for each in turns]
    seconds = sum(turn.seconds for turn in fastest)
    cpu_seconds = sum(min(turn.cpu_seconds for turn in each) for each in turns)
    spreads = [
        max(turn.seconds for turn in each) / least.seconds
        for each, least in zip(turns, fastest, strict=True)
    ]
    return Rate(
        images_per_s=images / seconds,
        cpu_ms=1000 * cpu_seconds / images,
        wait_share=sum(turn.wait_share * turn.seconds for turn in fastest) / seconds,
        spread=statistics.median(spreads),
    )


def speedup(turns: Turns, others: Turns) -> float:
    """How many times as fast as others the turns were, by the median of all groups and rounds."""
    pairs = [
        other.seconds / turn.seconds
        for group, its in zip(turns, others, strict=True)
        for turn, other in zip(group, its, strict=True)
    ]
    return statistics.median(pairs)


def measure(jobs: list[Job], rounds: int, scratch: Path) -> dict[int, dict[str, Turns]]:
    """The turns of each of ``NAMES`` for each number of cores; all jobs have the same groups."""
    groups = jobs[0].groups
    turns: dict[tuple[int, str], Turns] = defaultdict(lambda: [[] for _ in groups])
    with ExitStack() as stack:
        workers = {job.cores: stack.enter_context(Worker(job, scratch)) for job in jobs}
        for worker in workers.values():
            worker.wait_ready()
        for number in range(rounds):
            for group in range(len(groups)):
                for cores, worker in workers.items():
                    for name, turn in worker.turns(group, number).items():
                        turns[cores, name][group].append(turn)
    return {cores: {name: turns[cores, name] for name in NAMES} for cores in workers}


def show(cores: int, turns: dict[str, Turns], images: int) -> bool:
    """Print what one number of cores gave; whether the stage reaches its bound."""
    found = {name: summed(its, images) for name, its in turns.items()}
    stage, bare, model = (found[name].images_per_s for name in NAMES)
    to_bare, to_model = (speedup(turns["stage"], turns[name]) for name in ("bare", "model"))
    reached = to_bare >= BOUND
    print(
        f"{cores} cores: stage {stage:.1f}, bare {bare:.1f}, model {model:.1f} images/s; "
        f"stage/bare {to_bare:.2f}x (bound {BOUND}) {'ok' if reached else 'MISSED'}; "
        f"stage/model {to_model:.2f}x; waiting {found['stage'].wait_share:.0%}"
    )
    print(f"         by the fastest turns: {stage / bare:.2f}x and {stage / model:.2f}x")
    # Of use where other work shares the cores and the rates mean little.
    shown = ", ".join(f"{name} {found[name].cpu_ms:.1f}" for name in NAMES)
    print(f"         CPU ms an image: {shown}")
    shown = ", ".join(f"{name} {found[name].spread:.2f}x" for name in NAMES)
    print(f"         slowest over fastest turn, median of the groups: {shown}")
    return reached


def show_gain(few: int, many: int, gain: float) -> bool:
    """Print what more cores gain the stage; whether it is enough."""
    wanted = SCALING ** ((many / few - 1) if many < 2 * few else 1)
    reached = gain >= wanted
    verdict = "ok" if reached else "MISSED"
    print(f"{few} to {many} cores: {gain:.2f}x (bound {wanted:.2f}) {verdict}")
    return reached


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        ArgumentTypeError: If it is not one.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def core_numbers(text: str) -> list[int]:
    """Numbers of cores, ascending.

    Raises:
        ArgumentTypeError: If one is not positive, or is above what this process may use.
    """
    numbers = sorted({positive(each) for each in text.split(",")})
    there = len(os.sched_getaffinity(0))
    if numbers[-1] > there:
        raise argparse.ArgumentTypeError(f"must be in [1, {there}], got {numbers[-1]}")
    return numbers


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--folder", type=Path, default=PHOTOS, help="a folder of photographs")
    parser.add_argument("--images", type=positive, default=96)
    parser.add_argument("--batch-size", type=positive, default=16)
    parser.add_argument("--rounds", type=positive, default=5, help="turns over each group")
    parser.add_argument("--cores", type=core_numbers, default="1,2", help="such as 1,2,4")
    parser.add_argument("--weights", type=Path, help="of that model; random ones where not given")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Print the rates and the bounds; 1 where one is missed."""
    arguments = parse()
    if arguments.measure:
        serve(Job(**json.loads(arguments.measure.read_text(encoding="utf-8"))))
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        paths = pictures(arguments.folder, arguments.images, scratch)
        groups = grouped(paths, arguments.batch_size, arguments.cores)
        print(
            f"{arguments.model}, {len(paths)} images in groups of {len(groups[0])}, batches of "
            f"{arguments.batch_size}, {arguments.rounds} turns"
        )
        print(f"load before: {load:.1f} of {os.cpu_count()} cores", flush=True)
        weights = arguments.weights or scratch / "weights.pt"
        if not arguments.weights:
            save_random(arguments.model, weights)
        jobs = [
            Job(arguments.model, str(weights), cores, arguments.batch_size, groups)
            for cores in arguments.cores
        ]
        found = measure(jobs, arguments.rounds, scratch)
    reached = [show(cores, turns, len(paths)) for cores, turns in found.items()]
    for few, many in pairwise(found):
        gain = speedup(found[many]["stage"], found[few]["stage"])
        reached.append(show_gain(few, many, gain))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
