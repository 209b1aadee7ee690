"""The command line from outside: exit codes, messages, every command's example."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.console import Exit
from tests.pipeline.line import write_pictures

COMMANDS = (
    *("run", "stage", "status", "table", "sql", "report"),
    *("demo", "doctor", "dedup", "plan"),
)


def winnow(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration and the corpus it made."""
    folder = tmp_path_factory.mktemp("cli")
    write_pictures(folder / "in", 8)
    config = folder / "run.yaml"
    config.write_text(
        f"corpus: {folder / 'out'}\nsource: {{uri: {folder / 'in'}}}\n"
        "run: {executor: local, max_quarantine: 0.9}\ningest: {partition_items: 8}\n"
    )
    result = winnow("run", config)
    assert result.exit_code == Exit.DONE, result.output
    assert "report/index.html" in result.output.replace("\n", "")
    return config, folder / "out"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    result = winnow(command, "--help")
    assert result.exit_code == Exit.DONE
    assert f"winnow {command}" in result.output.split("Example", 1)[1]


def test_too_much_quarantine_has_its_own_exit_code(ran: tuple[Path, Path]) -> None:
    config, _ = ran
    result = winnow("run", config, "--set", "run.max_quarantine=0.01")
    assert result.exit_code == Exit.QUARANTINE
    assert "run.max_quarantine (1.0%)" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "dedup.treshold=0.9"), "did you mean 'threshold'?"),
        (("--set", "dedup.threshold=1.3"), "must be in [-1, 1], got 1.3"),
        (("--set", "source.uri=/nowhere/at/all"), "/nowhere/at/all does not exist"),
        (("--set", "filter.clauses={x: 'widht > 3'}"), "width"),
        (("--set", "embed.model=open_clip/ViT-B-23/openai"), "ViT-B-32"),
    ],
)
def test_mistakes_are_told_before_any_work(
    ran: tuple[Path, Path], arguments: tuple[str, ...], message: str
) -> None:
    config, corpus = ran
    before = sorted(path for path in corpus.rglob("*") if path.is_file())
    result = winnow("run", config, *arguments)
    assert result.exit_code == Exit.USAGE, result.output
    assert message in " ".join(result.output.split())
    assert sorted(path for path in corpus.rglob("*") if path.is_file()) == before


def test_an_unknown_stage_lists_the_stages(ran: tuple[Path, Path]) -> None:
    result = winnow("stage", "oct", ran[0])
    assert result.exit_code == Exit.USAGE
    assert "ingest, profile, embed, score, filter, dedup, ocr, caption, shard" in " ".join(
        result.output.split()
    )


def test_a_lost_source_file_fails_the_stage_that_needs_it(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    config = tmp_path / "run.yaml"
    config.write_text(
        f"corpus: {tmp_path / 'out'}\nsource: {{uri: {tmp_path / 'in'}}}\n"
        "run: {executor: local, max_quarantine: 1.0}\n"
    )
    assert winnow("run", config).exit_code == Exit.DONE
    (tmp_path / "in" / "photo_003.jpg").unlink()
    (tmp_path / "out" / "shards" / "shard-000000.tar").unlink()
    result = winnow("stage", "shard", config, "--force")
    assert result.exit_code == Exit.FAILED
    assert "cannot be read again" in " ".join(result.output.split())


def test_status_counts_partitions_and_balances(ran: tuple[Path, Path]) -> None:
    result = winnow("status", ran[0])
    assert result.exit_code == Exit.DONE
    lines = {line.split()[0]: line.split() for line in result.output.splitlines() if line.split()}
    assert lines["ledger"][2:4] == ["items", "="]
    stale = winnow("status", ran[0], "--set", "dedup.threshold=0.99")
    dedup = next(line for line in stale.output.splitlines() if line.startswith("dedup"))
    assert dedup.split() == ["dedup", "0", "2", "0"]


def test_table_joins_columns_of_items_and_writes_files(
    ran: tuple[Path, Path], tmp_path: Path
) -> None:
    _, corpus = ran
    printed = winnow("table", corpus, "dedup", "--columns", "key,keep,item_id")
    rows = [json.loads(line) for line in printed.stdout.splitlines()]
    assert list(rows[0]) == ["key", "keep", "item_id"]
    assert "photo_000.jpg" in {row["key"] for row in rows}
    out = tmp_path / "ocr.csv"
    assert winnow("table", corpus, "ocr", "--columns", "uri,lines", "-o", out).exit_code == 0
    lines = pa_csv.read_csv(out).column("lines").to_pylist()
    assert any("OPEN DAILY" in str(json.loads(each)) for each in lines if each)
    wrong = winnow("table", corpus, "dedup", "--columns", "nothing")
    assert wrong.exit_code == Exit.USAGE
    assert "witness_id" in wrong.output


def test_sql_sees_every_table_and_no_files(ran: tuple[Path, Path]) -> None:
    _, corpus = ran
    result = winnow("sql", corpus, "select count(*) as n from quarantine where reason = 'empty'")
    assert result.stdout.split() == ["n", "1"]
    vectors = winnow("sql", corpus, "select max(len(vector)) as d from embed")
    assert int(vectors.stdout.split()[1]) > 100
    assert winnow("sql", corpus, "select * from read_csv('/etc/passwd')").exit_code == Exit.USAGE
    wrong = winnow("sql", corpus, "select nothing from items")
    assert wrong.exit_code == Exit.USAGE
    assert "nothing" in wrong.output


def test_report_alone(ran: tuple[Path, Path]) -> None:
    config, corpus = ran
    page = corpus / "report" / "index.html"
    assert winnow("report", config).exit_code == Exit.DONE
    before = page.read_bytes()
    page.unlink()
    assert winnow("report", config).exit_code == Exit.DONE
    assert page.read_bytes() == before


def test_dedup_of_plain_vectors(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 32)).astype(np.float16)
    vectors[40:] = vectors[:10] + random.normal(scale=1e-3, size=(10, 32))
    np.save(tmp_path / "v.npy", vectors)
    out = tmp_path / "out.parquet"
    result = winnow("dedup", tmp_path / "v.npy", "--threshold", 0.95, "-o", out)
    assert result.exit_code == Exit.DONE, result.output
    rows = pq.read_table(out)
    assert rows.column_names == ["row", "cluster", "keep", "witness", "similarity"]
    assert rows.column("keep").to_pylist() == [True] * 40 + [False] * 10
    assert rows.column("witness").to_pylist()[40:] == list(range(10))
    assert winnow("dedup", tmp_path / "v.npy", "--threshold", 1.5, "-o", out).exit_code == 2


def test_doctor_names_what_a_run_would_lack(ran: tuple[Path, Path]) -> None:
    good = winnow("doctor", ran[0])
    assert good.exit_code == Exit.DONE, good.output
    assert "faiss-cpu" in good.output or "faiss-gpu" in good.output
    bad = winnow("doctor", ran[0], "--set", "source.uri=/nowhere")
    assert bad.exit_code == Exit.FAILED
    assert "/nowhere does not exist" in " ".join(bad.output.split())


def test_nothing_to_do_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    config = tmp_path / "run.yaml"
    config.write_text(
        f"corpus: {tmp_path / 'out'}\nsource: {{uri: {tmp_path / 'in'}}}\n"
        "run: {executor: local}\n"
    )
    for arguments, message in (
        (("run", config), "holds no files"),
        (("stage", "shard", config), "the corpus is empty"),
        (("report", config), "holds no corpus"),
        (("table", tmp_path / "out", "items"), "holds no corpus"),
        (("sql", tmp_path / "nowhere", "select 1"), "does not exist"),
    ):
        result = winnow(*arguments)
        assert result.exit_code == Exit.USAGE, arguments
        assert message in " ".join(result.output.split()), arguments
    assert "nothing has been run yet" in winnow("status", config).output


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("select 1; select 2", "one query is wanted, got select and select"),
        ("", "got nothing"),
        ("drop view items", "the tables are only read"),
        ("create table x as select 1", "the tables are only read"),
    ],
)
def test_sql_takes_one_query(ran: tuple[Path, Path], statement: str, said: str) -> None:
    result = winnow("sql", ran[1], statement)
    assert result.exit_code == Exit.USAGE
    assert said in " ".join(result.output.split())


def test_wide_rows_are_printed_as_records(ran: tuple[Path, Path]) -> None:
    result = winnow("sql", ran[1], "select * from items where key = 'sign.png'")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["key"] == "sign.png"
    assert lines["alt_text"] == "null"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("source.uri=https://example.com/a.jpg", "does not download from the web"),
        ("filter.clauses={x: '1) or (1=1'}", "filter.clauses.x"),
        ("ingest.missing=drop", "ingest.missing"),
    ],
)
def test_more_mistakes_are_told(ran: tuple[Path, Path], settings: str, message: str) -> None:
    result = winnow("run", ran[0], "--set", settings)
    assert result.exit_code == Exit.USAGE, result.output
    assert message in " ".join(result.output.split())


def test_a_gpu_that_is_not_there_is_told_before_any_work(ran: tuple[Path, Path]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    settings = ("embed.model=open_clip/ViT-B-32/openai", "embed.device=cuda")
    arguments = [part for each in settings for part in ("--set", each)]
    result = winnow("run", ran[0], *arguments)
    assert result.exit_code == Exit.USAGE
    assert "there is none here" in " ".join(result.output.split())
    assert "there is none here" in " ".join(winnow("doctor", ran[0], *arguments).output.split())


def test_dedup_does_not_overwrite_its_input(tmp_path: Path) -> None:
    pq.write_table(pa.table({"vector": [[1.0, 0.0], [0.0, 1.0]]}), tmp_path / "v.parquet")
    before = (tmp_path / "v.parquet").read_bytes()
    file = tmp_path / "v.parquet"
    result = winnow("dedup", file, "--threshold", 0.9, "-o", file)
    assert result.exit_code == Exit.USAGE
    assert file.read_bytes() == before


def test_the_demo_leaves_foreign_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = winnow("demo", tmp_path)
    assert result.exit_code == Exit.USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_version() -> None:
    assert winnow("--version").output.startswith("winnow 0.")
