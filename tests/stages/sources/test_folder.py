from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from stages.contract import ConfigurationError
from stages.sources import SourceSettings
from stages.storage import Storage
from tests.stages.sources.made import encoded, run_ingest


def _write(folder: Path, files: dict[str, bytes]) -> SourceSettings:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return SourceSettings(uri=str(folder))


def test_every_file_is_accounted_for(tmp_path: Path) -> None:
    files = {
        "a.jpg": encoded(1),
        "a.txt": "  街上的一只猫 \n".encode(),
        "a.jpg.json": json.dumps({"source": "camera", "caption": "unused"}).encode(),
        "sub/b.PNG": encoded(2, "PNG"),
        "sub/b.caption": b"a red car",
        "sub/no_extension": encoded(3, "WEBP"),
        "sub/wrong.png": encoded(4, "GIF"),
        "labels.csv": b"file,label\n",
        ".DS_Store": b"\x00\x00\x00\x01Bud1",
        "README.txt": b"read me",
        "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><html>404</html>",
        "new.heic": b"\x00\x00\x00\x18ftypheic" + bytes(80),
        "list.jsonl": b'{"path": "a.jpg"}\n',
    }
    result = run_ingest(tmp_path / "c", _write(tmp_path / "in", files))
    assert {row["key"]: row["format"] for row in result.rows} == {
        "a.jpg": "jpeg",
        "sub/b.PNG": "png",
        "sub/no_extension": "webp",
        "sub/wrong.png": "gif",
    }
    assert result.reasons == {
        "labels.csv": "not_an_image",
        ".DS_Store": "not_an_image",
        "README.txt": "no_image",
        "empty.jpg": "empty",
        "page.jpg": "not_an_image",
        "new.heic": "unsupported",
        "list.jsonl": "not_an_image",
    }
    cat = result.row("a.jpg")
    assert (cat["alt_text"], cat["language"]) == ("街上的一只猫", "zh")
    assert json.loads(cat["meta"]) == {"source": "camera", "caption": "unused"}
    assert result.row("sub/b.PNG")["alt_text"] == "a red car"
    assert cat["uri"] == str(tmp_path / "in" / "a.jpg")


def test_what_a_plain_listing_would_lose_or_trip_over(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    source = _write(folder, {"a.jpg": encoded(1)})
    (folder / "dangling.jpg").symlink_to(folder / "gone.jpg")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.jpg")).write_bytes(encoded(2))
    result = run_ingest(tmp_path / "c", source)
    assert [row["key"] for row in result.rows] == ["a.jpg"]
    assert result.reasons == {
        "dangling.jpg": "missing",
        "pipe.jpg": "unsupported",
        "bad\\xff.jpg": "unsupported",
    }


def test_exclude_and_the_corpus_inside_the_source(tmp_path: Path) -> None:
    source = _write(tmp_path, {"a.jpg": encoded(1), "thumbs/a.jpg": encoded(2), "x.csv": b"1"})
    source = source.model_copy(update={"exclude": ["*.csv", "thumbs/*"]})
    for _ in range(2):
        result = run_ingest(tmp_path / "corpus", source)
        assert [row["key"] for row in result.rows] == ["a.jpg"]
        assert not result.quarantined
    with pytest.raises(ConfigurationError, match="folder of its own"):
        run_ingest(tmp_path, source)


def test_a_missing_source_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        run_ingest(tmp_path / "c", SourceSettings(uri=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigurationError, match="matches no file"):
        run_ingest(tmp_path / "c", SourceSettings(uri=str(tmp_path / "*.jpg")))


def test_limits(tmp_path: Path) -> None:
    files = {"big.png": encoded(1, "PNG", size=(100, 50)), "long.jpg": encoded(2) + bytes(9000)}
    source = _write(tmp_path / "in", files)
    result = run_ingest(tmp_path / "c", source, max_pixels=4999, max_bytes=8000)
    assert result.reasons == {"big.png": "too_large", "long.jpg": "too_large"}
    details = " ".join(one.detail for one in result.quarantined)
    assert "100 x 50 = 5000 pixels, more than max_pixels = 4999" in details
    assert "more than max_bytes = 8000" in details


def test_a_prefix_of_an_object_store(tmp_path: Path, s3: Any) -> None:
    _write(tmp_path / "in", {"a/1.jpg": encoded(1), "a/1.txt": b"one", "b.csv": b"x"})
    s3.upload(tmp_path / "in", "ingest-folder/photos")
    source = SourceSettings(uri="s3://ingest-folder//photos/")
    result = run_ingest("s3://ingest-folder/corpus", source, storage=Storage())
    assert result.row("a/1.jpg")["alt_text"] == "one"
    assert result.row("a/1.jpg")["uri"] == "s3://ingest-folder/photos/a/1.jpg"
    assert result.reasons == {"b.csv": "not_an_image"}
    with pytest.raises(ConfigurationError, match="does not exist"):
        run_ingest(tmp_path / "c2", SourceSettings(uri="s3://ingest-folder/nothing"))
