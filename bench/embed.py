"""Images/s of the embed stage with open_clip against a bare loop over the same model.

Per number of cores one process, bound to that many of them: the stage (read, decode, resize,
model, float16 rows) and two bare loops with the same model, batch size and cores, in
interleaved rounds of which the fastest counts. Weights are random; nothing is downloaded.

- ``bare``: what one would write over images already decoded in memory: open_clip's own
  transform image by image, the model on all cores. The bound is for the stage against it.
- ``model``: the same model over tensors already made, batch by batch: what no stage can beat
  unless it uses the cores better than one batch on all of them does.

    python bench/embed.py                       # ViT-B-32 on 1 and on 2 cores
    python bench/embed.py --model ViT-S-32-alt --images 512
    python bench/embed.py --folder PHOTOS --cores 1,2,4,8
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# This folder would hide the packages of the repository behind its files.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import pyarrow as pa

#: Least share of the bare loop's rate that the stage must reach.
BOUND = 0.9
#: Least gain of twice the cores, decoding included.
SCALING = 1.6
PHOTOS = ROOT.parent / "shared" / "data" / "photos"


def pictures(folder: Path, count: int) -> list[Path]:
    """Photographs: those of a folder, or the demo's where it is absent."""
    if not folder.is_dir():
        from pipeline.demo import write_sample_set

        folder = Path(tempfile.mkdtemp()) / "demo"
        write_sample_set(folder)
        folder = folder / "images" / "photos"
    found = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".webp", ".png"})
    found = found[:: max(1, len(found) // count)] or found
    return (found * (count // len(found) + 1))[:count]


def items(paths: list[Path]) -> pa.Table:
    """Rows of the table ``items`` for files."""
    from stages.schemas import ITEMS

    rows = [
        {"item_id": number, "uri": str(path), "key": path.name, "length": path.stat().st_size}
        for number, path in enumerate(paths)
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)


def save_random(model: str, target: Path) -> None:
    """Random weights of an open_clip architecture."""
    import logging

    import open_clip
    import torch

    logging.disable(logging.WARNING)  # that they are random is meant
    torch.manual_seed(0)
    torch.save(open_clip.create_model(model).state_dict(), target)


def loops(
    arguments: argparse.Namespace, paths: list[Path], cores: int
) -> dict[str, Callable[[], Any]]:
    """The stage and the bare loops, each over all images."""
    import open_clip
    import torch
    from PIL import Image

    from stages.embed import EmbedSettings, EmbedStage
    from stages.storage import Storage

    settings = EmbedSettings(
        model=f"open_clip/{arguments.model}",
        checkpoint=arguments.weights,
        threads=cores,
        batch_size=arguments.batch_size,
        device="cpu",
    )
    stage = EmbedStage(settings, Storage())
    stage.setup()
    table = items(paths)
    model, _, transform = open_clip.create_model_and_transforms(
        arguments.model, pretrained=arguments.weights
    )
    model.eval()
    decoded = [Image.open(path).convert("RGB") for path in paths]
    tensors = torch.stack([transform(image) for image in decoded])
    size = arguments.batch_size

    def encode(batch: torch.Tensor) -> None:
        with torch.inference_mode():
            torch.nn.functional.normalize(model.encode_image(batch), dim=1).numpy()

    def bare() -> None:
        for first in range(0, len(decoded), size):
            encode(torch.stack([transform(image) for image in decoded[first : first + size]]))

    def bare_model() -> None:
        for first in range(0, len(decoded), size):
            encode(tensors[first : first + size])

    def with_threads(call: Callable[[], Any], threads: int) -> Callable[[], Any]:
        def run() -> Any:  # noqa: ANN401 - whatever the loop gives
            torch.set_num_threads(threads)
            return call()

        return run

    return {
        "bare": with_threads(bare, cores),
        "model": with_threads(bare_model, cores),
        # As its setup() has set it: a batch for each thread.
        "stage": with_threads(lambda: stage.process(table).metrics, 1),
    }


def measure(arguments: argparse.Namespace, cores: int) -> dict[str, float]:
    """Images/s of everything, in this process, and the stage's own figures."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    paths = pictures(Path(arguments.folder), arguments.images)
    calls = loops(arguments, paths, cores)
    best = dict.fromkeys(calls, float("inf"))
    worked = dict.fromkeys(calls, float("inf"))
    figures: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, call in calls.items():
            started, before = time.perf_counter(), time.process_time()
            said = call()
            spent = time.perf_counter() - started
            worked[name] = min(worked[name], time.process_time() - before)
            if name == "stage" and spent < best[name]:
                figures = said
            best[name] = min(best[name], spent)
    rates = {name: len(paths) / spent for name, spent in best.items()}
    cpu = {f"{name}_cpu_ms": 1000 * spent / len(paths) for name, spent in worked.items()}
    return {**rates, **cpu, "wait_share": figures["wait_share"]}


def in_process(arguments: argparse.Namespace, cores: int) -> dict[str, float]:
    """``measure`` in a process of its own, whose libraries see only its cores."""
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", str(cores)]
    command += ["--weights", arguments.weights]
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--folder", default=str(PHOTOS))
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", default="1,2", help="numbers of cores, ascending")
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Print the rates and the bounds; 1 where one is missed."""
    arguments = parse()
    if arguments.measure:
        print(json.dumps(measure(arguments, arguments.measure)))
        return 0
    missed = 0
    rates: dict[int, float] = {}
    load = os.getloadavg()[0]
    print(f"{arguments.model}, {arguments.images} images, batches of {arguments.batch_size}")
    print(f"load before: {load:.1f} of {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        arguments.weights = str(Path(folder) / "weights.pt")
        save_random(arguments.model, Path(arguments.weights))
        for cores in (int(each) for each in arguments.cores.split(",")):
            found = in_process(arguments, cores)
            rates[cores] = found["stage"]
            ratio = found["stage"] / found["bare"]
            missed += ratio < BOUND
            print(
                f"{cores} cores: stage {found['stage']:.1f}, bare {found['bare']:.1f}, model "
                f"{found['model']:.1f} images/s; stage/bare {ratio:.2f}x (bound {BOUND}) "
                f"{'ok' if ratio >= BOUND else 'MISSED'}; stage/model "
                f"{found['stage'] / found['model']:.2f}x; waiting {found['wait_share']:.0%}"
            )
            # Of use where other work shares the cores and the rates mean little.
            shown = (f"{name} {found[f'{name}_cpu_ms']:.1f}" for name in ("stage", "bare", "model"))
            print(f"         CPU ms an image: {', '.join(shown)}")
    for few, many in zip(rates, list(rates)[1:], strict=False):
        gain = rates[many] / rates[few]
        wanted = SCALING ** ((many / few - 1) if many < 2 * few else 1)
        missed += gain < wanted
        print(f"{few} to {many} cores: {gain:.2f}x (bound {wanted:.2f})")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
