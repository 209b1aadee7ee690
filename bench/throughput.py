"""Images/s of the model-free map stages against a bare loop that reads and decodes.

One process, one thread, the same files, interleaved rounds; the fastest round of each counts.
The bare loop is what a stage cannot avoid: read the file, decode it, convert to RGB. The bound
is the least share of its rate that a stage must reach.

    python bench/throughput.py [FOLDER]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from PIL import Image

# This folder holds a dedup.py, which would hide the package ``dedup``.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pipeline.config import parse_config
from pipeline.worker import Job, StageWorker
from stages.batches import update_plans
from stages.contract import MapStage
from stages.corpus import Committed, Corpus, Stamp
from stages.embed import EmbedStage
from stages.ingest import IngestStage
from stages.profile import ProfileStage
from stages.storage import Storage

MEASURED: tuple[type[MapStage], ...] = (IngestStage, ProfileStage, EmbedStage)
ROUNDS = 3
IMAGES = 400
#: Share of the bare loop's rate that each stage must reach.
BOUNDS = {"ingest": 0.7, "profile": 0.5, "embed": 0.15}


def pictures(folder: Path) -> list[Path]:
    """Photographs: those of a folder, or the demo's where it is absent."""
    if not folder.is_dir():
        from pipeline.demo import write_sample_set

        folder = Path(tempfile.mkdtemp()) / "demo"
        write_sample_set(folder)
        folder = folder / "images" / "photos"
    found = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".webp", ".png"})
    return found[:: max(1, len(found) // IMAGES)][:IMAGES]


def bare_loop(paths: list[Path]) -> None:
    """Read, decode, convert: nothing else."""
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.convert("RGB").load()


def stage_runs(paths: list[Path], folder: Path) -> dict[str, Callable[[], pa.Table]]:
    """Per stage, a call that computes one partition of all the images."""
    source = folder / "in"
    source.mkdir()
    for number, path in enumerate(paths):
        (source / f"{number:05d}{path.suffix}").symlink_to(path.resolve())
    raw = {
        "corpus": str(folder / "out"),
        "source": {"uri": str(source)},
        "ingest": {"threads": 1, "partition_items": len(paths)},
    }
    config = parse_config(raw, "bench")
    storage = Storage()
    corpus = Corpus(config.corpus, storage)
    update_plans(storage, corpus.uri, config.source, len(paths))
    (partition,) = corpus.partitions()
    runs: dict[str, Callable[[], pa.Table]] = {}
    for stage in MEASURED:
        settings = config.stage(stage.name)
        instance = stage(settings, storage)
        job = Job(stage, settings, config.storage, corpus.uri, instance.resources)
        worker = StageWorker(job)
        size = worker.size(partition)
        runs[stage.name] = lambda worker=worker, size=size: (
            worker.compute(partition, 0, size).rows  # type: ignore[misc]
        )
        if stage is IngestStage:
            rows = runs[stage.name]()
            stamp = Stamp("bench", "bench", len(rows), len(rows), 0)
            corpus.commit("ingest", "items", partition, Committed(rows), stamp)
    return runs


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> int:
    """Time everything, print a ratio and its bound a line; 1 where a bound is missed."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data/photos")
    paths = pictures(folder)
    with tempfile.TemporaryDirectory() as place:
        calls: dict[str, Callable[[], object]] = {
            "bare loop": lambda: bare_loop(paths),
            **stage_runs(paths, Path(place)),
        }
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            for name, call in calls.items():
                best[name] = min(best[name], seconds(call))
    bare = len(paths) / best.pop("bare loop")
    print(f"{len(paths)} images, one thread; bare loop {bare:.0f} images/s")
    missed = 0
    for name, spent in best.items():
        rate = len(paths) / spent
        verdict = "ok" if rate / bare >= BOUNDS[name] else "MISSED"
        missed += verdict != "ok"
        print(f"{name:8} {rate:6.0f} images/s  {rate / bare:.2f}x (bound {BOUNDS[name]}) {verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
