"""A small batch added to a large set, against deduplicating the whole set at once.

The same planted vectors twice, with rows, pairs and decisions kept on disk: all of them in one
run, and all but the last share first, then the rest as a batch of its own. From vectors on disk
to keepers, without the recall audit and without listing all pairs. Both are run in turns, the
batch each time on the state that the earlier rows left, and the fastest turn of either counts:
what else runs on a machine then slows neither alone. The batch's decisions are compared, item by
item, with deciding everything anew on the same graph. 1 is the exit code where the bound is
missed or a decision differs.

    python bench/dedup_incremental.py                       # 1 % of 200,000
    python bench/dedup_incremental.py --items 1000000
    python bench/dedup_incremental.py --levels 0.85,0.75    # with the looser levels' pairs
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
import pyarrow as pa

from bench.vectors import plant
from dedup import DedupOptions, GraphOptions, deduplicate
from dedup.arrays import Ints, Vectors
from dedup.cells.store import FolderStore
from dedup.engine import Decisions, Session

#: Most seconds of the batch over those of the whole.
BOUND = 0.05
_BLOCK = 32_768

T = TypeVar("T")


class Turns:
    """The fastest of several turns, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.of_cores: list[float] = []

    def take(self, work: Callable[[], T]) -> T:
        """Let it have one more turn; what it gave."""
        start, cores = time.perf_counter(), time.process_time()
        found = work()
        self.seconds.append(time.perf_counter() - start)
        self.of_cores.append(time.process_time() - cores)
        return found

    @property
    def fastest(self) -> float:
        """Seconds."""
        return min(self.seconds)

    def __str__(self) -> str:
        every = ", ".join(f"{each:.2f}" for each in self.seconds)
        return f"{self.fastest:.2f} s ({every}), {min(self.of_cores):.2f} core s"


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` to ``stop`` of an array, block by block; ids are row numbers."""

    vectors: Vectors
    start: int
    stop: int

    @property
    def sizes(self) -> Ints:
        """See ``dedup.cells.source.Source.sizes``."""
        starts = np.arange(self.start, self.stop, _BLOCK)
        return np.minimum(starts + _BLOCK, self.stop) - starts

    @property
    def dtype(self) -> np.dtype:
        """See ``dedup.cells.source.Source.dtype``."""
        return self.vectors.dtype

    @property
    def width(self) -> int:
        """See ``dedup.cells.source.Source.width``."""
        return int(self.vectors.shape[1])

    def read(self, block: int) -> tuple[Ints, Vectors]:
        """See ``dedup.cells.source.Source.read``."""
        start = self.start + block * _BLOCK
        stop = min(start + _BLOCK, self.stop)
        return np.arange(start, stop), self.vectors[start:stop]


def items_table(count: int, seed: int) -> pa.Table:
    """Items with digests and sizes, as the policy wants them."""
    rng = np.random.default_rng(seed)
    digests = [hashlib.sha256(row.to_bytes(8)).hexdigest() for row in range(count)]
    sizes = {name: rng.integers(64, 4096, count) for name in ("width", "height", "bytes")}
    return pa.table({"item_id": np.arange(count), "sha256": digests, **sizes})


def warm_up(options: DedupOptions) -> None:
    """Compile or load the kernels of both routes."""
    rng = np.random.default_rng(0)
    # As wide as one step of the kernel for few new rows, which has another for odd widths.
    rows = rng.standard_normal((60_000, 64)).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(None, FolderStore(folder))
        table = items_table(len(rows), 0)
        for start, stop in ((0, 59_000), (59_000, 60_000)):
            session.added = Slice(rows, start, stop)
            deduplicate(table.slice(0, stop), Slice(rows, 0, stop), options, session)


def options_of(arguments: argparse.Namespace) -> DedupOptions:
    """Without ``--levels`` the looser levels lie just below the threshold."""
    threshold = arguments.threshold
    levels = arguments.levels or f"{threshold - 1e-5},{threshold - 2e-5}"
    variant, subject = map(float, levels.split(","))
    graph = GraphOptions(threads=arguments.threads)
    return DedupOptions(threshold, variant=variant, subject=subject, graph=graph)


def restored(left: bytes, store: FolderStore, recipe: str) -> Session:
    """A session as an earlier one was left, with its files in another folder."""
    kept, settled = pickle.loads(left)
    kept.graph.store = store
    return Session(None, store, kept=kept, settled=settled, recipe=recipe)


def measure(arguments: argparse.Namespace, vectors: Vectors) -> bool:
    """Run both, print both; whether the bound holds and the decisions agree."""
    options, count = options_of(arguments), arguments.items
    added = max(1, round(count * arguments.share))
    table = items_table(count, arguments.seed)
    warm_up(options)

    def run(session: Session, start: int, stop: int) -> Decisions:
        session.added = Slice(vectors, start, stop)
        return deduplicate(table.slice(0, stop), Slice(vectors, 0, stop), options, session)

    whole, batch = Turns(), Turns()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        first = Path(folder) / "first"
        earlier = Session(None, FolderStore(first))
        run(earlier, 0, count - added)
        left = pickle.dumps((earlier.kept, earlier.settled))
        for turn in range(arguments.rounds):
            begun = Session(None, FolderStore(Path(folder) / "whole"))
            whole.take(partial(run, begun, 0, count))
            shutil.rmtree(Path(folder) / "whole")
            # Its own folder for each, so that no turn has to write over the files of another.
            place = shutil.copytree(first, first.with_name(str(turn)), copy_function=os.link)
            session = restored(left, FolderStore(place), earlier.recipe)
            decided = batch.take(partial(run, session, count - added, count))
        fresh = Session(None, session.store, kept=session.kept)
        anew = deduplicate(table, Slice(vectors, 0, count), options, fresh)
    same = decided.decisions.equals(anew.decisions) and decided.stats == anew.stats
    print(f"whole: {count:,} items in {whole}")
    print(f"batch: {added:,} items in {batch}")
    print(f"decisions as if everything were decided anew: {'yes' if same else 'NO'}")
    share = batch.fastest / whole.fastest
    held = share <= BOUND
    print(f"batch over whole: {share:.4f} (at most {BOUND}) {'ok' if held else 'MISSED'}")
    return same and held


def main() -> int:
    """Measure, print the bound; 1 where it is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--share", type=float, default=0.01, help="of the items, in the batch")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--levels", default="", help="VARIANT,SUBJECT: looser thresholds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / f"planted-{arguments.items}x{arguments.width}-{arguments.seed}.npy"
    plant(path, arguments.items, arguments.width, arguments.seed, "planted")
    return 0 if measure(arguments, np.load(path, mmap_mode="r")) else 1


if __name__ == "__main__":
    sys.exit(main())
