"""Writes ten images of the demo, with all their captions, into docs/captions.md.

What stands above the marker in that file stays as it is.

    python bench/captions_docs.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

# This folder would hide the packages of the repository behind its files.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from PIL import Image

MARKER = "<!-- Below: written by bench/captions_docs.py -->"
SIDE = 320
#: Images of ``winnow demo``, all drawn by it, and whether their own alt text goes with them.
CHOSEN = (
    ("poster-poster-00", False),
    ("poster-poster-05", False),
    ("poster-street-00", False),
    ("poster-shop-01", False),
    ("poster-menu-02", True),
    ("poster-book-00", True),
    ("poster-notice-01", False),
    ("poster-vertical-00", False),
    ("scene-forest-01", True),
    ("scene-dunes-00", True),
)


def section(name: str, path: Path, alt: str | None, folder: Path) -> str:
    """One image as Markdown; its small copy is written to ``folder``."""
    from captioning.caption import LANGUAGES, LEVELS
    from pipeline.captions import caption_files

    (captioned,) = caption_files([str(path)], alt_text=alt)
    if captioned.result is None:
        raise SystemExit(f"{path}: {captioned.failure}")
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(folder / f"{name}.jpg", quality=80)
    rows = [
        f"| {language} {level} | {_cell(captioned.result.captions.get(language, level))} |"
        for language in LANGUAGES
        for level in LEVELS
    ]
    checks = captioned.result.checks
    quoted = (
        "no text was read"
        if checks.ocr_coverage is None
        else (f"lines of text read: {checks.ocr_lines}, {checks.ocr_coverage:.0%} of them quoted")
    )
    flags = ", ".join(captioned.result.flags) or "all checks passed"
    return "\n".join(
        [
            f"### {name}",
            "",
            f"![{name}, drawn by the demo](captions/{name}.jpg)",
            "",
            f"Alt text: {alt or 'none'}. Checks: {quoted}; {flags}.",
            "",
            "| caption | |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Draw the demo's images, caption ten, write the file."""
    from pipeline.demo import write_sample_set

    place = ROOT / "docs" / "captions.md"
    folder = ROOT / "docs" / "captions"
    folder.mkdir(exist_ok=True)
    set_folder = Path(tempfile.mkdtemp())
    write_sample_set(set_folder)
    sections = []
    for name, with_alt in CHOSEN:
        found = [p for p in set_folder.rglob(f"{name}.*") if p.suffix not in {".txt", ".json"}]
        if not found:
            raise SystemExit(f"the demo has no image {name}")
        sections.append(section(name, found[0], _alt(found[0]) if with_alt else None, folder))
    head = place.read_text("utf-8").split(MARKER)[0]
    place.write_text(f"{head}{MARKER}\n\n" + "\n".join(sections), encoding="utf-8")


def _alt(path: Path) -> str | None:
    """The caption that the demo wrote beside an image."""
    text = path.with_suffix(".txt")
    if text.is_file():
        return text.read_text("utf-8").strip()
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    fields = json.loads(beside.read_text("utf-8"))
    return next((str(v) for k, v in fields.items() if k in {"caption", "alt_text", "alt"}), None)


if __name__ == "__main__":
    main()
