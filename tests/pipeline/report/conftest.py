"""One small corpus and its report for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report import write_report
from tests.pipeline.report.small_corpus import SmallCorpus


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallCorpus:
    return SmallCorpus(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def page(small: SmallCorpus) -> Path:
    return Path(write_report(small.config, small.corpus, small.ledger()))
