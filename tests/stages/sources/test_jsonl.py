from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stages.sources import SourceSettings
from stages.sources.jsonl import RANGE, lines_of
from stages.storage import Storage
from tests.stages.sources.made import encoded, run_ingest


def test_relative_paths_with_chinese_captions(tmp_path: Path) -> None:
    (tmp_path / "图片").mkdir()
    (tmp_path / "图片" / "a.jpg").write_bytes(encoded(1))
    lines = [
        json.dumps({"file": "图片/a.jpg", "text": "红色的汽车", "id": 17}, ensure_ascii=False),
        "",
        json.dumps({"file": "图片/gone.jpg"}),
        '{"file": "broken',
        "[1, 2]",
        json.dumps({"caption": "no path"}),
        json.dumps({"url": "http://x.org/a.jpg"}),
        json.dumps({"image": "data:image/png;base64,AAAA"}),
        json.dumps({"file": "/dev/zero"}),
        json.dumps({"file": str(tmp_path)}),
    ]
    (tmp_path / "list.jsonl").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    result = run_ingest(tmp_path / "c", SourceSettings(uri=str(tmp_path / "list.jsonl")))
    (row,) = result.rows
    assert (row["key"], row["alt_text"], row["language"]) == ("17", "红色的汽车", "zh")
    assert row["uri"] == str(tmp_path / "图片" / "a.jpg")
    assert [one.reason.value for one in result.quarantined] == [
        *("missing", "unreadable", "unreadable", "no_image"),
        *("unsupported", "unsupported", "unsupported", "unsupported"),
    ]


def test_real_bilingual_captions(tmp_path: Path, photos: Path) -> None:
    source = SourceSettings(
        uri=str(photos / "coco_mini" / "captions.jsonl"), caption_column="captions_en"
    )
    result = run_ingest(tmp_path / "c", source)
    assert len(result.rows) == 119
    assert not result.quarantined
    for row in result.rows:
        meta = json.loads(row["meta"])
        assert row["language"] == "en"
        assert (meta["width"], meta["height"]) == (row["width"], row["height"])


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    end=st.booleans(),
    step=st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_ranges_share_out_every_line_once(
    tmp_path_factory: Any, lines: list[bytes], end: bool, step: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if end else b"")
    file = tmp_path_factory.getbasetemp() / "ranges.jsonl"
    file.write_bytes(data)
    found = [
        line
        for start in range(0, len(data), step)
        for line in lines_of(Storage(), str(file), start, start + step)
    ]
    assert [line for _, line in found if line] == [line for line in data.split(b"\n") if line]
    assert all(data[at : at + len(line)] == line for at, line in found)


def test_a_list_longer_than_one_range(tmp_path: Path) -> None:
    count = 3 * RANGE // 60
    file = tmp_path / "long.ndjson"
    file.write_text("".join(json.dumps({"path": f"{n:050d}.jpg"}) + "\n" for n in range(count)))
    result = run_ingest(tmp_path / "c", SourceSettings(uri=str(file)), partition_items=1000)
    assert [one.key for one in result.quarantined] == [f"{n:050d}.jpg" for n in range(count)]


def test_lists_on_an_object_store(tmp_path: Path, s3: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(encoded(1))
    (tmp_path / "in" / "list.jsonl").write_text('{"path": "a.jpg"}\n{"path": "b.jpg"}\n')
    s3.upload(tmp_path / "in", "ingest-jsonl/data")
    source = SourceSettings(uri="s3://ingest-jsonl/data/list.jsonl")
    result = run_ingest(tmp_path / "c", source, storage=Storage())
    assert result.row("a.jpg")["uri"] == "s3://ingest-jsonl/data/a.jpg"
    assert result.reasons == {"b.jpg": "missing"}
