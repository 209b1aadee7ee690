"""Pictures with known text, for the OCR engines' tests."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

DATA = Path(__file__).parent / "data"

Pixels = npt.NDArray[np.uint8]


def fixture(name: str) -> Pixels:
    """A picture from ``data``: ``sale`` or ``vertical``, rendered once with Noto Sans CJK."""
    with Image.open(DATA / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))


def written(
    lines: list[str],
    ink: tuple[int, int, int] = (0, 0, 0),
    paper: tuple[int, int, int] = (255, 255, 255),
    size: tuple[int, int] = (480, 320),
) -> Pixels:
    """Lines of Latin text under each other, in Pillow's own font."""
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(36)
    for number, text in enumerate(lines):
        draw.text((30, 25 + 70 * number), text, fill=ink, font=font)
    return np.asarray(image)


def blank(grey: int = 255, size: tuple[int, int] = (320, 240)) -> Pixels:
    """A picture of nothing."""
    return np.full((size[1], size[0], 3), grey, np.uint8)
