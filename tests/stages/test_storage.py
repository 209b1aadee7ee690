"""Storage: the same calls on folders and on a real S3 server, and clear errors before work."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import IO

import pytest

from stages.contract import ConfigurationError
from stages.storage import Storage, StorageSettings, child, remove_leftovers
from tests.conftest import S3Server


@pytest.fixture(params=["local", "s3", "s3-fsspec"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    """A storage and a writable prefix on it."""
    if request.param == "local":
        return Storage(), str(tmp_path / "base")
    server: S3Server = request.getfixturevalue("s3")
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    server.filesystem().create_dir(bucket)
    if request.param == "s3":
        return Storage(), f"s3://{bucket}/base"
    pytest.importorskip("s3fs")
    settings = StorageSettings(client="fsspec", endpoint=server.endpoint, region="us-east-1")
    return Storage(settings), f"s3://{bucket}/base"


def test_write_read_list_remove(place: tuple[Storage, str]) -> None:
    storage, base = place
    storage.write(child(base, "a", "x.bin"), b"one")
    storage.write(child(base, "b.bin"), b"two")
    listed = {storage.uri_of(base, info).removeprefix(base) for info in storage.files(base)}
    assert listed == {"/a/x.bin", "/b.bin"}
    assert storage.read(child(base, "a", "x.bin")) == b"one"
    with storage.open(child(base, "b.bin")) as file:
        assert file.read_at(2, 1) == b"wo"
    storage.remove(child(base, "b.bin"))
    storage.remove(child(base, "b.bin"))
    assert not storage.exists(child(base, "b.bin"))
    with pytest.raises(FileNotFoundError):
        storage.read(child(base, "b.bin"))


def test_a_failed_write_leaves_what_was_there(place: tuple[Storage, str]) -> None:
    storage, base = place
    uri = child(base, "table.parquet")
    storage.write(uri, b"whole")

    def fail() -> None:
        with storage.writer(uri) as stream:
            stream.write(b"half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        fail()
    assert storage.read(uri) == b"whole"
    assert [str(info.path).rpartition("/")[2] for info in storage.files(base)] == ["table.parquet"]


def test_an_absent_folder_lists_as_empty(place: tuple[Storage, str]) -> None:
    storage, base = place
    assert storage.files(child(base, "nothing")) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    leftover = tmp_path / "items" / f"_part-00000.parquet.{uuid.uuid4().hex}.tmp"
    leftover.write_bytes(b"half")
    (tmp_path / "items" / "part-00000.parquet").write_bytes(b"whole")
    (tmp_path / "_notes.tmp").write_bytes(b"the user's own")
    assert remove_leftovers(Storage(), str(tmp_path)) == 1
    left = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert left == ["_notes.tmp", "part-00000.parquet"]


def test_a_folder_goes_with_all_it_holds(place: tuple[Storage, str]) -> None:
    storage, base = place
    storage.write(child(base, "a", "b", "x.bin"), b"one")
    storage.write(child(base, "ab.bin"), b"two")
    storage.remove_folder(child(base, "a"))
    storage.remove_folder(child(base, "a"))
    storage.remove_folder(child(base, "never"))
    listed = [storage.uri_of(base, info).removeprefix(base) for info in storage.files(base)]
    assert listed == ["/ab.bin"]


def test_a_large_file_is_put_whole(place: tuple[Storage, str]) -> None:
    storage, base = place
    data = bytes(range(256)) * (25 << 12)  # 25 MiB: several parts of a multipart upload
    storage.write(child(base, "large.bin"), data)
    assert storage.info(child(base, "large.bin")).size == len(data)
    assert storage.read(child(base, "large.bin")) == data


@pytest.mark.parametrize("place", ["s3", "s3-fsspec"], indirect=True)
def test_an_upload_that_is_interrupted_leaves_no_part_of_a_file(
    place: tuple[Storage, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, base = place

    def copy_some(source: IO[bytes], target: IO[bytes], _size: int) -> None:
        target.write(source.read(12 << 20))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", copy_some)
    with pytest.raises(KeyboardInterrupt):
        storage.write(child(base, "half.bin"), bytes(20 << 20))
    assert not storage.exists(child(base, "half.bin"))


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Storage().write("~/corpus/x.bin", b"one")
    assert (tmp_path / "corpus" / "x.bin").read_bytes() == b"one"


def test_wrong_secret_is_refused_before_any_work(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.filesystem().create_dir("locked")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ConfigurationError, match="credentials for s3://locked/x were refused"):
        Storage().check("s3://locked/x")


def test_missing_bucket_is_named(s3: S3Server) -> None:
    with pytest.raises(ConfigurationError, match="bucket 'no-such-bucket'.*does not exist"):
        Storage().check("s3://no-such-bucket/x")
    with pytest.raises(ConfigurationError, match="bucket 'no-such-bucket'.*does not exist"):
        Storage().check("s3://no-such-bucket/x", writable=True)


def test_unreachable_endpoint_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    settings = StorageSettings(
        endpoint="http://127.0.0.1:9", region="us-east-1", connect_timeout_s=1.0
    )
    with pytest.raises(ConfigurationError, match=r"check storage\.endpoint"):
        Storage(settings).check("s3://bucket/x")


def test_missing_local_folder_and_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Storage().check(str(tmp_path / "absent"))
    Storage().check(str(tmp_path / "absent"), writable=True)
    with pytest.raises(ConfigurationError, match="nosuch://"):
        Storage().check("nosuch://bucket/x")
