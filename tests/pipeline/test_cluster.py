"""A Ray cluster of several nodes, named by RAY_ADDRESS, runs the line as one machine does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from ray.cluster_utils import Cluster

from pipeline.ray_executor import _slots
from pipeline.registry import stages_of
from pipeline.rendered import render_pairs
from pipeline.runner import Runner
from stages.contract import Resources
from tests.conftest import ROOT
from tests.pipeline.line import config_for, tables, write_pictures


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a head without cores and two nodes of one core each."""
    arguments = {"num_cpus": 0, "object_store_memory": 100 << 20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield made.address
    finally:
        made.shutdown()


def run_on(address: str, config: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command, ``run`` by default, with a configuration on the cluster."""
    environment = {**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *(command or ("run",)), str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_a_cluster_gives_the_rows_of_one_machine(cluster: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 16)
    local = config_for(str(tmp_path / "in"), str(tmp_path / "local"))
    Runner(local).run()
    raw = yaml.safe_load(local.to_yaml())
    raw["corpus"], raw["run"]["executor"] = str(tmp_path / "cluster"), "ray"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    done = run_on(cluster, tmp_path / "run.yaml")
    assert done.returncode == 0, done.stderr
    assert tables(str(tmp_path / "cluster")) == tables(str(tmp_path / "local"))
    (log,) = (tmp_path / "cluster" / "runs").glob("*/events.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {each["stage"] for each in events if each["event"] == "partition"} >= {"ingest", "ocr"}

    raw["embed"]["threads"], raw["corpus"] = 2, str(tmp_path / "wide")
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(raw))
    wide = run_on(cluster, tmp_path / "wide.yaml")
    assert wide.returncode == 2
    assert "no room for a worker that needs 2 CPUs" in " ".join(wide.stderr.split())


@pytest.mark.slow
def test_pairs_on_a_cluster_are_those_of_one_machine(cluster: str, tmp_path: Path) -> None:
    # Two groups of twelve versions of an image: as many pairs as make two pieces of work.
    edits = 11
    render_pairs(tmp_path / "posters", 2, seed=3, edits=edits)
    source = str(tmp_path / "posters" / "images.jsonl")
    corpus = tmp_path / "corpus"
    config = config_for(source, str(corpus), pairs={"enabled": True})
    for stage in stages_of(config):
        if stage.name != "shard":
            Runner(config).run(stage.name)
    local = tables(str(corpus))
    assert len(list((corpus / "pairs" / "_pieces").iterdir())) == 2
    pairs = pa.concat_tables(local["pairs"].values())
    assert pairs["kind"].to_pylist() == ["edit"] * (2 * edits * (edits + 1))

    for table in ("pairs", "paired"):
        shutil.rmtree(corpus / table)
    raw = yaml.safe_load(config.to_yaml())
    raw["run"]["executor"] = "ray"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    done = run_on(cluster, tmp_path / "run.yaml", "stage", "pairs")
    assert done.returncode == 0, done.stderr
    assert len(list((corpus / "pairs" / "_pieces").iterdir())) == 2
    assert tables(str(corpus)) == local


def test_workers_are_counted_node_by_node() -> None:
    node = {"CPU": 7.0, "GPU": 2.0, "memory": 8.0 * 2**30}
    assert _slots(node, Resources(cpus=2)) == 3
    assert _slots(node, Resources(cpus=2, gpus=1.0)) == 2
    assert _slots(node, Resources(cpus=1, gpus=0.25)) == 7
    assert _slots(node, Resources(cpus=1, memory_gb=4.0)) == 2
    assert _slots(node, Resources(cpus=1, memory_gb=64.0)) == 1
    assert _slots(node, Resources(cpus=8)) == 0
    assert _slots({"CPU": 4.0}, Resources(cpus=1, gpus=1.0)) == 0
