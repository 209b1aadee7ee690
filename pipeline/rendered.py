"""Writes rendered texts with exact truth: images, a list that ``ingest`` reads, and the pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import Any

from PIL import Image

from captioning.caption import LANGUAGES
from captioning.rendered import ATTRIBUTES, Attribute, Poster, changes, describe, instruct
from captioning.rendered_posters import draw, draw_lots, font_names
from pipeline.demo.canvas import font_path
from stages.contract import ConfigurationError

#: A list in the form that ``ingest`` reads: give it as the source.
IMAGES = "images.jsonl"
PAIRS = "pairs.jsonl"


@dataclass(frozen=True)
class Rendered:
    """What was written.

    Args:
        images: How many images.
        pairs: How many ordered pairs: per group N(N+1).
        source: The list of images, to be given as a source.
    """

    images: int
    pairs: int
    source: Path


def render_pairs(
    folder: Path,
    count: int,
    seed: int = 0,
    *,
    edits: int = 3,
    attributes: Sequence[Attribute] = ATTRIBUTES,
    fonts: Sequence[Path] = (),
) -> Rendered:
    """Draw groups of versions of one image into a folder.

    ``images.jsonl`` names every image with a caption, its ``edit_group`` and its truth under
    ``rendered``; ``pairs.jsonl`` holds all ordered pairs of every group with the exact
    instruction in both languages. The same arguments give the same bytes.

    Args:
        folder: Where to; new or empty.
        count: How many groups.
        seed: Of all choices.
        edits: Versions beside the source in each group.
        attributes: What edits may change.
        fonts: Font files besides those that come along.

    Raises:
        ConfigurationError: If the folder holds something, or fonts or attributes do not do.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is not empty: give a new folder")
    unknown = [name for name in attributes if name not in ATTRIBUTES]
    if unknown or not attributes:
        raise ConfigurationError(
            f"attributes must be among {', '.join(ATTRIBUTES)}, got {', '.join(unknown) or 'none'}"
        )
    try:
        found = font_names([font_path("Sans"), font_path("Serif"), *fonts])
        groups = list(
            islice(draw_lots(found, seed, edits=edits, attributes=list(attributes)), count)
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    images, pairs = [], []
    for number, group in enumerate(groups):
        names = [f"{number:06d}-{version}.png" for version in range(len(group))]
        for name, poster in zip(names, group, strict=True):
            Image.fromarray(draw(poster, found)).save(folder / name, optimize=False)
            images.append(_image(name, f"{seed}-{number:06d}", poster))
        pairs += [
            _pair(names[source], names[target], group[source], group[target])
            for source, target in permutations(range(len(group)), 2)
        ]
    _write(folder / IMAGES, images)
    _write(folder / PAIRS, pairs)
    return Rendered(len(images), len(pairs), folder / IMAGES)


def _image(name: str, group: str, poster: Poster) -> dict[str, Any]:
    return {
        "path": name,
        "caption": describe(poster, "en"),
        "caption_zh": describe(poster, "zh"),
        "edit_group": group,
        "rendered": poster.to_json(),
    }


def _pair(source: str, target: str, before: Poster, after: Poster) -> dict[str, Any]:
    return {
        "source": source,
        "target": target,
        **{f"instruction_{language}": instruct(before, after, language) for language in LANGUAGES},
        "changes": [
            {
                "text": number,
                "attribute": attribute,
                "before": getattr(before.texts[number], attribute),
                "after": getattr(after.texts[number], attribute),
            }
            for number, attribute in changes(before, after)
        ],
    }


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
