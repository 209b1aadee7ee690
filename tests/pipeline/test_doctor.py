"""``winnow doctor``: each thing that will go wrong is found and named."""

from __future__ import annotations

import importlib.metadata
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.console import Exit
from pipeline.doctor import Finding, diagnose, print_findings
from stages.contract import ConfigurationError
from tests.conftest import S3Server


def levels(findings: list[Finding]) -> dict[str, str]:
    """The worst level per topic."""
    worst = ["ok", "warning", "error"]
    found: dict[str, str] = {}
    for each in findings:
        found[each.topic] = max(found.get(each.topic, "ok"), each.level, key=worst.index)
    return found


def config_file(folder: Path, **sections: Any) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    raw = {"corpus": str(folder / "out"), "source": {"uri": str(folder / "in")}, **sections}
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


def test_this_environment_can_run_a_default_line(tmp_path: Path) -> None:
    findings = diagnose(config_file(tmp_path))
    assert "error" not in levels(findings).values(), findings
    assert {"python", "faiss", "gpu", "threads", "storage", "embed", "ocr"} <= set(levels(findings))
    assert CliRunner().invoke(app, ["doctor", str(tmp_path / "run.yaml")]).exit_code == Exit.DONE
    assert not (tmp_path / "out").exists()


def test_what_a_run_lacks_is_an_error(tmp_path: Path) -> None:
    file = config_file(
        tmp_path,
        source={"uri": str(tmp_path / "absent")},
        embed={"model": "open_clip/ViT-B-32", "checkpoint": str(tmp_path / "weights.pt")},
    )
    findings = diagnose(file)
    assert levels(findings)["storage"] == "error"
    assert levels(findings)["embed"] == "error"
    text = " ".join(each.text for each in findings)
    assert f"{tmp_path / 'absent'} does not exist" in text
    assert "weights.pt' is not a file: correct the path" in text
    result = CliRunner().invoke(app, ["doctor", str(file)])
    assert result.exit_code == Exit.FAILED


def test_a_configuration_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        diagnose(tmp_path / "absent.yaml")
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "absent.yaml")])
    assert result.exit_code == Exit.USAGE


def test_buckets_are_looked_at(s3: S3Server, tmp_path: Path) -> None:
    file = config_file(tmp_path, corpus="s3://no-such-bucket/out")
    stored = [each for each in diagnose(file) if each.topic == "storage"]
    assert [each.level for each in stored] == ["ok", "error"]
    assert "bucket 'no-such-bucket'" in stored[1].text
    assert s3.endpoint


class Installed:
    """A distribution as ``importlib.metadata`` gives it."""

    def __init__(self, name: str) -> None:
        self.metadata = {"Name": name}
        self.version = "1.0"


def test_two_packages_in_one_folder_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = list(importlib.metadata.distributions())
    both = [Installed("faiss_cpu"), Installed("faiss-gpu")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: [*real, *both])
    faiss = next(each for each in diagnose() if each.topic == "faiss")
    assert faiss.level == "error"
    assert "faiss-cpu and faiss-gpu are both installed" in faiss.text


def test_missing_packages_are_errors_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: [Installed("pyarrow")])
    monkeypatch.setitem(sys.modules, "torch", None)
    found = levels(diagnose())
    for topic in ("faiss", "onnxruntime", "torch", "gpu"):
        assert found[topic] == "error"
    assert found["pyarrow"] == "ok"


def test_more_threads_than_cores_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    threads = next(each for each in diagnose() if each.topic == "threads")
    assert threads.level == "warning"
    assert "OMP_NUM_THREADS=4096" in threads.text


def test_findings_are_printed_a_line_each_whatever_they_hold() -> None:
    sink = io.StringIO()
    text = "install winnow[gpu] " + "x" * 300
    print_findings(Console(file=sink, width=80), [Finding("gpu", "warning", text)] * 2)
    assert sink.getvalue().splitlines() == [f"warning gpu              {text}"] * 2
