"""What Leiden changes: communities against connected components, and what is kept of them.

Three sets: planted vectors most of whose families are chains, planted vectors of all sorts, and
photographs with edited copies. On each, clusters are cut both ways, and keepers chosen two ways:

- *one*: the first row of each cluster, as most tools do;
- *greedy*: Winnow's, a row is kept unless a kept row of its cluster reaches the threshold.

Printed per cut: clusters of more than one row and the largest; pairs of rows in one cluster, and
those of them far apart (more than 0.05 below the threshold), from 200,000 drawn pairs; and for
either rule the rows kept, removed rows without a kept witness, and what a second run over the kept
rows would remove. Below it, how the sets that Winnow keeps differ.

    python bench/dedup_leiden.py [--items 20000]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# This folder would hide the package ``dedup`` behind the file dedup.py.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
from numpy.typing import NDArray

from bench.peers.base import Bools, Found, Ints, lowest_of_each
from bench.peers.judge import false_merges, unwitnessed
from bench.peers.photos import embed_photos, find_photos
from bench.peers.report import Check, at_most, print_table
from bench.vectors import Kind, plant
from dedup import CommunityOptions, Duplicates, GraphOptions, find_duplicates
from dedup.options import WITHIN

PHOTOS = [ROOT.parent / "shared" / "data" / name for name in ("photos", "photos_train")]
PLANTED: tuple[Kind, ...] = ("chains", "planted")
HEAD = ("cut by", "clusters", "largest", "pairs inside", "far apart")
RULE = ("kept", "no witness", "second run")


def data_sets(arguments: argparse.Namespace) -> dict[str, Path]:
    """Files of vectors by name; photographs only where there are some."""
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for kind in PLANTED:
        files[kind] = folder / f"{kind}-{arguments.items}x{arguments.width}-0.npy"
        plant(files[kind], arguments.items, arguments.width, 0, kind)
    photos = find_photos(arguments.photos)
    if photos:
        files["photos"] = folder / "photos-all-0.npy"
        embed_photos(files["photos"], photos, 0, arguments.threads)
    else:
        print(f"no photographs under {', '.join(map(str, arguments.photos))}: left out")
    return files


def second_run(keep: Bools, src: Ints, dst: Ints) -> int:
    """How many kept rows a second run would remove, keeping the lower row of a pair."""
    both = keep[src] & keep[dst]
    removed: set[int] = set()
    for low, high in sorted(zip(src[both].tolist(), dst[both].tolist(), strict=True)):
        if low not in removed:
            removed.add(high)
    return len(removed)


def cut(
    within: str, result: Duplicates, vectors: NDArray[np.float16]
) -> tuple[list[str], int, float]:
    """A line of the table, greedy removals without a witness, and pairs far apart."""
    labels = result.components if within == "component" else result.labels
    _, size = np.unique(labels, return_counts=True)
    inside, far = false_merges(labels, vectors, result.threshold, seed=0)
    line = [within, f"{np.count_nonzero(size > 1):,}", f"{size.max():,}", f"{inside:,}"]
    line.append(f"{far * inside:,.0f} ({far * 100:.2f}%)")
    pairs = result.pairs()
    src, dst = (pairs.column(name).to_numpy() for name in ("src", "dst"))
    one = lowest_of_each(labels)
    alone = 0
    for keep, witness in ((one, None), (result.keep, result.witness)):
        alone = unwitnessed(Found(labels, keep, witness=witness), vectors, result.threshold)
        left = second_run(keep, src, dst)
        line += [f"{np.count_nonzero(keep):,}", f"{alone:,}", f"{left:,}"]
    return line, alone, far * inside


def compare(name: str, vectors: NDArray[np.float16], arguments: argparse.Namespace) -> list[Check]:
    """Print one set's table; the bounds that hold on every set."""
    graph = GraphOptions(method=arguments.method, threads=arguments.threads)
    rows = [(*HEAD, *(f"one: {at}" for at in RULE), *(f"greedy: {at}" for at in RULE))]
    checks = []
    apart: dict[str, float] = {}
    kept: dict[str, Bools] = {}
    for within in WITHIN:
        options = CommunityOptions(within=within)
        threshold = arguments.threshold
        result = find_duplicates(
            vectors, threshold, floor=threshold, graph=graph, communities=options
        )
        line, alone, apart[within] = cut(within, result, vectors)
        rows.append(tuple(line))
        kept[within] = result.keep
        checks.append(at_most(f"{name}, within {within}: greedy, no witness", alone, 0))
    print(f"\n{name}: {len(vectors):,} rows, threshold {arguments.threshold:g}")
    print_table(rows)
    more, fewer = (
        np.count_nonzero(kept[one] & ~kept[other]) for one, other in (WITHIN[::-1], WITHIN)
    )
    print(f"greedy within communities keeps {more:,} rows more, and {fewer:,} others not")
    text = f"{name}: pairs far apart in communities"
    checks.append(at_most(text, apart["community"], apart["component"]))
    return checks


def main() -> int:
    """Print a table a set, then the bounds; 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000, help="planted rows")
    parser.add_argument("--width", type=int, default=512, help="of planted rows")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--method", default="auto", help="of the neighbour graph")
    parser.add_argument("--photos", type=Path, nargs="+", default=PHOTOS, help="folders")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench")
    arguments = parser.parse_args()
    checks: list[Check] = []
    for name, path in data_sets(arguments).items():
        checks += compare(name, np.load(path, mmap_mode="r"), arguments)
    for check in checks:
        print(check.text)
    return 0 if all(check.held for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
