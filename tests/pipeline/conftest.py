"""A small finished run that the tests of this folder share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.runner import Runner
from tests.pipeline.line import config_for, write_pictures


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A finished line over a dozen files; only to be read."""
    folder = tmp_path_factory.mktemp("small")
    write_pictures(folder / "in", 6)
    config = config_for(
        str(folder / "in"),
        str(folder / "out"),
        ingest={"partition_items": 6},
        shard={"max_samples": 4},
    )
    Runner(config).run()
    return config


@pytest.fixture
def own_run(small_run: Config, tmp_path: Path) -> Config:
    """A copy of the small run, to be damaged."""
    shutil.copytree(small_run.corpus, tmp_path / "out")
    return small_run.model_copy(update={"corpus": str(tmp_path / "out")})
