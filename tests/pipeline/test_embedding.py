"""``winnow embed``: vectors of any source, without a corpus."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.console import Exit
from pipeline.embedding import Failure, embed_source, embedder_settings
from stages.contract import ConfigurationError
from stages.embedders import create_embedder
from stages.images import decode
from stages.sources import SourceSettings
from stages.storage import Storage
from tests.conftest import S3Server
from tests.pipeline.line import picture

COUNT = 10


def encoded(seed: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [encoded(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def expected(images: list[bytes]) -> np.ndarray:
    """The vectors of ``images``, by the embedder alone."""
    embedder = create_embedder("builtin")
    embedder.load("cpu", 1)
    return embedder.embed([decode(each) for each in images])


def winnow(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, *(" ".join(x.split()) for x in (result.stdout, result.stderr))


def folder_of(images: list[bytes], place: Path) -> str:
    place.mkdir()
    for number, data in enumerate(images):
        (place / f"{number:02d}.jpg").write_bytes(data)
    return str(place)


def tar_of(images: list[bytes], place: Path) -> str:
    place.mkdir()
    with tarfile.open(place / "all.tar", "w") as tar:
        for number, data in enumerate(images):
            member = tarfile.TarInfo(f"{number:02d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(place / "all.tar")


def parquet_of(images: list[bytes], place: Path) -> str:
    place.mkdir()
    keys = [f"{number:02d}" for number in range(len(images))]
    table = pa.table({"image": pa.array(images, pa.binary()), "id": keys})
    pq.write_table(table, place / "all.parquet", row_group_size=3)
    return str(place / "all.parquet")


def jsonl_of(images: list[bytes], place: Path) -> str:
    folder_of(images, place)
    lines = [json.dumps({"path": f"{number:02d}.jpg"}) for number in range(len(images))]
    (place / "all.jsonl").write_text("\n".join(lines))
    return str(place / "all.jsonl")


@pytest.mark.parametrize("make", [folder_of, tar_of, parquet_of, jsonl_of])
def test_every_kind_of_source_gives_the_same_vectors(
    make, images: list[bytes], expected: np.ndarray, tmp_path: Path
) -> None:
    source = make(images, tmp_path / "in")
    target = tmp_path / "vectors.parquet"
    code, said, complained = winnow("embed", source, "-o", str(target), "--batch-size", "4")
    assert (code, complained) == (Exit.DONE, "")
    assert f"{COUNT} vectors of 256 dimensions" in said
    rows = pq.read_table(target)
    assert rows.schema.names == ["uri", "key", "vector"]
    assert rows.schema.field("vector").type == pa.list_(pa.float32(), 256)
    found = np.stack(rows["vector"].to_numpy())
    assert np.abs(found - expected).max() < 1e-5
    assert [key[:2] for key in rows["key"].to_pylist()] == [f"{n:02d}" for n in range(COUNT)]
    assert all(uri.startswith(str(tmp_path / "in")) for uri in rows["uri"].to_pylist())
    # The file is one that the other command takes.
    code, said, _ = winnow(
        "dedup", str(target), "--threshold", "0.999", "-o", str(tmp_path / "out.parquet")
    )
    assert code == Exit.DONE
    assert f"{COUNT} vectors" in said


def test_unreadable_images_are_listed_and_counted(images: list[bytes], tmp_path: Path) -> None:
    source = Path(folder_of(images, tmp_path / "in"))
    (source / "03b.jpg").write_bytes(images[3][:700])
    (source / "04b.png").write_bytes(b"")
    (source / "notes.csv").write_text("a,b\n")
    target = str(tmp_path / "vectors.parquet")
    code, said, complained = winnow("embed", str(source), "-o", target)
    assert code == Exit.QUARANTINE
    assert f"{COUNT} vectors" in said
    for name, reason in (("03b.jpg", "truncated"), ("04b.png", "empty"), ("notes.csv", "not_an")):
        assert f"{name}: {reason}" in complained
    assert "3 images have no vector" in complained
    assert pq.read_table(target).num_rows == COUNT
    assert winnow("embed", str(source), "-o", target, "--max-failed", "0.5")[0] == Exit.DONE


def test_failures_reach_the_caller_and_the_sum_is_whole(
    images: list[bytes], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    lines = [json.dumps({"path": name}) for name in ("00.jpg", "gone.jpg", "http://x/y.jpg")]
    (source / "list.jsonl").write_text("\n".join([*lines, "{no json"]))
    (source / "00.jpg").write_bytes(images[0])
    failures: list[Failure] = []
    done = embed_source(
        SourceSettings(uri=str(source / "list.jsonl")),
        str(tmp_path / "v.parquet"),
        embedder_settings("builtin"),
        Storage(),
        report=failures.append,
    )
    assert done.rows == 1
    assert done.failed == len(failures) == 3
    assert done.reasons == {"missing": 1, "unsupported": 1, "unreadable": 1}
    assert done.failed_share == 0.75


def test_a_source_without_one_good_image_gives_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"junk")
    target = tmp_path / "v.parquet"
    assert winnow("embed", str(tmp_path / "in"), "-o", str(target))[0] == Exit.QUARANTINE
    rows = pq.read_table(target)
    assert rows.num_rows == 0
    assert rows.schema.field("vector").type.list_size == 256


def test_object_stores(
    s3: S3Server, images: list[bytes], expected: np.ndarray, tmp_path: Path
) -> None:
    s3.filesystem().create_dir("vectors")
    folder_of(images, tmp_path / "in")
    s3.upload(tmp_path / "in", "vectors/in")
    target = "s3://vectors/out/v.parquet"
    code, said, _ = winnow("embed", "s3://vectors/in", "-o", target, "--threads", "2")
    assert code == Exit.DONE
    assert target in said
    rows = pq.read_table(io.BytesIO(Storage().read(target)))
    assert np.abs(np.stack(rows["vector"].to_numpy()) - expected).max() < 1e-5
    assert set(rows["uri"].to_pylist()) == {f"s3://vectors/in/{n:02d}.jpg" for n in range(COUNT)}


def test_many_more_rows_than_are_written_at_once(
    images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.embedding._ROWS", 3)
    source = folder_of(images, tmp_path / "in")
    said: list[int] = []
    embed_source(
        SourceSettings(uri=source),
        str(tmp_path / "v.parquet"),
        embedder_settings("builtin", batch_size=2),
        Storage(),
        progress=lambda done: said.append(done.rows),
    )
    assert said == [3, 6, 9, 10]
    assert pq.ParquetFile(tmp_path / "v.parquet").num_row_groups == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("/no/such/folder", "-o", "v.parquet"), "/no/such/folder does not"),
        (("IN", "-o", "v.csv"), "v.csv must end in .parquet"),
        (("IN", "-o", "v.parquet", "--model", "clip"), "model='clip' is unknown"),
        (("IN", "-o", "v.parquet", "--model", "open_clip/ViT-B-32"), "names no weights"),
        (("IN", "-o", "v.parquet", "--precision", "int4"), "precision: Input should be 'auto'"),
        (("EMPTY", "-o", "v.parquet"), "holds no files"),
    ],
)
def test_wrong_use_says_what_to_do(
    arguments: tuple[str, ...], said: str, images: list[bytes], tmp_path: Path
) -> None:
    folder_of(images[:1], tmp_path / "in")
    (tmp_path / "empty").mkdir()
    places = {"IN": str(tmp_path / "in"), "EMPTY": str(tmp_path / "empty")}
    target = {"v.parquet": str(tmp_path / "v.parquet")}
    code, _, complained = winnow("embed", *({**places, **target}.get(x, x) for x in arguments))
    assert code == Exit.USAGE
    assert said in complained
    assert not (tmp_path / "v.parquet").exists()


def test_weights_may_stand_behind_the_name_of_the_model(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"some")
    settings = embedder_settings(f"open_clip/ViT-B-32/{weights}", threads=3, device=None)
    assert (settings.model, settings.checkpoint) == ("open_clip/ViT-B-32", str(weights))
    assert (settings.threads, settings.device) == (3, "auto")
    tagged = embedder_settings("open_clip/ViT-B-32/openai", checkpoint=str(weights))
    assert (tagged.model, tagged.checkpoint) == ("open_clip/ViT-B-32/openai", str(weights))
    with pytest.raises(ConfigurationError, match="and so does checkpoint"):
        embedder_settings(f"open_clip/ViT-B-32/{weights}", checkpoint="other.pt")
