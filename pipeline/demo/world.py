"""``winnow demo --world``: scenes of known content as a source, the line on it, the truth."""

from __future__ import annotations

import io
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from generator.shards import Shards
from generator.world import Scene, caption, draw, matches, measure_chance, parse, sample_scenes
from generator.world.words import KINDS, LANGUAGES
from pipeline.config import Config, parse_config
from pipeline.demo.run import outcomes_of
from pipeline.report import write_report
from pipeline.runner import Runner
from pipeline.summary import print_result
from stages.contract import ConfigurationError

#: Pixels along the side of a drawing.
SIDE = 64
#: Scenes that are drawn where no number is given.
COUNT = 2000
#: Scenes that no training image shows: captions to ask a generator for.
HELD_OUT = 500
#: Images and captions that are compared with the truth after the run, at most.
_CHECKED = 500
_SCENES = "scenes.jsonl"
_HELD_OUT = "held_out.jsonl"
_NAME = re.compile(r"images/scene-\d{6}\.png")


@dataclass(frozen=True)
class Truths:
    """How many samples in the shards are true to their scene.

    Args:
        samples: Looked at.
        images: The oracle reads the scene in the image.
        captions: By language: the short caption names the scene and no other.
    """

    samples: int
    images: int
    captions: dict[str, int]


def world_config(folder: Path) -> Config:
    """The configuration of the world's run; ``configs/world.yaml`` is the same."""
    raw = {
        "corpus": str(folder / "corpus"),
        "source": {"uri": str(folder / "images"), "kind": "folder"},
        "ingest": {"partition_items": 128},
        # Blue on brown is as light as brown: colour alone tells it from a blank page.
        "filter": {
            "clauses": {
                "min_side": "least(width, height) >= 32",
                "not_blank": "contrast >= 2 or colourfulness >= 5",
            }
        },
        # Scenes that differ in one star are as near as 0.9972; equal ones have equal bytes.
        "dedup": {"threshold": 0.9995},
        # There is no text, but a star reads as one: only certainty would count.
        "ocr": {"min_confidence": 1.0},
        "shard": {"max_samples": 1000},
        "run": {"max_quarantine": 0.0},
    }
    return parse_config(raw, "the world")


def run_world(console: Console, folder: Path, count: int | None, seed: int) -> None:
    """Draw scenes, run the line, print what the shards hold against the truth.

    Args:
        console: Where to print.
        folder: Gets ``images/``, ``scenes.jsonl``, ``held_out.jsonl``, ``config.yaml`` and
            ``corpus/``.
        count: Scenes, at least 1; ``None``: 2,000.
        seed: Of scenes and phrasings.

    Raises:
        ConfigurationError: If the folder holds something else, or there are not so many scenes.
    """
    if folder.is_file() or (folder.is_dir() and _is_foreign(folder)):
        raise ConfigurationError(f"{folder} is not empty and no world: choose another folder")
    started = time.perf_counter()
    try:
        scenes = write_world(folder, COUNT if count is None else count, seed)
    except ValueError as error:
        raise ConfigurationError(f"the world: {error}") from None
    console.print(
        f"world: {len(scenes)} scenes in {escape(str(folder))} "
        f"({time.perf_counter() - started:.1f} s)",
        highlight=False,
        soft_wrap=True,
    )
    config = world_config(folder)
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    runner = Runner(config)
    result = runner.run()
    report = write_report(config, runner.corpus, result.ledger)
    print_result(console, config, result, report)
    statuses = Counter(row["status"] for row in outcomes_of(runner.corpus))
    print_truths(console, statuses, check_shards(folder / "corpus" / "shards" / "index.json"))
    print_chance(console, folder)
    console.print(f"world   done in {time.perf_counter() - started:.1f} s", highlight=False)


def write_world(folder: Path, count: int, seed: int = 0) -> list[Scene]:
    """Write drawings with their sidecars, and what is known of them.

    A drawing is a PNG; its ``.json`` has an English ``caption``, a Chinese ``title``, all
    ``captions`` by language and kind, and the ``scene``. ``scenes.jsonl`` lists the drawings,
    ``held_out.jsonl`` scenes of the other side of the split, with captions and no drawing.

    Args:
        folder: Where to write; made if absent. Drawings of an earlier world are replaced.
        count: Scenes, all of the training side and all different; at least 1.
        seed: Of scenes and phrasings; at least 0.

    Returns:
        The scenes, in the order of their numbers.

    Raises:
        ValueError: If count or seed is out of range.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    scenes = sample_scenes(count, seed, side="train")
    asked = sample_scenes(HELD_OUT, seed, side="held_out")
    rows = [
        {"path": f"images/scene-{number:06d}.png", **_described(scene, (seed, 0, number))}
        for number, scene in enumerate(scenes)
    ]
    _remove_strays(folder, {row["path"] for row in rows})
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for scene, row in zip(scenes, rows, strict=True):
        path = folder / row["path"]
        sidecar = {name: value for name, value in row.items() if name != "path"}
        _put(path.with_suffix(".json"), json.dumps(sidecar, ensure_ascii=False).encode())
        _put(path, _png(scene))
    _put(folder / _SCENES, _lines(rows))
    others = [_described(scene, (seed, 1, number)) for number, scene in enumerate(asked)]
    _put(folder / _HELD_OUT, _lines(others))
    return scenes


def _described(scene: Scene, seed: tuple[int, ...]) -> dict[str, Any]:
    first, second = np.random.default_rng(seed).integers(2**31, size=2).tolist()
    return {
        "caption": caption(scene, "en", seed=first),
        "title": caption(scene, "zh", seed=second),
        "captions": {
            language: {kind: caption(scene, language, kind) for kind in KINDS}
            for language in LANGUAGES
        },
        "scene": scene.to_dict(),
    }


def _png(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw(scene, SIDE)).save(buffer, "PNG")
    return buffer.getvalue()


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def _put(path: Path, data: bytes) -> None:
    """Write, unless it is there already: a second run finds nothing new."""
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def _is_foreign(folder: Path) -> bool:
    return any(folder.iterdir()) and not (folder / _SCENES).is_file()


def _remove_strays(folder: Path, wanted: set[str]) -> None:
    """Remove the drawings of an earlier, larger world, going by its own list."""
    if not (folder / _SCENES).is_file():
        return
    for row in _rows(folder / _SCENES):
        if _NAME.fullmatch(str(row.get("path"))) and row["path"] not in wanted:
            for path in (folder / row["path"], (folder / row["path"]).with_suffix(".json")):
                path.unlink(missing_ok=True)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines():
        yield json.loads(line)


def check_shards(index: Path, most: int = _CHECKED) -> Truths:
    """Compare images and short captions in the shards with the scenes they are of.

    Args:
        index: Path of ``index.json``.
        most: Samples to look at, spread evenly.
    """
    shards = Shards(index)
    chosen = np.unique(np.linspace(0, len(shards) - 1, min(most, len(shards))).astype(int))
    images = 0
    captions: dict[str, int] = dict.fromkeys(LANGUAGES, 0)
    draws = np.random.default_rng(0)
    for number in chosen.tolist():
        record = shards.record(number)
        scene = Scene.from_dict(record["meta"]["scene"])
        image, _ = shards.load(number, draws)
        images += matches(np.asarray(image), scene)
        for language in LANGUAGES:
            captions[language] += _names(record["captions"][language]["short"], scene)
    return Truths(len(chosen), images, captions)


def _names(text: str, scene: Scene) -> bool:
    try:
        return parse(text) == scene
    except ValueError:
        return False


def print_truths(console: Console, statuses: Counter[str], truths: Truths) -> None:
    """What became of the scenes, and what of the shards is true."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    console.print(f"scenes  {counts}", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("in the shards", "true"):
        table.add_column(name)
    table.add_column("of", justify="right")
    table.add_row("images, by the oracle", str(truths.images), str(truths.samples))
    for language, right in truths.captions.items():
        table.add_row(f"captions, {language} short", str(right), str(truths.samples))
    console.print(table)


def print_chance(console: Console, folder: Path) -> None:
    """What answers that know nothing of the held-out captions score."""
    asked = [Scene.from_dict(row["scene"]) for row in _rows(folder / _HELD_OUT)]
    chance = measure_chance(asked)
    console.print(
        f"chance  {chance.strict:.1%} of {chance.count} held-out captions right, "
        f"{chance.attributes:.1%} of their attributes",
        highlight=False,
        soft_wrap=True,
    )
