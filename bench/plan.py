"""What ``winnow plan --measure`` predicts against what a small run then takes.

The same photographs, one process, one thread: ingest, profile and embed are predicted, then run.
Prediction over truth must lie between 1/3 and 3 for each.

    python bench/plan.py [FOLDER]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import tempfile
from pathlib import Path

# This folder holds a dedup.py, which would hide the package ``dedup``.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.throughput import pictures
from pipeline.config import Config, parse_config
from pipeline.plan import plan_run
from pipeline.runner import Runner

STAGES = ("ingest", "profile", "embed")
BOUND = 3.0
DIM = 256


def small_run(paths: list[Path], folder: Path) -> Config:
    """A run over links to the pictures, one thread each."""
    source = folder / "in"
    source.mkdir()
    for number, path in enumerate(paths):
        (source / f"{number:05d}{path.suffix}").symlink_to(path.resolve())
    raw = {
        "corpus": str(folder / "out"),
        "source": {"uri": str(source)},
        "run": {"executor": "local"},
        "ingest": {"threads": 1, "partition_items": 64},
    }
    return parse_config(raw, "bench")


def main() -> int:
    """Print prediction, truth and ratio a line; 1 where a ratio is out of bounds."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data/photos")
    paths = pictures(folder)
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        config = small_run(paths, Path(place))
        plan = plan_run(config, len(paths), DIM, gpus=0, measured=True)
        predicted = {step.name: step.seconds for step in plan.steps}
        print(f"{len(paths)} images, one thread")
        for name in STAGES:
            took = Runner(config).run(name).stages[0].seconds
            ratio = (predicted[name] or 0.0) / took
            verdict = "ok" if 1 / BOUND <= ratio <= BOUND else "MISSED"
            missed += verdict != "ok"
            print(
                f"{name:8} predicted {predicted[name]:6.2f} s, took {took:6.2f} s: {ratio:.2f}x "
                f"(bound {1 / BOUND:.2f} to {BOUND:g}) {verdict}"
            )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
