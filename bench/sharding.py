"""MB/s of the stage ``shard`` against webdataset's ShardWriter on the same samples.

Both write the original bytes and the same JSON. Winnow also reads every image again from its
source, checks its sha256, hashes the tar and writes the index; the writer is handed the bytes.

    python bench/sharding.py
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import webdataset

# This folder holds a dedup.py, which would hide the package ``dedup``.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pipeline.executors import LocalExecutor
from stages.contract import Reads
from stages.corpus import Corpus, Partition
from stages.schemas import CAPTION, DEDUP, ITEMS, OCR, PROFILE, SCORE
from stages.shard import ShardSettings, ShardStage, sample_json, sample_key
from stages.storage import Storage

SAMPLES = 2_000
BYTES = 200_000
ROUNDS = 3
#: Least share of the writer's rate.
BOUND = 0.5


class OneTable(Corpus):
    """A corpus whose joined rows are given: the tables are not what is measured."""

    rows: pa.Table

    def join(self, reads: object, partition: Partition | None = None) -> pa.Table:
        """The given rows."""
        del reads, partition
        return self.rows


def make_rows(folder: Path) -> pa.Table:
    """Rows of incompressible images on disk, as the stage joins them."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(SAMPLES):
        data = random.bytes(BYTES)
        path = folder / f"{number:06d}.jpg"
        path.write_bytes(data)
        rows.append(
            {
                "item_id": number,
                "uri": str(path),
                "key": path.name,
                "length": len(data),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "format": "jpeg",
                "width": 512,
                "height": 512,
                "orientation": 1,
                "en_long": "A landscape-format image, mainly green. " * 4,
                "zh_long": "一张横版图片，以绿色为主。" * 4,
            }
        )
    fields = {
        field.name: field
        for schema in (ITEMS, PROFILE, SCORE, DEDUP, OCR, CAPTION)
        for field in schema
    }
    wanted = ["item_id", *(name for read in ShardStage.reads for name in _columns(read))]
    return pa.Table.from_pylist(rows, schema=pa.schema([fields[name] for name in wanted]))


def _columns(read: Reads) -> tuple[str, ...]:
    return tuple(SCORE.names[1:]) if read.table == "score" else read.columns


def ours(rows: pa.Table, folder: Path) -> float:
    """Seconds of the stage."""
    corpus = OneTable(str(folder), Storage())
    corpus.rows = rows
    started = time.perf_counter()
    ShardStage(ShardSettings(), Storage()).run(corpus, LocalExecutor(), "bench")
    return time.perf_counter() - started


def theirs(rows: pa.Table, folder: Path) -> float:
    """Seconds of reading the files and writing them with ShardWriter."""
    folder.mkdir()
    started = time.perf_counter()
    with webdataset.ShardWriter(f"{folder}/shard-%06d.tar", maxcount=10_000, verbose=0) as sink:
        for row in rows.to_pylist():
            text = json.dumps(sample_json(row), ensure_ascii=False)
            image = Path(row["uri"]).read_bytes()
            sink.write({"__key__": sample_key(row["item_id"]), "jpg": image, "json": text.encode()})
    return time.perf_counter() - started


def main() -> int:
    """Time both, interleaved, and print the ratio and its bound."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "in").mkdir()
        rows = make_rows(Path(place) / "in")
        best = {"winnow": float("inf"), "webdataset": float("inf")}
        for number in range(ROUNDS):
            best["winnow"] = min(best["winnow"], ours(rows, Path(place) / f"ours_{number}"))
            spent = theirs(rows, Path(place) / f"theirs_{number}")
            best["webdataset"] = min(best["webdataset"], spent)
    rates = {name: SAMPLES * BYTES / spent / 1e6 for name, spent in best.items()}
    ratio = rates["winnow"] / rates["webdataset"]
    verdict = "ok" if ratio >= BOUND else "MISSED"
    print(", ".join(f"{name} {rate:.0f} MB/s" for name, rate in rates.items()))
    print(f"{ratio:.2f}x (bound {BOUND}) {verdict}")
    return 0 if verdict == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
