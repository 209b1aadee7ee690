"""Pictures for training, kept as small squares in one file: photographs and drawn ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.copydetect.graphics import draw_graphic

SOURCE_SIDE = 224
DRAWN = "drawn/"


@dataclass(frozen=True)
class Photos:
    """Photographs squashed to squares.

    Args:
        pixels: (n, SOURCE_SIDE, SOURCE_SIDE, 3), uint8, mapped from a file.
        aspects: Width over height of each.
        paths: What each is.
    """

    pixels: NDArray[np.uint8]
    aspects: NDArray[np.float64]
    paths: list[str]

    def weights(self, of_folders: dict[str, float]) -> NDArray[np.float64]:
        """How often each is to be drawn; they sum to one."""
        of_each = np.array([of_folders[_folder(path)] for path in self.paths])
        return of_each / of_each.sum()


def load_photos(data: Path, paths: list[str], cache: Path) -> Photos:
    """Photographs at ``paths`` below ``data``; read from ``cache`` where that holds them.

    A path ``drawn/FAMILY/MEMBER/SEED`` stands for a drawn picture.
    """
    file, names = cache / "pixels.npy", cache / "paths.txt"
    if not names.exists() or names.read_text(encoding="utf-8").split("\n") != paths:
        _fill(data, paths, cache)
        names.write_text("\n".join(paths), encoding="utf-8")
    aspects = np.load(cache / "aspects.npy")
    return Photos(np.load(file, mmap_mode="r"), aspects, paths)


def _fill(data: Path, paths: list[str], cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((len(paths), SOURCE_SIDE, SOURCE_SIDE, 3), dtype=np.uint8)
    aspects = np.empty(len(paths))
    for row, path in enumerate(paths):
        upright = _read(data, path)
        aspects[row] = upright.width / upright.height
        pixels[row] = np.asarray(upright.resize((SOURCE_SIDE,) * 2, Image.Resampling.BOX))
    np.save(cache / "aspects.npy", aspects)
    np.save(cache / "pixels.npy", pixels)


def _read(data: Path, path: str) -> Image.Image:
    if path.startswith(DRAWN):
        family, member, seed = (int(part) for part in path.removeprefix(DRAWN).split("/"))
        return draw_graphic(family, member, seed)
    with Image.open(data / path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _folder(path: str) -> str:
    return "drawn" if path.startswith(DRAWN) else "/".join(path.split("/")[:2])
