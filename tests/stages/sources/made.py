"""Small images and tars made on the spot, and the whole of ingest over any source."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from stages.batches import update_plans
from stages.contract import Quarantined
from stages.corpus import Corpus, Partition
from stages.ingest import IngestSettings, IngestStage
from stages.sources import SourceSettings
from stages.storage import Storage


def picture(seed: int = 0, size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A smooth picture with some noise, different for every seed."""
    rng = np.random.default_rng(seed)
    width, height = size
    ramp = np.linspace(0, 200, width)[None, :, None] * rng.random(3)
    pixels = ramp + np.linspace(0, 55, height)[:, None, None] + rng.integers(0, 8, (1, 1, 3))
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encoded(seed: int = 0, kind: str = "JPEG", **options: Any) -> bytes:
    """The picture of a seed as a file."""
    sink = io.BytesIO()
    size = options.pop("size", (48, 32))
    picture(seed, size, options.pop("mode", "RGB")).save(sink, kind, **options)
    return sink.getvalue()


def tar_of(members: Iterable[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar with these members."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


@dataclass
class Result:
    """What ingest made of a source."""

    candidates: pa.Table
    rows: list[dict[str, Any]]
    quarantined: list[Quarantined]

    @property
    def reasons(self) -> dict[str, str]:
        """Reason by key of what is quarantined."""
        return {one.key: one.reason.value for one in self.quarantined}

    def row(self, key: str) -> dict[str, Any]:
        """The only row with a key."""
        (found,) = [row for row in self.rows if row["key"] == key]
        return found


def run_ingest(
    corpus: Path | str,
    *sources: SourceSettings,
    partition_items: int = 2048,
    storage: Storage | None = None,
    **settings: Any,
) -> Result:
    """Plan the sources and ingest every partition; every candidate must come back once."""
    storage = storage or Storage()
    home = Corpus(str(corpus), storage)
    stage = IngestStage(IngestSettings(partition_items=partition_items, **settings), storage)
    result = Result(pa.table({}), [], [])
    tables = []
    for plan in update_plans(storage, home.uri, sources, partition_items):
        for part in plan.parts():
            table = stage.load(home, Partition(plan.batch, part))
            output = stage.process(table)
            seen = output.rows["item_id"].to_pylist() + [one.item_id for one in output.quarantined]
            assert sorted(seen) == table["item_id"].to_pylist()
            tables.append(table)
            result.rows += output.rows.to_pylist()
            result.quarantined += output.quarantined
    if tables:
        result.candidates = pa.concat_tables(tables)
    return result
