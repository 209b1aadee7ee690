"""The same run with sources and corpus on a real S3 server."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.console import Exit
from pipeline.runner import Runner, RunResult
from stages.corpus import Corpus
from stages.storage import Storage
from tests.conftest import S3Server
from tests.pipeline.line import config_for, picture, tables, write_pictures


def write_tar(path: Path, seeds: range) -> None:
    """A WebDataset tar with captions beside the images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for seed in seeds:
            sink = io.BytesIO()
            picture(seed).save(sink, "WEBP", quality=90)
            for suffix, data in (("webp", sink.getvalue()), ("txt", f"blob {seed}".encode())):
                member = tarfile.TarInfo(f"{seed:06d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def without_places(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [
        {key: value for key, value in row.items() if key not in {"uri", "source"}} for row in rows
    ]


def test_the_line_on_object_storage_equals_the_line_on_disk(s3: S3Server, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in" / "images", 10)
    write_tar(tmp_path / "in" / "tars" / "00000.tar", range(100, 108))
    bucket = f"pool-{uuid.uuid4().hex[:8]}"
    s3.upload(tmp_path / "in", f"{bucket}/in")
    sources = [{"uri": "{}/images", "kind": "folder"}, {"uri": "{}/tars", "kind": "tar"}]

    def run(root: str, corpus: str) -> RunResult:
        placed = [{**each, "uri": each["uri"].format(root)} for each in sources]
        return Runner(config_for(placed, corpus)).run()

    run(str(tmp_path / "in"), str(tmp_path / "out"))
    local = tables(str(tmp_path / "out"))
    remote_uri = f"s3://{bucket}/out"
    run(f"s3://{bucket}/in", remote_uri)
    remote = tables(remote_uri)
    assert remote.keys() == local.keys()
    for name in ("items", "profile", "embed", "dedup", "ocr", "caption", "shards"):
        for part, rows in local[name].items():
            assert without_places(remote[name][part].to_pylist()) == without_places(
                rows.to_pylist()
            ), f"{name} {part}"
    storage = Storage()
    index = json.loads(storage.read(f"{remote_uri}/shards/index.json"))
    assert index["count"] == sum(each.num_rows for each in local["shards"].values())
    corpus = Corpus(remote_uri, storage)
    in_tars = [
        row
        for each in corpus.partitions()
        for row in corpus.read("items", each).to_pylist()
        if row["container"] == "tar"
    ]
    assert len(in_tars) == 8
    with storage.open(in_tars[3]["uri"]) as file:
        assert file.read_at(4, in_tars[3]["offset"]) == b"RIFF"
    runs = [str(info.path) for info in storage.files(corpus.place("runs"))]
    assert any(path.endswith("events.jsonl") for path in runs)
    again = run(f"s3://{bucket}/in", remote_uri)
    assert sum(each.computed for each in again.stages) == 0


@pytest.mark.parametrize(
    ("what", "message"),
    [("secret", "credentials for s3://"), ("bucket", "does not exist: create it")],
)
def test_bad_access_is_told_before_any_work(
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    message: str,
) -> None:
    bucket = f"pool-{uuid.uuid4().hex[:8]}"
    s3.filesystem().create_dir(bucket)
    if what == "secret":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    else:
        bucket = "nowhere"
    file = tmp_path / "run.yaml"
    file.write_text(f"corpus: {tmp_path / 'out'}\nsource: {{uri: 's3://{bucket}/in'}}\n")
    result = CliRunner().invoke(app, ["run", str(file)])
    assert result.exit_code == Exit.USAGE
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()
