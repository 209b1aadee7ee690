"""A small corpus written table by table: real pictures on disk, every outcome, hostile names."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Config, parse_config
from pipeline.ledger import Ledger, balance
from pipeline.registry import STAGES
from stages.batches import PLAN, plan_uri
from stages.contract import Quarantined, Reason
from stages.corpus import Committed, Corpus, Partition, Stamp
from stages.schemas import CAPTION_LANGUAGES, CAPTION_LEVELS, TABLES, first_id, part_of
from stages.storage import Storage
from tests.pipeline.line import picture

HOSTILE = '</script><img src=x onerror="window.broken=1">\'"><svg onload=window.broken=1>{{ 7*7 }}'
PARTITIONS = (Partition(0, 0), Partition(0, 1))
PER_PARTITION = 8
ALL = tuple(stage.name for stage in STAGES)
_WRITERS = {"items": "ingest", "edges": "dedup", "shards": "shard"}

Rows = list[dict[str, Any]]


def item_id(number: int) -> int:
    """Pictures 0 to 7 are in the first partition, the others in the second."""
    return first_id(number // PER_PARTITION) + number % PER_PARTITION


class SmallCorpus:
    """Fourteen found files: 0-11 pictures, 12 and 13 broken.

    0 is kept and has the removed copies 1 (exact), 2 and 3; 4 and 5 are kept and alike; 6 is
    dropped by ``min_side``, 7 by ``not_blank``; 8 cannot be profiled; 9 to 11 are kept, 10
    has text, 11 cannot be read by ``ocr``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clauses = {
            "min_side": "least(width, height) >= 64",
            "not_blank": "contrast >= 2 and entropy >= 0.5",
        }
        raw = {"corpus": str(folder / "corpus"), "source": {"uri": str(folder / "in")}}
        self.config: Config = parse_config({**raw, "filter": {"clauses": clauses}}, "test")
        self.corpus = Corpus(self.config.corpus, Storage())
        self._write_plan()
        self._write_tables()

    def ledger(self, stages: tuple[str, ...] = ALL) -> Ledger:
        """The real ledger of some of the stages."""
        wanted = [stage for stage in STAGES if stage.name in stages]
        return balance(self.corpus, wanted, self.config.dedup.threshold)

    def _write_plan(self) -> None:
        unit = {"source": "x", "kind": "folder", "uri": "x", "start": 0, "stop": 1, "stamp": ""}
        rows = [
            {**unit, "part": each.part, "sidecars": [], "settings": "{}"} for each in PARTITIONS
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=PLAN), sink)
        self.corpus.storage.write(plan_uri(self.corpus.uri, 0), sink.getvalue())

    def _write_tables(self) -> None:
        items = [self._item(number) for number in range(12)]
        self.commit("items", items, _broken())
        numbers = [number for number in range(12) if number != 8]
        unreadable = _out(8, Reason.UNREADABLE, "cannot be decoded")
        self.commit("profile", [_profile(number) for number in numbers], [unreadable])
        vector = np.full(4, 0.5, np.float16)
        self.commit("embed", [{"item_id": item_id(n), "vector": vector} for n in range(12)])
        self.commit("score", [{"item_id": item_id(n)} for n in range(12)])
        dropped = {6: "min_side", 7: "not_blank"}
        self.commit(
            "filter",
            [
                {"item_id": item_id(n), "passed": n not in dropped, "clause": dropped.get(n)}
                for n in numbers
            ],
        )
        self.commit("edges", _edges())
        self.commit("dedup", _decisions())
        kept = [0, 4, 5, 9, 10]
        failed = [_out(11, Reason.STAGE_ERROR, "the engine gave up")]
        self.commit("ocr", [_text(number) for number in kept], failed)
        self.commit("caption", [_captions(number) for number in kept])
        shard = {"shard": "shard-000000.tar"}
        self.commit(
            "shards",
            [{"item_id": item_id(n), "sample": f"{item_id(n):016d}", **shard} for n in kept],
        )
        self.corpus.storage.write(self.corpus.place("shards", "shard-000000.tar"), b"x" * 5000)

    def _item(self, number: int) -> dict[str, Any]:
        name = f"{HOSTILE.replace('/', '∕')}.jpg" if number == 3 else f"picture-{number:02d}.jpg"
        path = self.folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        source = 0 if number == 1 else number
        size = (40, 30) if number == 6 else (160 + 8 * number, 120)
        picture(source, (160, 120) if number == 1 else size).save(path, quality=90)
        data = path.read_bytes()
        width, height = (160, 120) if number == 1 else size
        return {
            "item_id": item_id(number),
            "uri": str(path),
            "length": len(data),
            "key": HOSTILE if number == 10 else f"album/{name}",
            "source": str(path.parent),
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "format": "jpeg",
            "width": width,
            "height": height,
            "mode": "RGB",
            "orientation": 1,
            "frames": 1,
            "alt_text": HOSTILE if number == 10 else None,
            "language": "en" if number == 10 else None,
        }

    def commit(self, table: str, rows: Rows, quarantined: list[Quarantined] | None = None) -> None:
        """Write the rows of a table, with stamps that fit them."""
        stage = _WRITERS.get(table, table)
        first = TABLES[table].names[0]
        for partition in PARTITIONS:
            mine = [row for row in rows if part_of(row[first]) == partition.part]
            out = [each for each in quarantined or [] if part_of(each.item_id) == partition.part]
            columns = {
                field.name: pa.array([row.get(field.name) for row in mine], field.type)
                for field in TABLES[table]
            }
            content = pa.table(columns, schema=TABLES[table])
            stamp = Stamp("r", f"{table}", len(mine) + len(out), len(mine), len(out))
            self.corpus.commit(stage, table, partition, Committed(content, out), stamp)


def _broken() -> list[Quarantined]:
    return [
        _out(12, Reason.TRUNCATED, f"the data ends early {HOSTILE}"),
        _out(13, Reason.EMPTY, "0 bytes"),
    ]


def _out(number: int, reason: Reason, detail: str) -> Quarantined:
    return Quarantined(item_id(number), f"/in/broken-{number}.jpg", f"{number}", reason, detail)


def _profile(number: int) -> dict[str, Any]:
    signals = ("size_ratio", "border_variance", "reencode_bpp", "entropy", "sharpness")
    more = ("brightness", "contrast", "colourfulness")
    values = {name: float(number + 1) * (n + 1) for n, name in enumerate([*signals, *more])}
    return {"item_id": item_id(number), "phash": number, "jpeg_quality": 90, **values}


def _edges() -> Rows:
    pairs = [(0, 1, 1.0), (0, 2, 0.97), (0, 3, 0.91), (4, 5, 0.89), (9, 10, 0.8)]
    return [{"src": item_id(a), "dst": item_id(b), "similarity": s} for a, b, s in pairs]


def _decisions() -> Rows:
    removed = {1: (1.0, "exact"), 2: (0.97, "perceptual"), 3: (0.91, "semantic")}
    rows = []
    for number in (0, 1, 2, 3, 4, 5, 9, 10, 11):
        cluster = item_id(0 if number in removed else number)
        similarity, reason = removed.get(number, (None, None))
        rows.append(
            {
                "item_id": item_id(number),
                **dict.fromkeys(("component", "cluster", "variant", "subject"), cluster),
                "keep": number not in removed,
                "witness_id": item_id(0) if number in removed else None,
                "witness_similarity": similarity,
                "reason": reason,
            }
        )
    return rows


def _text(number: int) -> dict[str, Any]:
    box = [20.0, 20.0, 120.0, 20.0, 120.0, 50.0, 20.0, 50.0]
    line: dict[str, Any] = {
        "text": HOSTILE,
        "box": box,
        "confidence": 0.97,
        "script": "latin",
        "language": "en",
    }
    lines = [line, {**line, "text": "营业中", "script": "han", "language": "zh"}]
    return {
        "item_id": item_id(number),
        "lines": lines if number == 10 else [],
        "text": "\n".join(each["text"] for each in lines) if number == 10 else "",
        "text_area": 0.2 if number == 10 else 0.0,
    }


def _captions(number: int) -> dict[str, Any]:
    fields = {
        f"{language}_{level}": f"{'一幅画' if language == 'zh' else 'a picture'} {level} {number}"
        for language in CAPTION_LANGUAGES
        for level in CAPTION_LEVELS
    }
    hostile = {"en_long": HOSTILE, "zh_short": HOSTILE} if number == 10 else {}
    return {
        "item_id": item_id(number),
        **fields,
        **hostile,
        "backend": "composer",
        "ocr_coverage": 0.5 if number == 10 else None,
        "invented_text": ["SALE"] if number == 10 else [],
        "answers": 2,
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "flags": [f"text_missing: {HOSTILE}"] if number == 10 else [],
    }
