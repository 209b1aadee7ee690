"""Sets of pictures with known copies: made from held-out photographs, and found ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.copyscore import Row


@dataclass(frozen=True)
class CopySet:
    """Pictures and what they are copies of.

    Args:
        name: What to call it.
        folder: Where ``files`` lie.
        truth: One row a picture: ``file``, ``group`` (``None`` without copies) and more.
    """

    name: str
    folder: Path
    truth: list[Row]

    @property
    def files(self) -> list[Path]:
        """The pictures, in the order of ``truth``."""
        return [self.folder / row["file"] for row in self.truth]

    @property
    def groups(self) -> list[str | None]:
        """The group of each."""
        return [row["group"] for row in self.truth]


def link_photos(data: Path, paths: Sequence[str], folder: Path) -> list[Path]:
    """Link photographs ``photos/SET/.../NAME`` as ``folder/SET/NAME``; the folders made."""
    for path in paths:
        link = folder / path.split("/")[1] / Path(path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((data / path).resolve())
    return sorted(part for part in folder.iterdir() if part.is_dir())


def make_copies(
    tool: Path, sources: Sequence[Path], hard: Sequence[Path], out: Path, seed: str, counts: Row
) -> CopySet:
    """Run make_neardups.py, or read what an earlier run left in ``out``.

    Args:
        tool: Path of make_neardups.py.
        sources: Folders of photographs.
        hard: Folders of photographs that look alike but are no copies.
        out: Where to.
        seed: Of the tool.
        counts: ``sources``, ``copies`` and ``distractors``.

    Raises:
        RuntimeError: If the tool fails, with what it said.
    """
    truth = out / "truth.jsonl"
    if not truth.exists():
        command = [sys.executable, str(tool), "--out", str(out), "--seed", seed]
        for name, folders in (("--src", sources), ("--hard", hard)):
            command += [part for folder in folders for part in (name, str(folder))]
        command += [part for name, n in counts.items() for part in (f"--{name}", str(n))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{tool} failed: {(done.stdout + done.stderr).strip()[-2000:]}")
    return CopySet(seed, out, _lines(truth))


def found_copies(folder: Path) -> CopySet:
    """The near-copies as found, ``neardup_real``; only ``near_duplicate`` makes a group."""
    rows = _lines(folder / "truth.jsonl")
    for row in rows:
        if row["relation"] != "near_duplicate":
            row["group"] = None
    return CopySet("as found", folder, rows)


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
