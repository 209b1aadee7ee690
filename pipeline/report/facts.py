"""Everything the report states, as JSON-ready values; the page shows nothing else."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from pipeline.config import Config
from pipeline.ledger import Ledger
from pipeline.report.captions import caption_facts, text_facts
from pipeline.report.duplicates import duplicate_facts
from pipeline.report.filters import filter_facts
from pipeline.report.funnel import funnel
from pipeline.report.histograms import histograms
from pipeline.report.pairs import pair_facts
from pipeline.report.tables import Row, Tables
from pipeline.report.versions import versions
from stages.corpus import Corpus
from stages.dedup import SEARCH_FILE
from stages.storage import Storage

_ITEM_QUANTITIES = ("width", "height", "bytes")

#: Common shapes, as width over height; an image counts as the nearest in the logarithm.
ASPECTS = {
    "1:2": 1 / 2,
    "9:16": 9 / 16,
    "2:3": 2 / 3,
    "3:4": 3 / 4,
    "1:1": 1.0,
    "4:3": 4 / 3,
    "3:2": 3 / 2,
    "16:9": 16 / 9,
    "2:1": 2.0,
}
_USER_INFO = re.compile(r"://[^/@\s]+@")
#: Classes of size by megapixels: upper edges.
MEGAPIXELS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def gather(config: Config, corpus: Corpus, ledger: Ledger, tables: Tables) -> dict[str, Any]:
    """All facts of the audit; those of stages that have not run are null.

    Args:
        config: The run.
        corpus: The tables, for the funnel.
        ledger: The balanced ledger.
        tables: The tables that are up to date.
    """
    report = config.report
    return {
        "format": "winnow-audit",
        "version": 1,
        "title": report.title,
        "corpus": config.corpus,
        "versions": versions(),
        "configuration": _without_passwords(config.model_dump(mode="json")),
        "stages": tables.stages,
        "funnel": funnel(corpus, ledger),
        "ledger": ledger.to_json(),
        "totals": _totals(tables),
        "sources": _sources(tables),
        "quarantine": _quarantine(tables, report.examples),
        "filter": filter_facts(tables, config.filter, corpus.storage, report.examples),
        "duplicates": duplicate_facts(
            tables, config.dedup.threshold, report.groups, report.examples, _search(corpus)
        ),
        "signals": _signals(tables),
        "shapes": _shapes(tables),
        "text": text_facts(tables),
        "captions": caption_facts(tables, report.examples, config.caption),
        "pairs": pair_facts(tables, report.examples),
        "shards": _shards(tables, corpus.storage, corpus.place("shards")),
    }


def _search(corpus: Corpus) -> dict[str, Any] | None:
    """Figures that ``dedup`` left of its search; null for a corpus of an earlier version."""
    uri = corpus.place("dedup", SEARCH_FILE)
    if not corpus.storage.exists(uri):
        return None
    figures: dict[str, Any] = json.loads(corpus.storage.read(uri))
    return figures


def _without_passwords(value: Any) -> Any:  # noqa: ANN401 - JSON values
    """The same values, with what stands before ``@`` in a url blanked: reports get passed on."""
    if isinstance(value, dict):
        return {key: _without_passwords(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_passwords(each) for each in value]
    return _USER_INFO.sub("://***@", value) if isinstance(value, str) else value


def _totals(tables: Tables) -> Row | None:
    """Images, bytes and pixels of all readable items and of the kept ones."""
    if not tables.ran("ingest"):
        return None
    rows = tables.rows(
        "SELECT is_kept, count(*) AS items, coalesce(sum(bytes), 0)::BIGINT AS bytes, "
        "coalesce(sum(width::BIGINT * height), 0)::BIGINT AS pixels FROM "
        "(SELECT *, item_id IN (SELECT item_id FROM kept) AS is_kept FROM items) GROUP BY is_kept"
    )
    names = ("items", "bytes", "pixels")
    kept = {name: sum(row[name] for row in rows if row["is_kept"]) for name in names}
    readable = {name: sum(row[name] for row in rows) for name in names}
    return {"readable": readable, "kept": kept if tables.ran("dedup") else None}


def _sources(tables: Tables) -> list[Row]:
    """Readable items per configured source; what a source held beyond them is in quarantine."""
    return tables.rows(
        "SELECT source, count(*) AS items, sum(bytes)::BIGINT AS bytes, "
        "count(*) FILTER (WHERE item_id IN (SELECT item_id FROM kept)) AS kept "
        "FROM items GROUP BY source ORDER BY source"
    )


def _quarantine(tables: Tables, examples: int) -> list[Row]:
    """Quarantined items by stage and reason, the stages in the order of the line."""
    groups = tables.rows(
        "SELECT stage, reason, count(*) AS count FROM quarantine GROUP BY stage, reason "
        "ORDER BY list_position(?::VARCHAR[], stage), count(*) DESC, reason",
        tables.stages,
    )
    for group in groups:
        group["examples"] = tables.rows(
            "SELECT item_id, uri, key, detail FROM quarantine WHERE stage = ? AND reason = ? "
            "ORDER BY item_id LIMIT ?",
            group["stage"],
            group["reason"],
            examples,
        )
    return groups


def _signals(tables: Tables) -> list[dict[str, Any]] | None:
    if not tables.ran("ingest", "profile"):
        return None
    names = tables.quantities("profile", "score")
    columns = {name: name for name in (*_ITEM_QUANTITIES, *names)}
    found = histograms(tables, "measured", columns, kept=tables.ran("dedup"))
    return [each for each in found if each["values"]]


def _shapes(tables: Tables) -> dict[str, Any] | None:
    """Formats, colour modes, languages, sizes and shapes: counts of all and of kept items."""
    if not tables.ran("ingest"):
        return None
    return {
        "format": _classes(tables, "format"),
        "mode": _classes(tables, "mode"),
        "alt_text_language": _classes(tables, "language"),
        "aspect": _classes(tables, _aspect_sql(), list(ASPECTS)),
        "megapixels": _classes(tables, _megapixel_sql(), _megapixel_names()),
    }


def _classes(tables: Tables, expression: str, order: list[str] | None = None) -> list[Row]:
    """Items per value of an expression, of all and of the kept; largest first or in order."""
    rows = tables.rows(
        f"SELECT {expression} AS name, count(*) AS all_items, "  # noqa: S608 - our own expressions
        "count(*) FILTER (WHERE item_id IN (SELECT item_id FROM kept)) AS kept "
        "FROM items GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    known = tables.ran("dedup")
    named = [
        {"name": row["name"], "all": row["all_items"], "kept": row["kept"] if known else None}
        for row in rows
    ]
    if order is None:
        return named
    found = {row["name"]: row for row in named}
    nothing = {"all": 0, "kept": 0 if known else None}
    return [found.get(name, {"name": name, **nothing}) for name in order]


def _aspect_sql() -> str:
    """The nearest common shape of an image, by SQL."""
    ratios = sorted(ASPECTS.items(), key=lambda each: each[1])
    parts = ["CASE"]
    for (name, ratio), (_, above) in pairwise(ratios):
        # The geometric mean lies half way in the logarithm.
        parts.append(f"WHEN width / height::DOUBLE < {(ratio * above) ** 0.5!r} THEN '{name}'")
    return " ".join([*parts, f"ELSE '{ratios[-1][0]}' END"])


def _megapixel_sql() -> str:
    parts = ["CASE"]
    for edge, name in zip(MEGAPIXELS, _megapixel_names(), strict=False):
        parts.append(f"WHEN width::BIGINT * height < {int(edge * 1_000_000)} THEN '{name}'")
    return " ".join([*parts, f"ELSE '{_megapixel_names()[-1]}' END"])


def _megapixel_names() -> list[str]:
    between = [f"{a:g}-{b:g} MP" for a, b in pairwise(MEGAPIXELS)]
    return [f"under {MEGAPIXELS[0]:g} MP", *between, f"{MEGAPIXELS[-1]:g} MP and more"]


def _shards(tables: Tables, storage: Storage, folder: str) -> dict[str, Any] | None:
    if not tables.ran("shard"):
        return None
    sizes = {str(info.path).rpartition("/")[2]: info.size for info in storage.files(folder)}
    shards = tables.rows(
        "SELECT shard, count(*) AS samples, sum(i.bytes)::BIGINT AS image_bytes "
        "FROM shards s JOIN items i USING (item_id) GROUP BY shard ORDER BY shard"
    )
    for each in shards:
        each["bytes"] = sizes.get(each["shard"])
    return {
        "count": len(shards),
        "samples": sum(each["samples"] for each in shards),
        "bytes": sum(each["bytes"] or 0 for each in shards),
        "image_bytes": sum(each["image_bytes"] for each in shards),
        "shards": shards,
    }
