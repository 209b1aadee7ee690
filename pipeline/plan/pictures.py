"""The images that a trial runs on: the run's own, or generated ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config import Config
from pipeline.plan.rates import Images
from stages.sources import fixed_place
from stages.storage import Storage

IMAGES = 48
_ENOUGH = 8
_SIZE = (640, 480)
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def gather_images(config: Config, target: Path) -> str:
    """Fill a folder with images; returns what they are.

    Args:
        config: The run; the first images of its own local folders are linked.
        target: An empty folder.
    """
    return _link_own(config, target) or _generate(target)


def described(what: str, items: pa.Table) -> Images:
    """The images that became items."""
    sizes = items.column("bytes").to_numpy()
    pixels = items.column("width").to_numpy().astype(np.int64) * items.column("height").to_numpy()
    return Images(f"{items.num_rows} {what}", float(sizes.mean()), float(pixels.mean()))


def _link_own(config: Config, target: Path) -> str | None:
    """Link the first images of the run's own local folders; nothing where there are too few."""
    storage = Storage(config.storage)
    found: list[Path] = []
    for source in config.source:
        place = fixed_place(source.uri)
        if storage.is_local(place) and Path(storage.locate(place)[1]).is_dir():
            found += islice(_images_below(Path(storage.locate(place)[1])), IMAGES - len(found))
    if len(found) < _ENOUGH:
        return None
    for number, path in enumerate(found):
        (target / f"{number:03d}{path.suffix}").symlink_to(path.resolve())
    return "images of the source, the first that were found"


def _images_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):  # listing all of a large source would take too long
        for path in (Path(place) / name for name in names):
            if path.suffix.lower() in _SUFFIXES and _decodes(path):
                yield path


def _decodes(path: Path) -> bool:
    """Whether an image is whole; a JPEG is read at an eighth of its size, which is quick."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))
            image.load()
    except (OSError, ValueError, SyntaxError):  # what Pillow's decoders raise
        return False
    return True


def _generate(target: Path) -> str:
    """Write pictures with detail at all scales, whose spectrum falls as photographs' does."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        total = np.zeros((_SIZE[1], _SIZE[0], 3), dtype=np.float32)
        for octave in range(2, 9):
            cells = (2**octave, max(1, 3 * 2**octave // 4))
            coarse = rng.integers(0, 256, (cells[1], cells[0], 3), dtype=np.uint8)
            smooth = Image.fromarray(coarse).resize(_SIZE, Image.Resampling.BICUBIC)
            total += (np.asarray(smooth, dtype=np.float32) - 127.5) * 1.5 ** (2 - octave)
        pixels = np.clip(127.5 + total * 0.6, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(target / f"{number:03d}.jpg", quality=88)
    return f"generated images of {_SIZE[0]} x {_SIZE[1]}"
