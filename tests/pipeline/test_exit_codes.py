"""Exit codes of failures and wrong use, and what is said; pipes; relative places."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import Config
from pipeline.console import Exit
from tests.conftest import ROOT
from tests.pipeline.line import picture


def winnow(*arguments: str) -> tuple[int, str]:
    """Exit code and all output, its line breaks made blanks."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def file(own_run: Config, tmp_path: Path) -> str:
    """The configuration of a finished run, as a file."""
    (tmp_path / "run.yaml").write_text(own_run.to_yaml())
    return str(tmp_path / "run.yaml")


def test_a_run_ends_with_0_or_with_3_by_its_quarantine(file: str) -> None:
    assert winnow("run", file)[0] == Exit.DONE
    code, said = winnow("run", file, "--set", "run.max_quarantine=0.05")
    assert code == Exit.QUARANTINE
    assert "in quarantine, more than run.max_quarantine (5.0%) allows" in said
    assert "kept" in said


def test_a_stage_that_fails_ends_with_1(file: str, own_run: Config) -> None:
    Path(own_run.corpus, "profile", "batch=00000", "part-00000.parquet").write_bytes(b"junk")
    for command in (["run", file], ["stage", "filter", file], ["status", file]):
        code, said = winnow(*command)
        assert code == Exit.FAILED
        assert "is damaged" in said
        assert "remove it and run again" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "absent.yaml"], "cannot read the configuration absent.yaml"),
        (["run", "FILE", "--set", "dedup.treshold=0.9"], "did you mean 'threshold'?"),
        (["run", "FILE", "--set", "source.0.uri=/no/such/folder"], "/no/such/folder does not"),
        (["stage", "orc", "FILE"], "no stage 'orc'; the stages are ingest, profile"),
        (["stage", "FILE"], "Missing argument"),
        (["table", "CORPUS", "dedupe"], "no table 'dedupe'"),
        (["table", "CORPUS", "dedup", "-o", "x.xlsx"], "must end in one of"),
        (["sql", "CORPUS", "selec 1"], "syntax error"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_to_do(
    file: str, own_run: Config, arguments: list[str], said: str
) -> None:
    given = [{"FILE": file, "CORPUS": own_run.corpus}.get(each, each) for each in arguments]
    code, output = winnow(*given)
    assert code == Exit.USAGE
    assert said in output


def test_status_shows_stages_and_the_ledger(file: str) -> None:
    code, said = winnow("status", file)
    assert code == Exit.DONE
    assert "profile 3 0 0" in said
    assert "ledger 14 items = " in said
    code, said = winnow("status", file, "--set", "filter.clauses={none: width < 0}")
    assert code == Exit.DONE
    assert "filter 0 3 0" in said
    assert "dedup 0 3 0" in said


def test_a_table_is_printed_as_json_lines_and_sql_as_a_table(own_run: Config) -> None:
    code, _ = winnow("table", own_run.corpus, "dedup")
    assert code == Exit.DONE
    result = CliRunner().invoke(app, ["table", own_run.corpus, "dedup", "--columns", "key, keep"])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"key": "sign.png", "keep": True} in rows
    code, said = winnow("sql", own_run.corpus, "select key, null as x from items where width > 300")
    assert code == Exit.DONE
    assert said == "key x sign.png null"


def test_a_reader_that_goes_away_is_no_failure(own_run: Config, tmp_path: Path) -> None:
    code = (
        "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); "
        "from pipeline.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "table", own_run.corpus, "embed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "failed" not in done.stderr
    assert "Traceback" not in done.stderr


def test_relative_places_work_on_ray(tmp_path: Path) -> None:
    """Workers live in other processes, which must have the same working folder."""
    (tmp_path / "photos").mkdir()
    picture(1).save(tmp_path / "photos" / "one.png")
    raw = {"corpus": "made", "source": {"uri": "photos"}, "run": {"workers": 1}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    command = [sys.executable, "-m", "pipeline.cli", "stage", "ingest", "run.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.DONE, done.stderr
    assert (tmp_path / "made" / "items" / "batch=00000" / "part-00000.parquet").exists()
