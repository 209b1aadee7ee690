r"""Captions of rendered posters with known text: coverage, invented text and purity a backend.

Posters are drawn here: English, Chinese and both, one to five lines, every font found on this
machine, turned by up to 12 degrees; the same seed draws the same posters. Text is read by the
embedded OCR models, then captioned, and measured against what was read and what was drawn:

- ``coverage``: lines read with confidence >= 0.8 that are verbatim in both long captions.
  Must be 1.
- ``asked``: the same before repair; ``truth``: drawn lines that are in both long captions.
- ``invented``: images with a quotation that nobody read. ``purity``: least share of a caption's
  words in its own script, outside quotations. ``flagged``: images with any failed check.

    python bench/captions.py                           # composer, 40 posters
    python bench/captions.py --posters 500
    python bench/captions.py --backend openai --set base_url=http://localhost:8000/v1 \
        --set model=Qwen/Qwen3-VL-8B-Instruct --set concurrency=16
    python bench/captions.py --sheet posters.png       # look at what is drawn
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# This folder would hide the packages of the repository behind its files.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


@dataclass(frozen=True)
class Poster:
    """A drawn image and the lines that stand in it."""

    pixels: np.ndarray
    lines: tuple[str, ...]


def fonts(known: list[str]) -> tuple[list[Path], dict[str, list[Path]]]:
    """Font files for Latin text, and for each Chinese line those that hold all of it."""
    found = [
        path
        for folder in FOLDERS
        for path in sorted(folder.rglob("*.[to]t[fc]") if folder.is_dir() else ())
        if not any(word in path.stem.lower() for word in LEFT_OUT)
    ]
    held = {path: _letters(path, "".join(known)) for path in found}
    return found, {line: [path for path in found if set(line) <= held[path]] for line in known}


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


def posters(count: int, seed: int) -> Iterator[Poster]:
    """Posters drawn by lot, each from a seed of its own."""
    latin, chinese = fonts(chinese_lines())
    chinese = {line: paths for line, paths in chinese.items() if paths}
    if not chinese:
        raise SystemExit("no font with Chinese characters found")
    for number in range(count):
        lots = random.Random(f"{seed}:{number}")
        yield draw(lots, latin, chinese)


def draw(lots: random.Random, latin: list[Path], chinese: dict[str, list[Path]]) -> Poster:
    """One poster: lines of one or both scripts under each other, then turned."""
    size = lots.choice(((480, 640), (640, 480), (560, 560), (720, 405)))
    dark = lots.random() < 0.4
    low, high = (0, 70) if dark else (190, 255)
    paper = tuple(lots.randint(low, high) for _ in range(3))
    ink = tuple(lots.randint(*((215, 255) if dark else (0, 60))) for _ in range(3))
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    script = lots.choice(("en", "zh", "both"))
    top, lines = float(lots.randint(45, 80)), []
    for _ in range(lots.randint(1, 5)):
        han = script == "zh" or (script == "both" and lots.random() < 0.5)
        text = lots.choice(sorted(chinese) if han else ENGLISH)
        path = lots.choice(chinese[text] if han else latin)
        font = _fitting(path, text, lots.randint(24, 72), size[0])
        left, up, right, down = pen.textbbox((0, 0), text, font=font)
        if text in lines or top + down - up > size[1] - 50:
            continue
        x = lots.choice((45.0, (size[0] - right + left) / 2))
        pen.text((x - left, top - up), text, font=font, fill=ink)
        lines.append(text)
        top += down - up + lots.randint(16, 40)
    if lots.random() < 0.6:
        angle = lots.uniform(-12, 12)
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
    return Poster(np.asarray(image), tuple(lines))


def _fitting(path: Path, text: str, size: int, width: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(str(path), size)
    while font.getlength(text) > width - 90 and size > 12:
        size -= 2
        font = ImageFont.truetype(str(path), size)
    return font


def measure(drawn: list[Poster], settings: dict[str, Any]) -> dict[str, Any]:
    """Read and caption the posters; the figures of one backend."""
    from captioning.caption import CaptionError, CaptionRequest
    from captioning.chain import CaptionResult, caption_image
    from captioning.checks import missing_lines
    from pipeline.captions import caption_settings
    from stages.captioners import check_captioner, make_backend
    from stages.ocr import OcrSettings, make_engine

    chosen = caption_settings(settings)
    check_captioner(chosen)
    engine, backend = make_engine(OcrSettings()), make_backend(chosen)
    started = time.perf_counter()
    requests = [
        CaptionRequest(each.pixels, engine.read([each.pixels])[0], seed=str(number))
        for number, each in enumerate(drawn)
    ]
    read = time.perf_counter()

    def one(request: CaptionRequest) -> CaptionResult | CaptionError:
        try:
            return caption_image(backend, request)
        except CaptionError as error:
            return error

    with ThreadPoolExecutor(chosen.concurrency) as pool:
        results = list(pool.map(one, requests))
    ended = time.perf_counter()
    good = [
        (poster, request, result)
        for poster, request, result in zip(drawn, requests, results, strict=True)
        if isinstance(result, CaptionResult)
    ]
    confident = sum(len(request.confident_texts) for _, request, _ in good)
    said = [(p, f"{r.captions.en_long}\n{r.captions.zh_long}", r) for p, _, r in good]
    drawn_lines = sum(len(poster.lines) for poster, _, _ in good)
    return {
        "backend": backend.name,
        "posters": len(drawn),
        "captioned": len(good),
        "lines_drawn": drawn_lines,
        "lines_read": confident,
        "coverage": _share(
            sum((r.ocr_coverage or 0) * r.checks.ocr_lines for _, _, r in good), confident
        ),
        "asked": _share(
            sum((r.first_coverage or 0) * r.checks.ocr_lines for _, _, r in good), confident
        ),
        "truth": _share(
            sum(
                not missing_lines(result.captions.en_long, [line])
                and not missing_lines(result.captions.zh_long, [line])
                for poster, _, result in said
                for line in poster.lines
            ),
            drawn_lines,
        ),
        "invented": _share(sum(bool(r.checks.invented_text) for _, _, r in good), len(good)),
        "names": _share(sum(bool(r.checks.unknown_names) for _, _, r in good), len(good)),
        "en_purity": min((r.checks.en_purity for _, _, r in good), default=0.0),
        "zh_purity": min((r.checks.zh_purity for _, _, r in good), default=0.0),
        "flagged": _share(sum(bool(r.checks.flags) for _, _, r in good), len(good)),
        "flags": sorted({flag for _, _, r in good for flag in r.checks.flags}),
        "ocr_images_per_s": round(len(drawn) / (read - started), 2),
        "caption_images_per_s": round(len(drawn) / (ended - read), 2),
    }


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def sheet(drawn: list[Poster], path: Path) -> None:
    """The first twenty posters side by side."""
    page = Image.new("RGB", (5 * 300, 4 * 300), "white")
    for number, poster in enumerate(drawn[:20]):
        picture = Image.fromarray(poster.pixels)
        picture.thumbnail((290, 290))
        page.paste(picture, (300 * (number % 5) + 5, 300 * (number // 5) + 5))
    page.save(path)


def main() -> None:
    """Draw, caption, print, compare with the bound."""
    import yaml

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--posters", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="composer")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--sheet", type=Path, help="only draw, and show the first twenty")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    drawn = list(posters(arguments.posters, arguments.seed))
    if arguments.sheet:
        sheet(drawn, arguments.sheet)
        return
    pairs = (each.split("=", 1) for each in arguments.set)
    settings = {"backend": arguments.backend, **{k: yaml.safe_load(v) for k, v in pairs}}
    figures = measure(drawn, settings)
    print(json.dumps(figures, ensure_ascii=False, indent=2))
    if figures["coverage"] not in (None, 1.0):
        raise SystemExit(f"coverage of lines read is {figures['coverage']}, the bound is 1.0")


if __name__ == "__main__":
    main()
