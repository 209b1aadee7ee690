"""Shards: cuts, what is written again, and sources that have changed underneath."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.executors import LocalExecutor
from stages.batches import PLAN, plan_uri
from stages.contract import StageError
from stages.corpus import Committed, Corpus, Partition, Stamp
from stages.schemas import SCORE, TABLES
from stages.shard import ShardSettings, ShardStage, sample_key
from stages.storage import Storage

ONE = Partition(0, 0)


def rows_of(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[table])


def make_corpus(folder: Path, images: list[bytes], keep: list[bool] | None = None) -> Corpus:
    """A corpus whose tables say that these files came through the line."""
    corpus = Corpus(str(folder / "corpus"), Storage())
    (folder / "in").mkdir(exist_ok=True)
    items = []
    for number, data in enumerate(images):
        path = folder / "in" / f"{number:03d}.jpg"
        path.write_bytes(data)
        items.append(
            {
                "item_id": number,
                "uri": str(path),
                "key": path.name,
                "length": len(data),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "format": "jpeg" if number else "tiff",
                "width": 4,
                "height": 3,
                "meta": '{"licence": "CC0"}' if number == 1 else None,
            }
        )
    kept = keep or [True] * len(images)
    numbers = range(len(images))
    tables = {
        "items": items,
        "profile": [{"item_id": n, "entropy": 1.5} for n in numbers],
        "score": [{"item_id": n, "aesthetic": 0.5 * n} for n in numbers],
        "dedup": [{"item_id": n, "cluster": n, "keep": kept[n]} for n in numbers],
        "ocr": [{"item_id": n, "lines": []} for n in numbers if kept[n]],
        "caption": [{"item_id": n, "en_long": f"picture {n}"} for n in numbers if kept[n]],
    }
    for name, rows in tables.items():
        table = rows_of(name, rows)
        stamp = Stamp("recipe", "fingerprint", table.num_rows, table.num_rows, 0)
        corpus.commit(name, name, ONE, Committed(table), stamp)
    plan = pa.Table.from_pylist([{"part": 0, "uri": "in", "sidecars": []}], schema=PLAN)
    with corpus.storage.writer(plan_uri(corpus.uri, 0)) as stream:
        pa.parquet.write_table(plan, stream)
    return corpus


def write(corpus: Corpus, **settings: int) -> dict[str, Any]:
    """Run the stage; returns the index."""
    ShardStage(ShardSettings(**settings), corpus.storage).run(corpus, LocalExecutor(), "recipe")
    return json.loads((Path(corpus.uri) / "shards" / "index.json").read_bytes())


def tars(corpus: Corpus) -> list[str]:
    return sorted(path.name for path in Path(corpus.uri, "shards").glob("*.tar"))


def test_a_tar_holds_at_most_max_samples(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [bytes([n]) * 10 for n in range(7)])
    index = write(corpus, max_samples=3)
    assert [each["count"] for each in index["shards"]] == [3, 3, 1]
    assert index["count"] == 7
    keys = [sample["key"] for shard in index["shards"] for sample in shard["samples"]]
    assert keys == [sample_key(n) for n in range(7)]


def test_a_tar_holds_at_most_max_mb_but_for_one_larger_image(tmp_path: Path) -> None:
    half, large = b"h" * (1 << 19), b"l" * (3 << 20)
    corpus = make_corpus(tmp_path, [half, half, half, large, b"s", b"t"])
    index = write(corpus, max_mb=1)
    assert [each["count"] for each in index["shards"]] == [2, 1, 1, 2]


def test_a_sample_says_where_it_came_from(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [b"zero", b"one", b"two"], [True, True, False])
    index = write(corpus)
    with tarfile.open(Path(corpus.uri, "shards", "shard-000000.tar")) as tar:
        names = tar.getnames()
        text = tar.extractfile(f"{sample_key(1)}.json")
        assert text is not None
        sample = json.loads(text.read())
    assert names == [
        *(f"{sample_key(0)}.json", f"{sample_key(0)}.tif"),
        *(f"{sample_key(1)}.jpg", f"{sample_key(1)}.json"),
    ]
    assert sample["provenance"]["key"] == "001.jpg"
    assert sample["captions"]["en"]["long"] == "picture 1"
    assert sample["meta"] == {"licence": "CC0"}
    assert sample["signals"]["entropy"] == 1.5
    assert sample["scores"]["aesthetic"] == 0.5
    assert set(sample["scores"]) == set(SCORE.names[1:])
    assert index["shards"][0]["samples"][1]["width"] == 4


def test_surplus_tars_of_a_larger_set_are_removed(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [bytes([n]) * 10 for n in range(6)])
    write(corpus, max_samples=1)
    assert len(tars(corpus)) == 6
    index = write(corpus, max_samples=4)
    assert tars(corpus) == ["shard-000000.tar", "shard-000001.tar"]
    assert [each["shard"] for each in index["shards"]] == tars(corpus)
    stage = ShardStage(ShardSettings(), corpus.storage)
    assert stage.intact(corpus)


def test_nothing_kept_gives_an_empty_index(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [b"a", b"b"], [False, False])
    index = write(corpus)
    assert (index["count"], index["shards"], tars(corpus)) == (0, [], [])
    assert ShardStage(ShardSettings(), corpus.storage).intact(corpus)


def test_tars_that_are_up_to_date_are_not_written_again(tmp_path: Path) -> None:
    images = [bytes([n]) * 10 for n in range(6)]
    corpus = make_corpus(tmp_path, images)
    before = write(corpus, max_samples=2)
    stats = [Path(corpus.uri, "shards", name).stat().st_mtime_ns for name in tars(corpus)]
    make_corpus(tmp_path, [*images[:5], b"another one"])
    after = write(corpus, max_samples=2)
    again = [Path(corpus.uri, "shards", name).stat().st_mtime_ns for name in tars(corpus)]
    assert [old == new for old, new in zip(stats, again, strict=True)] == [True, True, False]
    assert after["shards"][:2] == before["shards"][:2]
    assert after["shards"][2]["sha256"] != before["shards"][2]["sha256"]


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_tar_that_is_gone_or_cut_is_written_again(tmp_path: Path, damage: str) -> None:
    corpus = make_corpus(tmp_path, [bytes([n]) * 10 for n in range(4)])
    write(corpus, max_samples=2)
    tar = Path(corpus.uri, "shards", "shard-000001.tar")
    whole = tar.read_bytes()
    if damage == "removed":
        tar.unlink()
    else:
        os.truncate(tar, 700)
    write(corpus, max_samples=2)
    assert tar.read_bytes() == whole


def test_changed_bytes_are_refused_and_what_to_do_is_said(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [b"first", b"second"])
    (tmp_path / "in" / "001.jpg").write_bytes(b"SECOND")
    with pytest.raises(StageError, match=r"001\.jpg \(item 1\) has changed since .* line again"):
        write(corpus)
    assert tars(corpus) == []
    (tmp_path / "in" / "001.jpg").write_bytes(b"another length")
    with pytest.raises(StageError, match="item 1 cannot be read again: .* 6 bytes when ingested"):
        write(corpus)


def test_a_deleted_source_is_refused_and_what_to_do_is_said(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [b"first", b"second"])
    (tmp_path / "in" / "000.jpg").unlink()
    with pytest.raises(StageError, match=r"item 0 cannot be read again: .*000\.jpg does not exist"):
        write(corpus)
    assert not Path(corpus.uri, "shards", "index.json").exists()
