from __future__ import annotations

from pathlib import Path

import pytest

from stages.contract import ConfigurationError
from stages.sources import SourceSettings, list_source
from stages.sources.listing import canonical
from stages.storage import Storage


def _list(uri: object, **settings: str) -> tuple[str, list[str]]:
    kind, files = list_source(Storage(), SourceSettings(uri=str(uri), **settings))  # type: ignore[arg-type]
    return kind, [file.uri.rsplit("/", 1)[-1] for file in files]


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("names", "kind", "found"),
    [
        (("a.tar", "b.jpg", "c.txt"), "folder", ["a.tar", "b.jpg", "c.txt"]),
        (("0.tar", "0.parquet", "0_stats.json", "1.tar.gz"), "tar", ["0.tar", "1.tar.gz"]),
        (("a.parquet", "b.jsonl"), "parquet", ["a.parquet"]),
        (("a.jsonl", "b.ndjson", "c.md"), "jsonl", ["a.jsonl", "b.ndjson"]),
        (("a.md",), "folder", ["a.md"]),
    ],
)
def test_the_kind_goes_by_what_is_there(
    tmp_path: Path, names: tuple[str, ...], kind: str, found: list[str]
) -> None:
    assert _list(_touch(tmp_path / "in", *names)) == (kind, found)


def test_a_single_file_is_a_source_whatever_it_is_called(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "a.txt", "data", "b.tar")
    assert _list(tmp_path / "a.jpg") == ("folder", ["a.jpg"])
    assert _list(tmp_path / "b.tar") == ("tar", ["b.tar"])
    assert _list(tmp_path / "data", kind="parquet") == ("parquet", ["data"])


def test_patterns(tmp_path: Path) -> None:
    _touch(tmp_path / "in", *(f"{n:03d}.tar" for n in range(12)), "x{1}.tar")
    folder = tmp_path / "in"
    assert _list(f"{folder}/{{008..010}}.tar")[1] == ["008.tar", "009.tar", "010.tar"]
    assert _list(f"{folder}/{{001,003}}.tar")[1] == ["001.tar", "003.tar"]
    assert _list(f"{folder}/00[5-6].*")[1] == ["005.tar", "006.tar"]
    assert _list(f"{folder}/x{{1}}.tar")[1] == ["x{1}.tar"]
    with pytest.raises(ConfigurationError, match=r"012\.tar does not exist"):
        _list(f"{folder}/{{010..012}}.tar")


def test_one_place_has_one_name() -> None:
    storage = Storage()
    assert canonical(storage, "/a/./b/../c/") == canonical(storage, "file:///a/c") == "/a/c"
    assert canonical(storage, "s3://b//c/d/") == "s3://b/c/d"
