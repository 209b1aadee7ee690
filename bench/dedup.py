"""From vectors on disk to keepers on disk: Winnow against what else one would do.

Every peer runs on the same vectors with the same threads, one after the other, each in a process
of its own, timed after its imports. Recall is the share of pairs at or above the threshold that it
found, against an exact search of sampled rows; the other columns are said in
``bench/peers/judge.py``. Winnow's bounds are printed, and 1 is the exit code where one is missed.

    python bench/dedup.py                                        # 100,000 planted vectors
    python bench/dedup.py --items 1000000
    python bench/dedup.py --items 1000000 --kind spectrum        # no clean clusters
    python bench/dedup.py --kind photos                          # photographs and edited copies
    python bench/dedup.py --vectors FILE.npy                     # float16, unit rows
    python bench/dedup.py --scaling 250000,500000,1000000,2000000,4000000

Vectors and the exact searches are kept in ``--folder`` and used again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

# This folder would hide the package ``dedup`` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np

from bench.peers import PEERS
from bench.peers.base import Job
from bench.peers.judge import judge
from bench.peers.launch import PeerFailed, run_peer
from bench.peers.photos import embed_photos, find_photos
from bench.peers.plot import draw_rates
from bench.peers.report import Check, Line, checks, linear, print_lines
from bench.peers.truth import Sample, exact_sample
from bench.vectors import KINDS, plant

PHOTOS = [ROOT.parent / "shared" / "data" / name for name in ("photos", "photos_train")]


@dataclass(frozen=True)
class Data:
    """Vectors to work on, and the exact neighbours of some of them.

    Args:
        name: What to call it.
        path: An .npy file of unit rows, float16.
        count: Rows that take part.
        sample: Their exact neighbours.
    """

    name: str
    path: Path
    count: int
    sample: Sample


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=0, help="default: 100,000, or all there are")
    parser.add_argument("--width", type=int, default=512, help="of planted vectors")
    parser.add_argument("--kind", choices=(*KINDS, "photos"), default="planted")
    parser.add_argument("--vectors", type=Path, help="embeddings of your own, float16 .npy")
    parser.add_argument("--photos", type=Path, nargs="+", default=PHOTOS, help="folders")
    parser.add_argument("--peers", default=",".join(PEERS), help="default: all of %(default)s")
    parser.add_argument("--fastdup-python", default="", help="a Python that has fastdup")
    parser.add_argument("--openblas-core", default="", help="e.g. SkylakeX: see run_peer")
    parser.add_argument("--method", default="cells", help="of Winnow's neighbour graph")
    parser.add_argument("--floor", type=float, help="of Winnow's graph; default: the threshold")
    parser.add_argument("--memory-gb", type=float, default=0.0, help="for Winnow's search")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=5000, help="rows searched exactly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench")
    parser.add_argument("--scaling", default="", help="numbers of items: Winnow alone, on each")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "dedup_scaling.svg")
    arguments = parser.parse_args()
    unknown = set(arguments.peers.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"unknown peer {', '.join(sorted(unknown))}: there are {', '.join(PEERS)}")
    arguments.folder = arguments.folder.resolve()
    return arguments


def prepare(arguments: argparse.Namespace, items: int) -> Data | None:
    """Make or open the vectors and search some of them exactly; ``None`` without photographs."""
    folder, seed = arguments.folder, arguments.seed
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.vectors:
        path = arguments.vectors.resolve()
        name = f"{path.stem}-{path.stat().st_size}"
        count = min(items or sys.maxsize, len(np.load(path, mmap_mode="r")))
    elif arguments.kind == "photos":
        photos = find_photos(arguments.photos)
        if not photos:
            return None
        name = f"photos-{items or 'all'}-{seed}"
        path = folder / f"{name}.npy"
        count = embed_photos(path, photos, items, arguments.threads, seed)
    else:
        count = items or 100_000
        name = f"{arguments.kind}-{count}x{arguments.width}-{seed}"
        path = folder / f"{name}.npy"
        plant(path, count, arguments.width, seed, arguments.kind)
    vectors = np.load(path, mmap_mode="r")[:count]
    exact = f"{name}.{count}.exact-{arguments.samples}-{arguments.threshold:g}.npz"
    sample = exact_sample(vectors, arguments.threshold, arguments.samples, folder / exact)
    return Data(name, path, count, sample)


def measure(name: str, data: Data, arguments: argparse.Namespace) -> Line | None:
    """Run one peer and judge its answer; ``None``, said why, where it cannot run."""
    if name == "fastdup" and not arguments.fastdup_python:
        print("fastdup left out: --fastdup-python names no Python that has it")
        return None
    job = Job(
        vectors=str(data.path),
        count=data.count,
        folder=str(arguments.folder / "runs" / name),
        threads=arguments.threads,
        threshold=arguments.threshold,
        seed=arguments.seed,
        method=arguments.method,
        floor=arguments.threshold if arguments.floor is None else arguments.floor,
        memory_gb=arguments.memory_gb,
        fastdup_python=arguments.fastdup_python,
    )
    try:
        outcome = run_peer(name, job, arguments.openblas_core)
    except PeerFailed as failure:
        print(f"{name} failed:\n{failure}")
        return None
    figures = judge(outcome.found, job.rows(), data.sample, job.threshold)
    return Line(data.count, outcome.seconds, outcome.cores, outcome.peak, figures)


def compare(arguments: argparse.Namespace) -> list[Check]:
    """All peers on one set of vectors."""
    data = prepare(arguments, arguments.items)
    if data is None:
        print(f"no photographs under {', '.join(map(str, arguments.photos))}: skipped")
        return []
    pairs = len(data.sample.src)
    print(f"{data.name}: {data.count:,} rows, {arguments.threads} threads; {pairs:,} exact pairs")
    lines = {}
    for name in arguments.peers.split(","):
        line = measure(name, data, arguments)
        if line is not None:
            lines[name] = line
    print_lines(lines)
    if "winnow" in arguments.peers.split(",") and "winnow" not in lines:
        return [Check("winnow gave no answer MISSED", held=False)]
    planted = arguments.kind == "planted" and not arguments.vectors
    return checks(lines, data.count, speed=planted)


def scale(arguments: argparse.Namespace) -> list[Check]:
    """Winnow alone on planted vectors of several sizes."""
    rates: dict[int, float] = {}
    made: list[Check] = []
    for items in map(int, arguments.scaling.split(",")):
        data = prepare(arguments, items)
        line = measure("winnow", data, arguments) if data else None
        if line is None:
            return [Check(f"winnow gave no answer for {items:,} items MISSED", held=False)]
        print_lines({f"winnow, {items:,}": line})
        rates[items] = line.rate
        made += checks({"winnow": line}, items, speed=True)
    draw_rates(arguments.plot, rates)
    print(f"plot: {arguments.plot}")
    return made + linear(rates)


def main() -> int:
    """Measure, print the bounds; 1 where one is missed."""
    arguments = parse_arguments()
    made = scale(arguments) if arguments.scaling else compare(arguments)
    for check in made:
        print(check.text)
    return 0 if all(check.held for check in made) else 1


if __name__ == "__main__":
    sys.exit(main())
