"""Helpers of the tests that run the whole line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from pipeline.config import Config, parse_config
from stages.corpus import Corpus
from stages.schemas import TABLES
from stages.storage import Storage


def config_for(source: str | list[dict[str, Any]], corpus: str, **sections: Any) -> Config:
    """A small run in this process, over small partitions."""
    raw: dict[str, Any] = {
        "corpus": corpus,
        "source": {"uri": source} if isinstance(source, str) else source,
        "run": {"executor": "local", "max_quarantine": 1.0},
        "ingest": {"partition_items": 16},
        # Soft blobs are more alike than photographs: up to 0.89.
        "dedup": {"threshold": 0.95},
        "shard": {"max_samples": 20},
    }
    for name, values in sections.items():
        raw[name] = {**raw.get(name, {}), **values} if isinstance(values, dict) else values
    return parse_config(raw, "test")


def picture(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture unlike those of other seeds: random soft blobs."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = (int(random.integers(0, side)) for side in size)
        colour = tuple(int(each) for each in random.integers(0, 256, 3))
        draw.ellipse((x - 20, y - 14, x + 20, y + 14), fill=colour)
    return image


def write_pictures(folder: Path, count: int = 24) -> None:
    """A folder with what the line has to tell apart: copies, near copies, junk, text."""
    folder.mkdir(parents=True)
    for seed in range(count):
        picture(seed).save(folder / f"photo_{seed:03d}.jpg", quality=92)
    (folder / "photo_000.txt").write_text("A soft picture of coloured blobs")
    (folder / "photo_001.txt").write_text("柔和的彩色图案")
    (folder / "copy_000.jpg").write_bytes((folder / "photo_000.jpg").read_bytes())
    picture(1).save(folder / "near_001.jpg", quality=70)
    picture(2).resize((120, 90)).save(folder / "near_002.png")
    text = Image.new("RGB", (320, 120), "white")
    ImageDraw.Draw(text).text((20, 40), "OPEN DAILY 9-18", fill="black", font_size=30)
    text.save(folder / "sign.png")
    Image.new("RGB", (20, 20), "red").save(folder / "tiny.png")
    (folder / "broken.jpg").write_bytes((folder / "photo_003.jpg").read_bytes()[:900])
    (folder / "empty.png").write_bytes(b"")
    (folder / "labels.csv").write_text("file,label\nphoto_000.jpg,blob\n")


def tables(uri: str, storage: Storage | None = None) -> dict[str, dict[str, pa.Table]]:
    """All rows of a corpus: per table and partition file."""
    storage = storage or Storage()
    corpus = Corpus(uri, storage)
    found: dict[str, dict[str, pa.Table]] = {}
    for name in (*TABLES, "quarantine"):
        for info in storage.files(corpus.place(name)):
            path = str(info.path)
            if path.endswith(".parquet") and "/_" not in path:
                import pyarrow.parquet as pq

                filesystem, _ = storage.locate(corpus.uri)
                part = path.split(f"/{name}/", 1)[1]
                found.setdefault(name, {})[part] = pq.read_table(
                    path, filesystem=filesystem, partitioning=None
                )
    return found


def shard_bytes(uri: str) -> dict[str, bytes]:
    """The shards of a local corpus, byte for byte."""
    folder = Path(uri) / "shards"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted([*folder.glob("*.tar"), *folder.glob("index.json")])
    }
