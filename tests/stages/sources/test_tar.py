from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from stages.sources import SourceSettings
from stages.sources.tar import split_name
from stages.storage import Storage
from tests.stages.sources.made import Result, encoded, run_ingest, tar_of


def _ingest(tmp_path: Path, data: bytes, name: str = "shard.tar", **settings: Any) -> Result:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / name).write_bytes(data)
    source = SourceSettings(uri=str(tmp_path / "in"), kind="tar", **settings)
    return run_ingest(tmp_path / "corpus", source)


def test_a_tar_as_img2dataset_writes_it(tmp_path: Path) -> None:
    samples = {f"{n:09d}": encoded(n) for n in range(5)}
    with webdataset.TarWriter(str(tmp_path / "00000.tar")) as writer:
        for key, data in samples.items():
            about = {"url": f"http://x/{key}", "caption": "a dog", "key": key, "width": 48}
            writer.write({"__key__": key, "jpg": data, "txt": "一只狗在草地上", "json": about})
    result = run_ingest(tmp_path / "c", SourceSettings(uri=str(tmp_path / "00000.tar")))
    assert not result.quarantined
    whole = (tmp_path / "00000.tar").read_bytes()
    for row, (key, data) in zip(result.rows, samples.items(), strict=True):
        assert (row["key"], row["container"], row["member"]) == (key, "tar", f"{key}.jpg")
        assert whole[row["offset"] : row["offset"] + row["length"]] == data
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert (row["alt_text"], row["language"]) == ("一只狗在草地上", "zh")
        assert json.loads(row["meta"])["url"] == f"http://x/{key}"
        assert (row["format"], row["width"], row["height"]) == ("jpeg", 48, 32)


def test_keys_are_those_of_webdataset() -> None:
    base_plus_ext = webdataset.tariterators.base_plus_ext
    for name in ("a.jpg", "d.1/a.b.jpg", "./x/a.seg.png", "no_extension", "deep/er/名.txt"):
        key, suffix = base_plus_ext(name)
        assert split_name(name) == (name if key is None else key, suffix or "")


def test_samples_need_not_be_contiguous_and_may_hold_several_images(tmp_path: Path) -> None:
    data = tar_of(
        [
            ("a.jpg", encoded(1)),
            ("b.png", encoded(2, "PNG")),
            ("a.seg.png", encoded(3, "PNG")),
            ("b.txt", b"\xef\xbb\xbfthe second "),
            ("a.caption", b"the first"),
            ("a.cls", b"7"),
            ("a.npy", b"\x93NUMPY\x00"),
        ]
    )
    result = _ingest(tmp_path, data)
    assert [row["member"] for row in result.rows] == ["a.jpg", "a.seg.png", "b.png"]
    assert [row["alt_text"] for row in result.rows] == ["the first", "the first", "the second"]
    meta = json.loads(result.rows[0]["meta"])
    assert meta["cls"] == "7"
    assert "npy" in meta["_sidecar_errors"]


def test_a_sample_without_an_image_is_quarantined(tmp_path: Path) -> None:
    data = tar_of([("a.jpg", encoded(1)), ("b.txt", b"lonely"), ("b.json", b"{}")])
    result = _ingest(tmp_path, data)
    assert len(result.rows) == 1
    assert result.reasons == {"b": "no_image"}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_chinese_names(tmp_path: Path, kind: int) -> None:
    name = "目录/" + "很长的名字" * 40 + ".jpg"
    result = _ingest(tmp_path, tar_of([(name, encoded(1)), ("b.jpg", encoded(2))], kind))
    assert [row["member"] for row in result.rows] == [name, "b.jpg"]


def test_bad_sidecars_do_not_cost_the_image(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    data = tar_of(
        [
            ("a.jpg", encoded(1)),
            ("a.json", b"{nope"),
            ("b.jpg", encoded(2)),
            ("b.json", deep),
            ("c.jpg", encoded(3)),
            ("c.json", b'{"text": ["one", "two"], "score": NaN, "odd": "\\ud800"}'),
            ("d.jpg", encoded(4)),
            ("d.txt", b"x" * (2 << 20)),
        ]
    )
    rows = {row["key"]: row for row in _ingest(tmp_path, data).rows}
    assert list(rows) == ["a", "b", "c", "d"]
    for key in "abd":
        assert json.loads(rows[key]["meta"])["_sidecar_errors"]
    assert rows["c"]["alt_text"] == "one"
    assert json.loads(rows["c"]["meta"]) == {
        "text": ["one", "two"],
        "score": None,
        "odd": "\\ud800",
    }


def test_every_cut_is_told(tmp_path: Path) -> None:
    members = [(f"{n}.jpg", encoded(n)) for n in range(3)]
    whole = tar_of(members)
    ends = [offset for offset in range(0, len(whole), 512) if offset % 1024 == 0]
    last_data = max(member.offset_data + member.size for member in _members(whole))
    for end in [*ends[1:], 700, 1337, len(whole) - 10]:
        file = tmp_path / f"{end}.tar"
        file.write_bytes(whole[:end])
        result = run_ingest(tmp_path / f"c{end}", SourceSettings(uri=str(file)))
        complete = [m.name for m in _members(whole) if m.offset_data + m.size <= end]
        assert [row["member"] for row in result.rows] == complete
        if end < last_data:
            assert result.reasons[f"{end}.tar"] == "truncated"


def _members(data: bytes) -> list[tarfile.TarInfo]:
    return tarfile.open(fileobj=io.BytesIO(data)).getmembers()


def test_a_broken_header_in_the_middle_is_told(tmp_path: Path) -> None:
    data = bytearray(tar_of([(f"{n}.jpg", encoded(n)) for n in range(4)]))
    data[_members(bytes(data))[2].offset + 5] ^= 0xFF
    result = _ingest(tmp_path, bytes(data))
    assert [row["key"] for row in result.rows] == ["0", "1"]
    (lost,) = result.quarantined
    assert lost.reason == "unreadable"
    assert "were not read" in lost.detail


def test_tars_laid_end_to_end_are_read_to_the_end(tmp_path: Path) -> None:
    data = tar_of([("a.jpg", encoded(1))]) + tar_of([("b.jpg", encoded(2))])
    result = _ingest(tmp_path, data)
    assert [row["key"] for row in result.rows] == ["a", "b"]
    assert not result.quarantined


def test_links_folders_and_sparse_files(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE), ("p", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"{name}.jpg" if name != "d" else name)
            info.type = kind
            info.linkname = "a.jpg"
            tar.addfile(info)
        info = tarfile.TarInfo("s.jpg")
        info.size = 512
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        tar.addfile(info, io.BytesIO(bytes(512)))
        info = tarfile.TarInfo("a.jpg")
        info.size = len(encoded(1))
        tar.addfile(info, io.BytesIO(encoded(1)))
    result = _ingest(tmp_path, sink.getvalue())
    assert [row["key"] for row in result.rows] == ["a"]
    assert result.reasons == {"l": "unsupported", "p": "unsupported", "s": "unsupported"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (gzip.compress(tar_of([("a.jpg", b"x")])), "unsupported"),
        (b"this is not a tar at all, however long it is " * 40, "unreadable"),
        (b"short", "truncated"),
    ],
)
def test_what_is_no_tar_has_one_row(tmp_path: Path, data: bytes, reason: str) -> None:
    result = _ingest(tmp_path, data)
    assert result.reasons == {"shard.tar": reason}


def test_the_images_of_a_remote_tar_are_not_read_while_listing(tmp_path: Path) -> None:
    """Counts the bytes that listing a tar asks of its file."""
    from stages.sources.members import TarMembers

    big = 4 << 20
    data = tar_of([(f"{n}.jpg", bytes(big)) for n in range(8)])

    class Counting(io.BytesIO):
        asked = 0

        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer)
            Counting.asked += count
            return count

        def size(self) -> int:
            return len(data)

    assert len(list(TarMembers(Counting(data)))) == 8  # type: ignore[arg-type]
    assert Counting.asked < big / 4


def test_byte_ranges_come_from_a_real_object_store(tmp_path: Path, s3: Any) -> None:
    (tmp_path / "in").mkdir()
    images = {f"{n:03d}": encoded(n) for n in range(4)}
    tar = tar_of([m for k, d in images.items() for m in ((f"{k}.jpg", d), (f"{k}.txt", b"a cat"))])
    (tmp_path / "in" / "00000.tar").write_bytes(tar)
    (tmp_path / "in" / "00001.tar").write_bytes(tar[: len(tar) // 2])
    s3.upload(tmp_path / "in", "ingest-tars/shards")
    source = SourceSettings(uri="s3://ingest-tars/shards/{00000..00001}.tar")
    result = run_ingest("s3://ingest-tars/corpus", source, storage=Storage())
    assert [row["sha256"] for row in result.rows[:4]] == [
        hashlib.sha256(data).hexdigest() for data in images.values()
    ]
    assert result.rows[0]["uri"] == "s3://ingest-tars/shards/00000.tar"
    assert "truncated" in result.reasons.values()
