"""Images/s of the ``profile`` stage against decoding alone.

One process, the same photographs, reader, decoder and threads. Both take turns over groups of 40
photographs, and the fastest turn of each over each group counts: a machine that is slower from
one second to the next then slows neither alone. Decoding alone is read, decode, turn, convert to
RGB. The bound is the least share of its rate that the stage must reach; 1 is the exit code where
it is missed.

    python bench/profiling.py
    python bench/profiling.py --threads 2 --side 2048      # photographs enlarged to that side
    python bench/profiling.py --by-signal                  # where the time goes
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

# This folder would hide the package ``dedup`` behind its dedup.py.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import pyarrow as pa
from PIL import Image

from stages.contract import ItemError
from stages.images import decode, map_images
from stages.profile import ProfileSettings, ProfileStage
from stages.schemas import ITEMS
from stages.signals import borders, codes, encoding, kernels, layout, pixels, together, working
from stages.signals.hashing import hash_weights
from stages.storage import Storage

BOUND = 0.7
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
_GROUP = 40
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="a folder of photographs")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--side", type=int, default=0, help="enlarge to this longer side first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--by-signal", action="store_true")
    return parser.parse_args()


def pictures(folder: Path, count: int) -> list[Path]:
    """Photographs at equal distances through a folder, or the demo's where it is absent."""
    if not folder.is_dir():
        from pipeline.demo import write_sample_set

        folder = Path(tempfile.mkdtemp()) / "demo"
        write_sample_set(folder)
        folder = folder / "images" / "photos"
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return found[:: max(1, len(found) // count)][:count]


def enlarged(paths: list[Path], side: int, folder: Path) -> list[Path]:
    """JPEGs of quality 90 with that longer side."""
    results = []
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            scale = side / max(image.size)
            size = tuple(max(1, round(scale * length)) for length in image.size)
            larger = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)  # type: ignore[arg-type]
        results.append(folder / f"{number:05d}.jpg")
        larger.save(results[-1], quality=90)
    return results


def items(paths: list[Path]) -> pa.Table:
    """Rows of ``items`` as ``ingest`` writes them, as far as the stage reads them."""
    rows = [
        {
            "item_id": number,
            "uri": str(path),
            "key": path.name,
            "length": path.stat().st_size,
            "format": "jpeg",
            "frames": 1,
        }
        for number, path in enumerate(paths)
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(paths: list[Path], threads: int, rounds: int) -> float:
    """Time both, print their rates; the stage's share of the rate of decoding alone."""
    storage = Storage()
    stage = ProfileStage(ProfileSettings(threads=threads), storage)

    def alone(table: pa.Table) -> None:
        results = map_images(table, storage, lambda _image, _row: {}, threads=threads)
        failed = [result for result in results if isinstance(result, ItemError)]
        if failed:
            raise failed[0]

    def measured(table: pa.Table) -> None:
        assert stage.process(table).rows.num_rows == table.num_rows

    bare = whole = 0.0
    for first in range(0, len(paths), _GROUP):
        table = items(paths[first : first + _GROUP])
        # Compiled code is loaded in the first turn, which does not count.
        turns = [
            (seconds(partial(alone, table)), seconds(partial(measured, table)))
            for _ in range(rounds + 1)
        ][1:]
        fastest = [min(each) for each in zip(*turns, strict=True)]
        bare, whole = bare + fastest[0], whole + fastest[1]
    print(f"{len(paths)} images, {threads} thread(s), best of {rounds} turns")
    print(f"decoding alone {len(paths) / bare:7.0f} images/s")
    print(f"profile        {len(paths) / whole:7.0f} images/s  {bare / whole:.2f}x")
    return bare / whole


def parts() -> dict[str, Callable[[working.WorkingCopy], object]]:
    """Name to computation, in the order of the stage."""
    step = 4
    return {
        "phash": lambda copy: pixels.phash(copy.grey),
        "brightness, contrast, entropy": lambda copy: kernels.tones(copy.grey, step),
        "border_variance": lambda copy: borders.ring_statistics(
            copy.pixels, copy.grey, layout.ring_width(*copy.grey.shape), step
        ),
        "colourfulness, uniform_background": lambda copy: kernels.colour_sums(
            copy.pixels, step, (128, 128, 128), layout.BACKGROUND_TOLERANCE
        ),
        "sharpness, flat_share": lambda copy: kernels.laplacian_sums(copy.grey, step),
        "noise": lambda copy: kernels.diagonal_median(copy.grey, step),
        "letterbox": lambda copy: layout.letterbox(copy.grey),
        "reencode_bpp": lambda copy: encoding.reencoded_bytes_per_pixel(copy.pixels, 75),
        "qr_code": lambda copy: codes.qr_code(copy.grey),
        "all but reencode_bpp in one call": lambda copy: together.measure(
            copy.pixels,
            copy.grey,
            encoding.empty_sample(copy.pixels),
            *hash_weights(*copy.grey.shape),
        ),
    }


def by_signal(paths: list[Path], rounds: int) -> None:
    """Print CPU microseconds an image by signal, the best of the rounds."""
    best: dict[str, float] = defaultdict(lambda: float("inf"))
    for _ in range(rounds):
        spent: dict[str, float] = defaultdict(float)
        for path in paths:
            data = path.read_bytes()
            image = _timed(spent, "decode", decode, data)
            copy = _timed(spent, "working copy", working.working_copy, image)
            for name, part in parts().items():
                _timed(spent, name, part, copy)
        for name, each in spent.items():
            best[name] = min(best[name], each)
    for name, each in best.items():
        print(f"{name:36}{each / len(paths) * 1e6:8.0f} us")


def _timed(
    spent: dict[str, float], name: str, call: Callable[..., object], *arguments: object
) -> object:
    started = time.thread_time()
    result = call(*arguments)
    spent[name] += time.thread_time() - started
    return result


def main() -> int:
    """Compare, print a verdict; 1 where the bound is missed."""
    arguments = parse_arguments()
    paths = pictures(arguments.photos, arguments.images)
    with tempfile.TemporaryDirectory() as place:
        if arguments.side:
            paths = enlarged(paths, arguments.side, Path(place))
        ratio = compare(paths, arguments.threads, arguments.rounds)
        if arguments.by_signal:
            by_signal(paths, arguments.rounds)
    reached = ratio >= BOUND
    print(f"bound {BOUND}: {'ok' if reached else 'MISSED'}")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
