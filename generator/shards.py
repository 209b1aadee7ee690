"""Reads Winnow's shards as training data: WebDataset tars and the index beside them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from generator.data import Picture, Size

_LEVELS = ("tags", "short", "medium", "long", "prompt")
_LANGUAGES = ("en", "zh")


class ShardError(ValueError):
    """A shard or its index that cannot be read; the message says which."""


@dataclass(frozen=True)
class _Sample:
    """One sample, as the index has it."""

    tar: Path
    key: str
    extension: str
    item_id: int
    size: Size


class Shards:
    """The samples of a folder of shards.

    Tars are read where they lie: the headers of each once, then a sample's bytes alone.

    Args:
        index: Path of ``index.json``; the tars are beside it.
        weights: By ``item_id``, 0 or more; ``None``: all 1. An item that is not named has 0.
        levels: Levels of captions to choose from, each as likely.
        languages: Languages, likewise.

    Raises:
        ShardError: If the index is missing or is not one, or a tar that it names is missing.
        ValueError: If a level or language is not known.
    """

    def __init__(
        self,
        index: str | Path,
        weights: Mapping[int, float] | None = None,
        levels: Sequence[str] = _LEVELS,
        languages: Sequence[str] = _LANGUAGES,
    ) -> None:
        for name, given, known in (("level", levels, _LEVELS), ("language", languages, _LANGUAGES)):
            if not given or set(given) - set(known):
                raise ValueError(f"a caption's {name} must be of {known}, got {tuple(given)}")
        self._names = [(language, level) for language in languages for level in levels]
        self._samples = _read_index(Path(index))
        self._weights = weights
        self._members: dict[Path, dict[str, tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def size(self, index: int) -> Size:
        """See :class:`generator.data.DataSet`."""
        return self._samples[index].size

    def weight(self, index: int) -> float:
        """See :class:`generator.data.DataSet`."""
        if self._weights is None:
            return 1.0
        return self._weights.get(self._samples[index].item_id, 0.0)

    def item_id(self, index: int) -> int:
        """The stable id of an item."""
        return self._samples[index].item_id

    def record(self, index: int) -> dict[str, Any]:
        """The JSON beside an image: captions, signals, provenance."""
        sample = self._samples[index]
        return json.loads(self._bytes(sample, "json"))

    def captions(self, index: int) -> list[str]:
        """Captions of the levels and languages asked for; alt text where there are none."""
        record = self.record(index)
        captions = record.get("captions") or {}
        found = [(captions.get(language) or {}).get(level) for language, level in self._names]
        return [text for text in found if text] or [record.get("alt_text") or ""]

    def load(self, index: int, draw: np.random.Generator) -> tuple[Picture, str]:
        """See :class:`generator.data.DataSet`; alt text where there is no caption.

        Raises:
            ShardError: If the image cannot be decoded.
        """
        sample = self._samples[index]
        data = self._bytes(sample, sample.extension)
        try:
            with Image.open(io.BytesIO(data)) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ShardError(
                f"{sample.tar}: {sample.key}.{sample.extension} cannot be decoded: {error}"
            ) from error
        known = self.captions(index)
        return np.asarray(upright), known[int(draw.integers(len(known)))]

    def _bytes(self, sample: _Sample, extension: str) -> bytes:
        if sample.tar not in self._members:
            self._members[sample.tar] = _scan(sample.tar)
        place = self._members[sample.tar].get(f"{sample.key}.{extension}")
        if place is None:
            raise ShardError(f"{sample.tar} lacks {sample.key}.{extension}, which the index names")
        with sample.tar.open("rb") as file:
            file.seek(place[0])
            data = file.read(place[1])
        if len(data) < place[1]:
            raise ShardError(f"{sample.tar} ends inside {sample.key}.{extension}: fetch it again")
        return data


def read_weights(path: str | Path) -> dict[int, float]:
    """Weights from a Parquet file or folder with columns ``item_id`` and ``weight``."""
    import pyarrow.parquet as pq

    table = pq.read_table(str(path), columns=["item_id", "weight"])
    return dict(zip(table["item_id"].to_pylist(), table["weight"].to_pylist(), strict=True))


def _read_index(path: Path) -> list[_Sample]:
    try:
        index = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ShardError(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ShardError(f"{path} is not JSON: {error}") from None
    if not isinstance(index, dict) or index.get("format") != "webdataset":
        raise ShardError(f"{path} is not the index of WebDataset shards")
    samples = []
    for shard in index["shards"]:
        tar = path.parent / shard["shard"]
        if not tar.is_file():
            raise ShardError(f"{tar} is missing, which {path.name} names")
        samples += [_sample(tar, entry) for entry in shard["samples"]]
    return samples


def _sample(tar: Path, entry: Mapping[str, Any]) -> _Sample:
    size = (entry["height"], entry["width"])
    return _Sample(tar, entry["key"], entry["extension"], entry["item_id"], size)


def _scan(tar: Path) -> dict[str, tuple[int, int]]:
    """Where each member's bytes are, and how many."""
    try:
        with tarfile.open(tar) as opened:
            return {each.name: (each.offset_data, each.size) for each in opened if each.isfile()}
    except tarfile.TarError as error:
        raise ShardError(f"{tar} is not a whole tar: {error}. Fetch it again") from error
