"""Writes the report, unless the one that lies there was made from the same things."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pipeline.config import Config
from pipeline.ledger import Ledger
from pipeline.report.facts import gather
from pipeline.report.page import render
from pipeline.report.tables import Tables
from pipeline.report.thumbnails import make_thumbnails
from pipeline.report.versions import versions
from stages.corpus import Corpus, digest
from stages.schemas import TABLES

#: Raised when the content of the report changes for the same tables.
REPORT_VERSION = 1


def write_report(config: Config, corpus: Corpus, ledger: Ledger, *, force: bool = False) -> str:
    """Write ``report/audit.json`` and ``report/index.html`` below the corpus.

    Both hold no date and no duration: the same corpus, configuration and installed versions
    give the same bytes. Sections of stages that are not in the ledger say so.

    Args:
        config: The run.
        corpus: The tables.
        ledger: The balanced ledger; its lines name the stages whose tables are up to date.
        force: Write it even where it is up to date.

    Returns:
        The uri of ``index.html``.
    """
    page_uri = corpus.place("report", "index.html")
    audit_uri = corpus.place("report", "audit.json")
    fingerprint = report_fingerprint(config, corpus, ledger)
    if not force and _is_current(corpus, audit_uri, page_uri, fingerprint):
        return page_uri
    with Tables(corpus, [line.stage for line in ledger.lines]) as tables:
        audit = gather(config, corpus, ledger, tables)
        audit["fingerprint"] = fingerprint
        thumbnails = make_thumbnails(tables, corpus.storage, audit, config.report.thumbnail_px)
    page = render(audit, thumbnails, config.report.thumbnail_px)
    corpus.storage.write(page_uri, page.encode())
    # The audit carries the fingerprint, so it is the commit and comes last.
    corpus.storage.write(audit_uri, to_json(audit))
    return page_uri


def to_json(audit: dict[str, Any]) -> bytes:
    """The audit as canonical JSON: sorted keys, no NaN."""
    text = json.dumps(audit, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return (text + "\n").encode()


def report_fingerprint(config: Config, corpus: Corpus, ledger: Ledger) -> str:
    """Hash of everything the report is made from."""
    stamps = {
        table: {str(partition): asdict(stamp) for partition, stamp in corpus.stamps(table).items()}
        for table in TABLES
        if table != "quarantine"
    }
    return digest(
        REPORT_VERSION, versions(), config.model_dump(mode="json"), ledger.to_json(), stamps
    )


def _is_current(corpus: Corpus, audit_uri: str, page_uri: str, fingerprint: str) -> bool:
    try:
        audit = json.loads(corpus.storage.read(audit_uri))
    except (FileNotFoundError, ValueError):
        return False
    current = isinstance(audit, dict) and audit.get("fingerprint") == fingerprint
    return current and corpus.storage.exists(page_uri)
