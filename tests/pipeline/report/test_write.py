"""Writing: determinism, skipping, partial corpora, object stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import write_report
from stages.corpus import Corpus
from stages.storage import Storage, StorageSettings
from tests.conftest import S3Server
from tests.pipeline.report.small_corpus import ALL, SmallCorpus, item_id


def audit_of(page: Path) -> dict[str, Any]:
    return json.loads(page.with_name("audit.json").read_text("utf-8"))


def test_the_same_corpus_gives_the_same_bytes(small: SmallCorpus, page: Path) -> None:
    before = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    assert set(before) == {"index.html", "audit.json"}
    write_report(small.config, small.corpus, small.ledger(), force=True)
    assert {path.name: path.read_bytes() for path in page.parent.iterdir()} == before


def test_a_current_report_is_not_written_again(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    page = Path(write_report(small.config, small.corpus, small.ledger()))
    page.write_text("touched")
    write_report(small.config, small.corpus, small.ledger())
    assert page.read_text() == "touched"
    page.unlink()
    write_report(small.config, small.corpus, small.ledger())
    assert page.stat().st_size > 10_000
    written = page.read_bytes()
    page.write_text("touched")
    write_report(small.config, small.corpus, small.ledger(), force=True)
    assert page.read_bytes() == written


def test_another_configuration_or_table_makes_the_report_stale(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    page = Path(write_report(small.config, small.corpus, small.ledger()))
    first = audit_of(page)["fingerprint"]
    report = small.config.report.model_copy(update={"title": "Another"})
    write_report(small.config.model_copy(update={"report": report}), small.corpus, small.ledger())
    second = audit_of(page)["fingerprint"]
    small.commit("edges", [{"src": item_id(9), "dst": item_id(10), "similarity": 0.7}])
    small.corpus.reopen("edges", 0)
    write_report(small.config, small.corpus, small.ledger())
    third = audit_of(page)
    assert first != second
    assert third["fingerprint"] not in {first, second}
    assert third["duplicates"]["kept_pairs"] == 1


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> SmallCorpus:
    return SmallCorpus(tmp_path_factory.mktemp("partial"))


@pytest.mark.parametrize("count", range(1, len(ALL)))
def test_a_partial_corpus_says_what_has_not_run(other: SmallCorpus, count: int) -> None:
    stages = ALL[:count]
    page = Path(write_report(other.config, other.corpus, other.ledger(stages)))
    audit, html = audit_of(page), page.read_text("utf-8")
    sections = {
        "filter": "filter",
        "dedup": "duplicates",
        "ocr": "text",
        "caption": "captions",
        "shard": "shards",
        "profile": "signals",
    }
    for stage, section in sections.items():
        missing = f"Not run: stage <code>{stage}</code>"
        assert (audit[section] is None) == (stage not in stages)
        assert (missing in html) == (stage not in stages)
    outcomes = audit["ledger"]["outcomes"]
    assert sum(outcomes.values()) == 14
    assert audit["funnel"][-1]["count"] == outcomes["kept"] + outcomes["pending"]


def test_a_corpus_without_items(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    empty = Corpus(str(tmp_path / "empty"), Storage())
    config = small.config.model_copy(update={"corpus": empty.uri})
    from pipeline.runner import current_ledger

    page = Path(write_report(config, empty, current_ledger(config, empty)))
    assert audit_of(page)["funnel"][0]["count"] == 0
    assert "Nothing is in quarantine" in page.read_text("utf-8")


def test_passwords_in_addresses_do_not_reach_the_report(other: SmallCorpus) -> None:
    storage = other.config.storage.model_copy(update={"endpoint": "http://me:secret@store:9000"})
    config = other.config.model_copy(update={"storage": storage})
    page = Path(write_report(config, other.corpus, other.ledger()))
    for path in page.parent.iterdir():
        assert "secret" not in path.read_text("utf-8")
    assert "http://***@store:9000" in page.read_text("utf-8")


def test_unreadable_sources_leave_placeholders(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    (tmp_path / "in" / "picture-00.jpg").unlink()
    (tmp_path / "in" / "picture-04.jpg").write_bytes(b"no picture any more")
    html = Path(write_report(small.config, small.corpus, small.ledger())).read_text("utf-8")
    assert "cannot be read now" in html
    assert "data:image/webp" in html


def test_the_report_lies_on_object_stores(s3: S3Server, small: SmallCorpus) -> None:
    s3.upload(small.folder / "corpus", "reports/corpus")
    storage = Storage(StorageSettings(endpoint=s3.endpoint))
    corpus = Corpus("s3://reports/corpus", storage)
    config = small.config.model_copy(update={"corpus": corpus.uri})
    uri = write_report(config, corpus, small.ledger())
    assert uri == "s3://reports/corpus/report/index.html"
    assert b"<!doctype html>" in storage.read(uri)[:40]
    audit = json.loads(storage.read("s3://reports/corpus/report/audit.json"))
    assert audit["ledger"]["outcomes"]["kept"] == 5
