"""The split of the photographs into training and test: ``python -m training.copydetect.split``.

By photograph, before anything else; pictures of one subject stay together. A quarter of each
folder of ``photos`` is held out; ``photos_train`` is all training.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections import defaultdict
from pathlib import Path

SPLIT = Path(__file__).with_name("split.csv")
_SHARE = 0.26
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def read_split(part: str) -> list[str]:
    """Paths below the data folder of ``train`` or ``test``, sorted."""
    with SPLIT.open(encoding="utf-8", newline="") as file:
        return sorted(row["path"] for row in csv.DictReader(file) if row["part"] == part)


def write_split(data: Path, seed: str) -> dict[str, int]:
    """Draw the split and write ``split.csv``; how many photographs each part has."""
    paths = [
        path.relative_to(data).as_posix()
        for folder in ("photos", "photos_train")
        for path in sorted((data / folder).rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    ]
    groups: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        groups[_folder(path)].add(_unit(data, path))
    held = set()
    for folder, units in groups.items():
        if folder.startswith("photos/"):
            drawn = sorted(units, key=lambda unit: hashlib.sha256((seed + unit).encode()).digest())
            held.update(drawn[: round(_SHARE * len(drawn))])
    parts = {path: "test" if _unit(data, path) in held else "train" for path in paths}
    with SPLIT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "part"])
        writer.writerows(sorted(parts.items()))
    return {part: list(parts.values()).count(part) for part in ("train", "test")}


def _folder(path: str) -> str:
    return "/".join(path.split("/")[:2])


def _unit(data: Path, path: str) -> str:
    """What must not be torn apart: a photograph, or all of one subject."""
    if not path.startswith("photos/dreambooth_subjects"):
        return path
    return f"photos/dreambooth_subjects/{_subjects(data)[path]}"


def _subjects(data: Path) -> dict[str, str]:
    folder = "photos/dreambooth_subjects"
    with (data / folder / "subjects.csv").open(encoding="utf-8", newline="") as file:
        return {f"{folder}/{row['file']}": row["subject"] for row in csv.DictReader(file)}


def main() -> None:
    """Write the split of the photographs below ``--data``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", default="winnow-copydetect-1|")
    options = parser.parse_args()
    print(write_split(options.data, options.seed))  # noqa: T201


if __name__ == "__main__":
    main()
