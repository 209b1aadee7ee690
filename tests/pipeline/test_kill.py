"""SIGKILL to the whole process group at random moments: a resumed run ends as if undisturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.pipeline.line import shard_bytes, tables, write_pictures

KILLS = 10


def start(config: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(config)]
    with (config.parent / "run.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def write_config(folder: Path, source: Path, name: str) -> Path:
    """A run on Ray with small partitions."""
    file = folder / f"{name}.yaml"
    raw = {
        "corpus": str(folder / name),
        "source": {"uri": str(source)},
        "run": {"executor": "ray", "workers": 2, "max_quarantine": 1.0},
        "ingest": {"partition_items": 6},
        "shard": {"max_samples": 10},
    }
    file.write_text(yaml.safe_dump(raw))
    return file


def kill(process: subprocess.Popen[bytes], after: float) -> bool:
    """Kill the group after some seconds; returns whether it was still running."""
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def same(left: dict[str, dict[str, object]], right: dict[str, dict[str, object]]) -> bool:
    """Equal tables, row for row; says where they differ."""
    assert left.keys() == right.keys()
    for name, parts in left.items():
        assert parts.keys() == right[name].keys(), name
        for part, rows in parts.items():
            assert rows == right[name][part], f"{name} {part}"
    return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_leave_the_tables_of_an_undisturbed_run(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 24)
    undisturbed = write_config(tmp_path, tmp_path / "in", "undisturbed")
    began = time.monotonic()
    assert start(undisturbed).wait(timeout=300) == 0, (tmp_path / "run.log").read_text()
    whole = time.monotonic() - began
    expected = tables(str(tmp_path / "undisturbed"))
    expected_shards = shard_bytes(str(tmp_path / "undisturbed"))

    moments = random.Random(7)
    kills, corpora = 0, 0
    while kills < KILLS:
        # A corpus that is finished is compared, and the next kills hit a fresh one.
        name = f"killed_{corpora}"
        config = write_config(tmp_path, tmp_path / "in", name)
        while kills < KILLS and kill(start(config), moments.uniform(0.1, 1.0) * whole):
            kills += 1
        assert start(config).wait(timeout=300) == 0, (tmp_path / "run.log").read_text()
        assert same(tables(str(tmp_path / name)), expected)
        assert shard_bytes(str(tmp_path / name)) == expected_shards
        assert not list((tmp_path / name).rglob("*.tmp"))
        corpora += 1
