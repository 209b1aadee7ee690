"""From vectors in host memory to keepers on a GPU: items a second, and recall.

Planted vectors (as in ``bench/vectors.py``, drawn on the device) lie in host memory as float16.
Timed is what ``find_duplicates`` does with them until the keepers are known; compiled kernels
are loaded by a small run before. Recall is measured against an exact search of sampled rows.

    python bench/dedup_gpu.py                               # 10 million x 512 on all GPUs
    python bench/dedup_gpu.py --items 20000000
    python bench/dedup_gpu.py --device cpu --items 50000    # the script itself, without a GPU

Without a GPU and without ``--device`` it says so, and runs small on the processor. The exit code
is 1 where recall, a witness or, on a GPU, the lower goal is missed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

# This folder would hide the package ``dedup`` behind the benchmark of that name.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import torch
from numpy.typing import NDArray

from bench.vectors import CONCEPTS, SHARES, TOPICS, _families
from dedup.arrays import Ints
from dedup.cells.source import ArraySource
from dedup.cells.tasks import Compare, Scatter
from dedup.options import CommunityOptions, GraphOptions
from dedup.recall import wilson
from dedup.result import Duplicates
from dedup.search import mapped, search

#: Items a second and GPU: a billion in an hour on eight GPUs, and what is aimed at.
GOALS = (35_000, 200_000)
RECALL = 0.999
SMALL = 50_000
_WARM_UP = 40_000
_BLOCK = 65_536
#: How far below the threshold float32 products are looked at again in float64.
_MARGIN = 1e-4

Rows = NDArray[np.float16]
T = TypeVar("T")
R = TypeVar("R")


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help="default: cuda where there is one"
    )
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--floor", type=float, help="of the graph; default: the threshold")
    parser.add_argument("--memory-gb", type=float, default=64.0, help="of the host, for the search")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--samples", type=int, default=5000, help="rows searched exactly")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.device is None and not torch.cuda.is_available():
        print(
            "THIS HAS NOT RUN ON A GPU: PyTorch sees none. What follows is a small run on the "
            "processor, which shows that the script works and nothing about a GPU.\n"
        )
        arguments.items = min(arguments.items, SMALL)
    arguments.device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, but PyTorch sees no GPU")
    return arguments


def planted(count: int, width: int, seed: int, device: str) -> Rows:
    """Vectors with planted near-copies, in random order; see ``bench/vectors.py``.

    Args:
        count: Rows, at least 1.
        width: Dimensions, at least 2.
        seed: Of everything.
        device: Where they are drawn; another one draws others.
    """
    rng = np.random.default_rng(seed)
    kinds, _, first = _families(rng, count, SHARES)
    order = rng.permutation(count)
    rows = np.empty((count, width), dtype=np.float16)
    draw = torch.Generator(device).manual_seed(seed)
    topics = _directions(TOPICS, width, draw)
    concepts = _directions(TOPICS * CONCEPTS, width, draw)
    start = 0
    while start < count:
        # A block ends where a family does.
        stop = int(first[start + _BLOCK - 1]) if start + _BLOCK < count else count
        concept = torch.randint(len(concepts), (stop - start,), generator=draw, device=device)
        own = _directions(stop - start, width, draw)
        base = _unit(0.5 * topics[concept // CONCEPTS] + 0.5 * concepts[concept] + 0.7071 * own)
        kind, head = (torch.from_numpy(each[start:stop]).to(device) for each in (kinds, first))
        rows[order[start:stop]] = _moved(base, kind, head - start, draw).half().cpu().numpy()
        start = stop
    return rows


def _moved(
    base: torch.Tensor, kind: torch.Tensor, first: torch.Tensor, draw: torch.Generator
) -> torch.Tensor:
    """Members of families moved to where they belong; ``first`` is the row of each one's first."""
    count, width = base.shape
    place = torch.arange(count, device=base.device) - first
    share = torch.rand(count, generator=draw, device=base.device)
    similarity = torch.where(kind == 2, 0.80 + 0.10 * share, 0.85 + 0.145 * share)
    similarity[place == 0] = 1.0
    noise = _directions(count, width, draw)
    result = torch.where((kind > 0)[:, None], _towards(base[first], noise, similarity), base)
    for step in range(1, 9):  # a link starts from the one before, which is settled by then
        link = torch.nonzero((kind == 3) & (place == step)).flatten()
        near = torch.full((len(link),), 0.93, device=base.device)
        result[link] = _towards(result[link - 1], noise[link], near)
    return result


def _towards(centre: torch.Tensor, noise: torch.Tensor, similarity: torch.Tensor) -> torch.Tensor:
    """Unit vectors at the given cosine from their centres."""
    across = _unit(noise - (noise * centre).sum(1, keepdim=True) * centre)
    return similarity[:, None] * centre + (1 - similarity[:, None] ** 2).sqrt() * across


def _directions(count: int, width: int, draw: torch.Generator) -> torch.Tensor:
    return _unit(torch.randn(count, width, generator=draw, device=draw.device))


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


@dataclass
class Laps:
    """Seconds by phase, one after the other."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """Add the time since the last lap to a phase."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now


def find(rows: Rows, arguments: argparse.Namespace) -> tuple[Duplicates, dict[str, float]]:
    """What ``find_duplicates`` does, with a clock between its passes; until keepers are known."""
    options = GraphOptions(
        method="cells",
        device=arguments.device,
        memory_gb=arguments.memory_gb,
        threads=arguments.threads,
    )
    floor = arguments.threshold if arguments.floor is None else arguments.floor
    laps = Laps()
    with mapped(options, None) as threads:

        def timed(function: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
            name, before = _phase(function)
            laps.lap(before)
            results = list(threads(function, tasks))
            laps.lap(name)
            return results

        searched = search(ArraySource(rows), floor, options, arguments.seed, mapper=timed)
    laps.lap("edges together")
    rank = np.arange(len(rows), dtype=np.int64)
    found = Duplicates(
        searched, rank, arguments.threshold, CommunityOptions(), arguments.seed, options
    )
    _ = found.keep
    laps.lap("communities, keepers")
    return found, laps.seconds


def _phase(function: Callable[..., Any]) -> tuple[str, str]:
    """What a pass is called, and what this process does alone before it."""
    if isinstance(function, Scatter):
        return "scatter", "k-means, slack"
    if isinstance(function, Compare):
        return "compare", "between passes"
    return ("survey" if isinstance(function, partial) else "other"), "between passes"


def exact(rows: Rows, samples: int, threshold: float, device: str) -> tuple[Ints, Ints]:
    """Pairs of sampled rows with any other at or above a threshold, by float64 cosines.

    Returns:
        Sampled rows and their neighbours, int64 (p,) each.
    """
    chosen = np.random.default_rng(1).choice(len(rows), min(samples, len(rows)), replace=False)
    queries = torch.from_numpy(rows[np.sort(chosen)]).to(device)
    lefts, rights = [], []
    for start in range(0, len(rows), _BLOCK):
        block = torch.from_numpy(rows[start : start + _BLOCK]).to(device)
        near = _unit(queries.float()) @ _unit(block.float()).T >= threshold - _MARGIN
        query, place = torch.nonzero(near, as_tuple=True)
        true = _cosines(queries[query], block[place]) >= threshold
        lefts.append(query[true].cpu().numpy())
        rights.append(start + place[true].cpu().numpy())
    left, right = np.sort(chosen)[np.concatenate(lefts)], np.concatenate(rights)
    return left[left != right], right[left != right]


def _cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=1)


def recall(found: Duplicates, left: Ints, right: Ints) -> tuple[int, int]:
    """How many of some pairs of rows were found, and how many there are."""
    nodes, graph = found.searched.nodes, found.searched.graph
    one, other = nodes.of_row[left], nodes.of_row[right]
    held = (one == other) | graph.has(np.minimum(one, other), np.maximum(one, other))
    return int(np.count_nonzero(held)), len(left)


def unwitnessed(found: Duplicates, rows: Rows) -> int:
    """Removed rows whose witness is not kept or not close, of up to 100,000 checked anew."""
    removed = np.flatnonzero(~found.keep)
    if len(removed) > 100_000:
        removed = np.sort(np.random.default_rng(2).choice(removed, 100_000, replace=False))
    witness = found.witness[removed]
    one, other = (torch.from_numpy(rows[each]) for each in (removed, witness))
    close = _cosines(one, other).numpy() >= found.threshold - 1e-6
    return int(np.count_nonzero(~(close & found.keep[witness])))


def report(found: Duplicates, seconds: dict[str, float], device: str) -> float:
    """Print what was found and how long it took; items a second and GPU."""
    count, total = len(found), sum(seconds.values())
    gpus = torch.cuda.device_count() if device == "cuda" else 1
    rate = count / total / gpus
    for phase, taken in seconds.items():
        print(f"  {phase:22s} {taken:9.2f} s {count / max(taken, 1e-9):14,.0f} items/s")
    print(f"  {'in all':22s} {total:9.2f} s {count / total:14,.0f} items/s")
    graph = found.searched.graph
    print(
        f"{found.searched.cells:,} cells, {len(graph):,} pairs >= {graph.floor:g}, "
        f"{int(found.keep.sum()):,} of {count:,} kept, {found.saturated:,} rows saturated"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process, vectors included: {peak:.1f} GiB")
    if device == "cuda":
        used = sum(torch.cuda.max_memory_reserved(each) for each in range(gpus)) / 2**30
        print(f"peak memory of {gpus} GPU: {used:.1f} GiB; {rate:,.0f} items/s per GPU")
    return rate


def judge(found: Duplicates, rows: Rows, rate: float, arguments: argparse.Namespace) -> bool:
    """Print what has to hold, and whether it does."""
    left, right = exact(rows, arguments.samples, arguments.threshold, arguments.device)
    hits, pairs = recall(found, left, right)
    low, high = wilson(hits, pairs)
    share = hits / max(pairs, 1)
    orphans = unwitnessed(found, rows)
    said = f"{hits:,} of {pairs:,}; 95 % interval {low:.5f} to {high:.5f}"
    checks = [
        (
            f"recall of pairs >= {arguments.threshold:g}: {share:.5f} ({said}), bound {RECALL}",
            share >= RECALL,
        ),
        (f"removed items without a kept witness: {orphans}, bound 0", orphans == 0),
    ]
    needed = len(checks)
    if arguments.device == "cuda":
        checks += [(f"{rate:,.0f} items/s per GPU, goal {goal:,}", rate >= goal) for goal in GOALS]
        needed += 1
    for text, held in checks:
        print(f"{text} {'met' if held else 'MISSED'}")
    return all(held for _, held in checks[:needed])


def main() -> int:
    """Make vectors, search them, say how it went."""
    arguments = parse_arguments()
    device = arguments.device
    where = torch.cuda.get_device_name() if device == "cuda" else "the processor"
    cores = GraphOptions(threads=arguments.threads).cores
    print(f"{arguments.items:,} x {arguments.width} float16, {where}, {cores} threads")
    print(f"torch {torch.__version__}, numpy {np.__version__}")
    started = time.perf_counter()
    find(planted(_WARM_UP, arguments.width, arguments.seed + 1, device), arguments)
    print(f"kernels loaded in {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    rows = planted(arguments.items, arguments.width, arguments.seed, device)
    print(f"vectors made in {time.perf_counter() - started:.0f} s", flush=True)
    if device == "cuda":
        torch.cuda.empty_cache()
    found, seconds = find(rows, arguments)
    rate = report(found, seconds, device)
    return 0 if judge(found, rows, rate, arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
