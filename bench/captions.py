r"""Captions of rendered posters with known text: coverage, invented text and purity a backend.

Posters are drawn here: English, Chinese and both, one to five lines, every font found on this
machine, turned by up to 15 degrees; the same seed draws the same posters. Text is read by the
embedded OCR models, then captioned, and measured against what was read and what was drawn:

- ``coverage``: lines read with confidence >= 0.8 that are verbatim in both long captions; and
  in each of the two, ``en_coverage`` and ``zh_coverage``. All must be 1.
- ``asked``: the same before repair; ``truth``: drawn lines that are in both long captions.
- ``invented``: images with a quotation that nobody read. ``purity``: least share of a caption's
  words in its own script, outside quotations. ``flagged``: images with any failed check.

Readings are kept under ``--cache``, by pixels, models and code: a run with another backend, or
one that was cut short, does not read them again.

    python bench/captions.py                           # composer, 40 posters
    python bench/captions.py --posters 500 --workers 2
    python bench/captions.py --backend openai --set base_url=http://localhost:8000/v1 \
        --set model=Qwen/Qwen3-VL-8B-Instruct --set concurrency=16
    python bench/captions.py --in-flight 16            # requests in flight, counted at a server
    python bench/captions.py --sheet posters.png       # look at what is drawn
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

# This folder would hide the packages of the repository behind its files.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.captions_in_flight import in_flight
from bench.captions_posters import ReadPoster, poster, read_posters, sheet

if TYPE_CHECKING:
    from captioning.chain import CaptionResult

_CACHE = Path(tempfile.gettempdir()) / "winnow-bench-captions"


def measure(drawn: Sequence[ReadPoster], settings: dict[str, Any]) -> dict[str, Any]:
    """Caption the posters; the figures of one backend."""
    from captioning.caption import CaptionError, CaptionRequest
    from captioning.chain import CaptionResult, caption_image
    from pipeline.captions import caption_settings
    from stages.captioners import check_captioner, make_backend

    chosen = caption_settings(settings)
    check_captioner(chosen)
    backend = make_backend(chosen)

    def one(numbered: tuple[int, ReadPoster]) -> CaptionResult | CaptionError:
        number, each = numbered
        try:
            request = CaptionRequest(each.poster.pixels, each.read, seed=str(number))
            return caption_image(backend, request)
        except CaptionError as error:
            return error

    started = time.perf_counter()
    with ThreadPoolExecutor(chosen.concurrency) as pool:
        results = list(pool.map(one, enumerate(drawn)))
    seconds = time.perf_counter() - started
    good = [
        (each, result)
        for each, result in zip(drawn, results, strict=True)
        if isinstance(result, CaptionResult)
    ]
    read = [each.seconds for each in drawn if each.seconds]
    return {
        "backend": backend.name,
        "posters": len(drawn),
        "captioned": len(good),
        **_coverage(good),
        **_faults([result for _, result in good]),
        "read_now": len(read),
        "ocr_seconds_a_poster": round(sum(read) / len(read), 3) if read else None,
        "caption_images_per_s": round(len(drawn) / seconds, 2),
    }


def _coverage(good: Sequence[tuple[ReadPoster, CaptionResult]]) -> dict[str, Any]:
    """How much of what was read, and of what was drawn, is quoted."""
    from captioning.checks import missing_lines

    results = [result for _, result in good]
    confident = sum(result.checks.ocr_lines for result in results)
    drawn = [
        not missing_lines(result.captions.en_long, [line])
        and not missing_lines(result.captions.zh_long, [line])
        for each, result in good
        for line in each.poster.lines
    ]

    def quoted(share: str) -> float | None:
        total = sum((getattr(r.checks, share) or 0) * r.checks.ocr_lines for r in results)
        return _share(total, confident)

    return {
        "lines_drawn": len(drawn),
        "lines_read": confident,
        "coverage": quoted("ocr_coverage"),
        "en_coverage": quoted("en_ocr_coverage"),
        "zh_coverage": quoted("zh_ocr_coverage"),
        "asked": _share(
            sum((r.first_coverage or 0) * r.checks.ocr_lines for r in results), confident
        ),
        "truth": _share(sum(drawn), len(drawn)),
    }


def _faults(results: Sequence[CaptionResult]) -> dict[str, Any]:
    checks = [result.checks for result in results]
    return {
        "invented": _share(sum(bool(each.invented_text) for each in checks), len(checks)),
        "names": _share(sum(bool(each.unknown_names) for each in checks), len(checks)),
        "en_purity": min((each.en_purity for each in checks), default=0.0),
        "zh_purity": min((each.zh_purity for each in checks), default=0.0),
        "flagged": _share(sum(bool(each.flags) for each in checks), len(checks)),
        "flags": sorted({flag for each in checks for flag in each.flags}),
    }


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def main() -> None:
    """Draw, read, caption, print, compare with the bound."""
    import yaml

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--posters", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw and read")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="where readings are kept")
    parser.add_argument("--backend", default="composer")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--in-flight", type=int, metavar="N", help="count requests at a server")
    parser.add_argument("--sheet", type=Path, help="only draw, and show the first twenty")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments.sheet:
        sheet([poster(number, arguments.seed) for number in range(20)], arguments.sheet)
        return
    if arguments.in_flight:
        figures = in_flight(arguments.in_flight, 12 * arguments.in_flight)
        print(json.dumps(figures, indent=2))
        mean, most = figures["at_the_server_mean"], figures["at_the_server_most"]
        if mean < 0.9 * arguments.in_flight or most > arguments.in_flight:
            raise SystemExit("requests in flight: the bounds are 0.9 N on average and N at most")
        return
    pairs = (each.split("=", 1) for each in arguments.set)
    settings = {"backend": arguments.backend, **{k: yaml.safe_load(v) for k, v in pairs}}
    drawn = read_posters(arguments.posters, arguments.seed, arguments.cache, arguments.workers)
    figures = measure(drawn, settings)
    print(json.dumps(figures, ensure_ascii=False, indent=2))
    short = {n: figures[n] for n in ("coverage", "en_coverage", "zh_coverage")}
    if any(value not in (None, 1.0) for value in short.values()):
        raise SystemExit(f"coverage of lines read is {short}, the bound is 1.0")


if __name__ == "__main__":
    main()
