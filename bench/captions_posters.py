"""Posters with known text for ``bench/captions.py``, and what OCR reads in them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from captioning.ocr.lines import Line

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    ROOT / "pipeline" / "demo" / "fonts",
    Path("/usr/share/fonts"),
    Path("/Library/Fonts"),
    Path("C:/Windows/Fonts"),
)
#: What is left out: symbols, and faces that are hardly read by people.
LEFT_OUT = ("math", "mono", "extralight", "symbol", "emoji", "icon", "narrow")
ENGLISH = (
    "Grand Opening", "Open 9 to 5", "Fresh Bread Daily", "No Parking", "Summer Sale", "Exit 12",
    "Meet the author", "Tickets at the door", "Live Jazz Tonight", "Mind the step", "Room 204",
    "Free Wi-Fi", "Keep off the grass", "Tel. 020 7946 0958", "Admission free", "Buy two, pay one",
    "The Blue Door", "Platform 3", "Since 1987", "Saturday and Sunday", "50% off", "Please ring",
)  # fmt: skip
SIZES = ((400, 540), (540, 400), (460, 460), (600, 340))
_STEEPEST = 15.0


@dataclass(frozen=True)
class Poster:
    """A drawn image and the lines that stand in it."""

    pixels: np.ndarray
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ReadPoster:
    """A poster, what was read in it, and in how many seconds; 0 where it was read before."""

    poster: Poster
    read: tuple[Line, ...]
    seconds: float


@lru_cache(maxsize=1)
def fonts() -> tuple[list[Path], dict[str, list[Path]]]:
    """Font files for Latin text, and for each Chinese line those that hold all of it.

    Raises:
        SystemExit: If no font holds a Chinese line.
    """
    known = chinese_lines()
    found = [
        path
        for folder in FOLDERS
        for path in sorted(folder.rglob("*.[to]t[fc]") if folder.is_dir() else ())
        if not any(word in path.stem.lower() for word in LEFT_OUT)
    ]
    held = {path: _letters(path, "".join(known)) for path in found}
    chinese = {line: [path for path in found if set(line) <= held[path]] for line in known}
    chinese = {line: paths for line, paths in chinese.items() if paths}
    if not chinese:
        raise SystemExit("no font with Chinese characters found")
    return found, chinese


def _letters(path: Path, text: str) -> set[str]:
    """The characters of a text that a font holds."""
    font = ImageFont.truetype(str(path), 24)
    missing = bytes(font.getmask("\uffff"))
    return {x for x in set(text) if x.isspace() or bytes(font.getmask(x)) != missing}


def chinese_lines() -> list[str]:
    """The Chinese lines of the demo's posters: its fonts hold just their characters."""
    texts = json.loads((ROOT / "pipeline" / "demo" / "texts.json").read_text("utf-8"))
    every = [
        line
        for entries in texts.values()
        for entry in entries
        for line in (entry["title"], entry["second"], *entry["lines"])
    ]
    return sorted({x for x in every if sum("\u4e00" <= c <= "\u9fff" for c in x) >= 2})


def poster(number: int, seed: int) -> Poster:
    """One poster: lines of one or both scripts under each other, then turned."""
    lots = random.Random(f"{seed}:{number}")
    latin, chinese = fonts()
    size = lots.choice(SIZES)
    dark = lots.random() < 0.4
    low, high = (0, 70) if dark else (190, 255)
    paper = tuple(lots.randint(low, high) for _ in range(3))
    ink = tuple(lots.randint(*((215, 255) if dark else (0, 60))) for _ in range(3))
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    script = lots.choice(("en", "zh", "both"))
    top, lines = float(lots.randint(30, 60)), []
    for _ in range(lots.randint(1, 5)):
        han = script == "zh" or (script == "both" and lots.random() < 0.5)
        text = lots.choice(sorted(chinese) if han else ENGLISH)
        font = _fitting(lots.choice(chinese[text] if han else latin), text, lots, size[0])
        stroke = lots.choice((0, 0, 1))  # a heavier face of the same font
        left, up, right, down = pen.textbbox((0, 0), text, font=font, stroke_width=stroke)
        if text in lines or top + down - up > size[1] - 30:
            continue
        x = lots.choice((36.0, (size[0] - right + left) / 2))
        pen.text((x - left, top - up), text, font=font, fill=ink, stroke_width=stroke)
        lines.append(text)
        top += down - up + lots.randint(14, 34)
    if lots.random() < 0.6:
        angle = lots.uniform(-_STEEPEST, _STEEPEST)
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
    return Poster(np.asarray(image), tuple(lines))


def _fitting(path: Path, text: str, lots: random.Random, width: int) -> ImageFont.FreeTypeFont:
    size = lots.randint(22, 60)
    font = ImageFont.truetype(str(path), size)
    while font.getlength(text) > width - 76 and size > 12:
        size -= 2
        font = ImageFont.truetype(str(path), size)
    return font


def read_posters(count: int, seed: int, folder: Path, workers: int) -> list[ReadPoster]:
    """Draw posters and read them, in some processes; what was read before is not read again.

    Args:
        count: How many.
        seed: Decides what is drawn.
        folder: Where readings are kept, one small file each, by pixels and reader.
        workers: Processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    started = shown = time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        for each in pool.map(partial(_read_poster, seed, folder), range(count)):
            found.append(each)
            if time.monotonic() - shown > 15 or len(found) == count:
                shown = time.monotonic()
                seconds = shown - started
                print(f"{len(found)} of {count} posters in {seconds:.0f} s", file=sys.stderr)
    return found


def _read_poster(seed: int, folder: Path, number: int) -> ReadPoster:
    drawn = poster(number, seed)
    name = hashlib.sha256(f"{_reader()}{drawn.pixels.shape}".encode() + drawn.pixels.tobytes())
    path = folder / f"{name.hexdigest()[:32]}.json"
    if path.is_file():
        rows = json.loads(path.read_text("utf-8"))
        return ReadPoster(drawn, tuple(map(Line.from_row, rows)), 0.0)
    started = time.perf_counter()
    lines = _engine().read([drawn.pixels])[0]
    seconds = time.perf_counter() - started
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps([line.to_row() for line in lines], ensure_ascii=False), "utf-8")
    part.replace(path)
    return ReadPoster(drawn, tuple(lines), seconds)


@lru_cache(maxsize=1)
def _reader() -> str:
    """What tells this reader from others: packages, settings and the code around them."""
    from stages.ocr import OcrSettings

    code = sorted((ROOT / "captioning" / "ocr").glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    return f"{version('rapidocr')} {OcrSettings().fingerprint_fields()} {digest}"


@lru_cache(maxsize=1)
def _engine():  # noqa: ANN202 - imported late
    from stages.ocr import OcrSettings, make_engine

    return make_engine(OcrSettings())


def sheet(drawn: Sequence[Poster], path: Path) -> None:
    """The first twenty posters side by side."""
    page = Image.new("RGB", (5 * 300, 4 * 300), "white")
    for number, each in enumerate(drawn[:20]):
        picture = Image.fromarray(each.pixels)
        picture.thumbnail((290, 290))
        page.paste(picture, (300 * (number % 5) + 5, 300 * (number // 5) + 5))
    page.save(path)
