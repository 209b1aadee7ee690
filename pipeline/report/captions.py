"""Text and captions: how much there is, which checks failed, and examples."""

from __future__ import annotations

from typing import Any

from pipeline.report.histograms import Bins, histograms, plain_histogram
from pipeline.report.tables import CARD_COLUMNS, Row, Tables
from stages.schemas import CAPTION_LANGUAGES, CAPTION_LEVELS

_SHARES = Bins(0.0, 0.05, 20)
_FIELDS = [f"{language}_{level}" for language in CAPTION_LANGUAGES for level in CAPTION_LEVELS]
#: Examples of each failed check, and lines of text listed of an example.
_PER_FLAG = 4
#: Images without text would hide the others.
_AREA = {"text_area": "CASE WHEN len(lines) > 0 THEN text_area END"}
_LINES = 40


def text_facts(tables: Tables) -> dict[str, Any] | None:
    """What ``ocr`` read; ``None`` where it has not run."""
    if not tables.ran("ocr"):
        return None
    totals = tables.one(
        "SELECT count(*) AS images, count(*) FILTER (WHERE len(lines) > 0) AS with_text, "
        "coalesce(sum(len(lines)), 0)::BIGINT AS lines, "
        "coalesce(sum(length(text)), 0)::BIGINT AS characters FROM ocr"
    )
    lines = "(SELECT unnest(lines) AS line FROM ocr)"
    confidence = tables.rows(
        f"SELECT {_SHARES.sql('line.confidence')} AS bin, count(*) AS n "  # noqa: S608
        f"FROM {lines} GROUP BY bin ORDER BY bin"
    )
    counts = {row["bin"]: row["n"] for row in confidence if row["bin"] is not None}
    return {
        **totals,
        "languages": tables.counts(
            f"SELECT line.language, count(*) FROM {lines} GROUP BY 1"  # noqa: S608
        ),
        "scripts": tables.counts(
            f"SELECT line.script, count(*) FROM {lines} GROUP BY 1"  # noqa: S608
        ),
        "confidence": plain_histogram(_SHARES, counts),
        "text_area": histograms(tables, "ocr", _AREA, kept=False, fixed={"text_area": _SHARES})[0],
    }


def caption_facts(tables: Tables, examples: int) -> dict[str, Any] | None:
    """What ``caption`` wrote, with examples; ``None`` where it has not run."""
    if not tables.ran("caption"):
        return None
    totals = tables.one(
        "SELECT count(*) AS images, count(*) FILTER (WHERE len(flags) > 0) AS flagged, "
        "count(*) FILTER (WHERE ocr_coverage < 1) AS not_all_quoted, "
        "count(ocr_coverage) AS with_coverage FROM caption"
    )
    return {
        **totals,
        "backends": tables.counts("SELECT backend, count(*) FROM caption GROUP BY backend"),
        "lengths": _lengths(tables),
        "flags": _flags(tables),
        "examples": _examples(tables, examples),
    }


def _lengths(tables: Tables) -> list[Row]:
    """Per language and level: captions that are there, and their mean length in characters."""
    parts = [
        f"count(nullif({name}, '')) AS n_{name}, "
        f"coalesce(sum(length({name})), 0)::BIGINT AS c_{name}"
        for name in _FIELDS
    ]
    row = tables.one(f"SELECT {', '.join(parts)} FROM caption")  # noqa: S608
    return [
        {
            "language": language,
            "level": level,
            "captions": row[f"n_{language}_{level}"],
            # A quotient of integers does not depend on the order of summation.
            "mean_characters": row[f"c_{language}_{level}"] / max(row[f"n_{language}_{level}"], 1),
        }
        for language in CAPTION_LANGUAGES
        for level in CAPTION_LEVELS
    ]


def _flags(tables: Tables) -> list[dict[str, Any]]:
    """Failed checks by kind: what stands before the first colon."""
    flags = (
        "(SELECT item_id, flag, trim(split_part(flag, ':', 1)) AS kind "
        "FROM (SELECT item_id, unnest(flags) AS flag FROM caption))"
    )
    kinds = tables.counts(f"SELECT kind, count(*) FROM {flags} GROUP BY kind")  # noqa: S608
    return [
        {
            "kind": kind,
            "count": count,
            "examples": tables.rows(
                f"SELECT {CARD_COLUMNS}, flag, en_long, zh_long FROM {flags} "  # noqa: S608
                "JOIN items USING (item_id) JOIN caption USING (item_id) WHERE kind = ? "
                "ORDER BY item_id, flag LIMIT ?",
                kind,
                _PER_FLAG,
            ),
        }
        for kind, count in kinds.items()
    ]


def _examples(tables: Tables, examples: int) -> list[Row]:
    """Captioned images, up to half of them with text in the image, chosen by a hash of the id."""
    captions = ", ".join([*_FIELDS, "backend", "ocr_coverage", "flags"])
    chosen = (
        f"SELECT {CARD_COLUMNS}, alt_text, {captions}, coalesce(lines, [])[:{_LINES}] AS lines, "  # noqa: S608
        "coalesce(len(lines), 0) AS line_count FROM items JOIN caption USING (item_id) "
        "LEFT JOIN ocr USING (item_id) WHERE (coalesce(len(lines), 0) > 0) = ? "
        "ORDER BY md5(item_id::VARCHAR), item_id LIMIT ?"
    )
    with_text = tables.rows(chosen, True, (examples + 1) // 2)
    return [*with_text, *tables.rows(chosen, False, examples - len(with_text))]
