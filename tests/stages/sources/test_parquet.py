from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.images import ImageReader
from stages.sources import SourceSettings
from stages.storage import Storage
from tests.stages.sources.made import Result, encoded, run_ingest


def _ingest(tmp_path: Path, table: pa.Table, group: int = 4, **settings: Any) -> Result:
    (tmp_path / "in").mkdir(exist_ok=True)
    pq.write_table(table, tmp_path / "in" / "train.parquet", row_group_size=group)
    return run_ingest(tmp_path / "c", SourceSettings(uri=str(tmp_path / "in"), **settings))


def test_a_hugging_face_data_set(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "beside.jpg").write_bytes(encoded(99))
    images = [{"bytes": encoded(n), "path": f"{n}.jpg"} for n in range(9)]
    images[5] = {"bytes": None, "path": "beside.jpg"}
    images[6] = {"bytes": None, "path": None}
    table = pa.table(
        {
            "image": images,
            "label": list(range(9)),
            "text": [f"标题 {n} 号图片" for n in range(9)],
            "vector": [[0.5, 0.25]] * 9,
        }
    )
    result = _ingest(tmp_path, table, kind="parquet")
    assert len(result.rows) == 8
    assert [one.reason for one in result.quarantined] == ["no_image"]
    row = result.row("7.jpg")
    assert (row["container"], row["member"], row["offset"]) == ("parquet", "image", 7)
    assert (row["alt_text"], row["language"]) == ("标题 7 号图片", "zh")
    assert json.loads(row["meta"]) == {"label": 7}
    assert result.row("beside.jpg")["container"] is None
    with ImageReader(Storage()) as reader:
        assert reader.read(row) == encoded(7)


def test_binary_columns_as_img2dataset_writes_them(tmp_path: Path) -> None:
    table = pa.table(
        {
            "url": [f"http://x/{n}" for n in range(6)],
            "caption": ["a"] * 6,
            "key": [f"{n:09d}" for n in range(6)],
            "jpg": [encoded(n) if n != 2 else None for n in range(5)] + [b"junk bytes"],
        }
    )
    result = _ingest(tmp_path, table)
    assert [row["key"] for row in result.rows] == [f"{n:09d}" for n in (0, 1, 3, 4)]
    assert result.reasons == {"000000002": "missing", "000000005": "not_an_image"}
    assert json.loads(result.rows[0]["meta"]) == {"url": "http://x/0"}


def test_paths_and_configured_columns(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(encoded(1))
    table = pa.table(
        {
            "where": ["a.jpg", "https://x.org/b.jpg", "gone.jpg", None],
            "words": [["first", "second"], ["b"], ["c"], None],
            "name": ["A", "B", "C", "D"],
        }
    )
    result = _ingest(
        tmp_path,
        table,
        path_column="where",
        caption_column="words",
        key_column="name",
        root=str(tmp_path / "images"),
        language="other",
    )
    row = result.row("A")
    assert (row["alt_text"], row["language"]) == ("first", "other")
    assert json.loads(row["meta"]) == {"words": ["second"]}
    assert result.reasons == {"B": "unsupported", "C": "missing", "D": "no_image"}
    assert "img2dataset" in next(one.detail for one in result.quarantined if one.key == "B")


def test_large_groups_of_paths_fall_into_pieces(tmp_path: Path) -> None:
    table = pa.table({"path": [f"{n}.jpg" for n in range(5000)]})
    result = _ingest(tmp_path, table, group=5000)
    assert [one.key for one in result.quarantined] == [f"{n}.jpg" for n in range(5000)]
    assert {one.reason.value for one in result.quarantined} == {"missing"}


@pytest.mark.parametrize("damage", ["cut", "footer", "page", "no_columns"])
def test_damage_never_loses_a_row_unseen(tmp_path: Path, damage: str) -> None:
    table = pa.table({"image": [encoded(n) for n in range(8)], "caption": ["word " * 50] * 8})
    if damage == "no_columns":
        result = _ingest(tmp_path, table.select(["caption"]), kind="parquet")
        assert len(result.quarantined) == 8
        assert "image_column" in result.quarantined[0].detail
        return
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a.parquet"
    pq.write_table(table, file, row_group_size=4)
    data = bytearray(file.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "footer":
        data[-60:-8] = bytes(52)
    else:
        data[8:200] = bytes(192)
    file.write_bytes(bytes(data))
    result = run_ingest(tmp_path / "c", SourceSettings(uri=str(file)))
    assert result.quarantined
    if damage == "page":
        assert len(result.rows) == 4
        assert len(result.quarantined) == 4


def test_an_object_store(tmp_path: Path, s3: Any) -> None:
    (tmp_path / "in").mkdir()
    table = pa.table({"image": [{"bytes": encoded(n), "path": f"{n}.jpg"} for n in range(5)]})
    pq.write_table(table, tmp_path / "in" / "a.parquet", row_group_size=2)
    (tmp_path / "in" / "b.parquet").write_bytes(b"PAR1 and no more")
    s3.upload(tmp_path / "in", "ingest-parquet/data")
    source = SourceSettings(uri="s3://ingest-parquet/data")
    result = run_ingest("s3://ingest-parquet/corpus", source, storage=Storage())
    assert [row["key"] for row in result.rows] == [f"{n}.jpg" for n in range(5)]
    assert result.reasons == {"b.parquet": "unreadable"}
