"""Text and captions: how much there is, which checks failed, and examples."""

from __future__ import annotations

from typing import Any

from pipeline.report.histograms import Bins, histograms, plain_histogram
from pipeline.report.tables import CARD_COLUMNS, Row, Tables
from stages.caption import CaptionSettings
from stages.schemas import CAPTION_LANGUAGES, CAPTION_LEVELS

_SHARES = Bins(0.0, 0.05, 20)
_FIELDS = [f"{language}_{level}" for language in CAPTION_LANGUAGES for level in CAPTION_LEVELS]
#: Examples of each failed check, and lines of text listed of an example.
_PER_FLAG = 4
#: Images without text would hide the others.
_AREA = {"text_area": "CASE WHEN len(lines) > 0 THEN text_area END"}
_LINES = 40
#: Checks whose column lists the captions that failed, or what they hold that they should not.
_LISTS = {
    "appended": "had missing text appended",
    "asked_again": "was asked for again",
    "invented_text": "quotes text that nobody read",
    "unknown_names": "names what nobody named",
    "other_language": "is in another language",
    "empty": "has no word",
    "too_short": "is too short",
    "too_long": "is too long",
    "repeating": "repeats itself",
    "refusing": "reads like a refusal",
}
#: Checks whose column is a share or a distance; means over the images that have one.
_MEANS = {
    "ocr_coverage": "Confident lines quoted in both long captions",
    "first_ocr_coverage": "The same before repair",
    "medium_ocr_coverage": "Confident lines quoted in both medium captions",
    "first_ocr_edit_distance": "Edits per letter of a line, before repair",
    "ocr_edit_distance": "Edits per letter of a line, after repair",
    "en_purity": "Words in Latin script, least of the English captions",
    "zh_purity": "Han characters, least of the Chinese captions",
}


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


def caption_facts(
    tables: Tables, examples: int, settings: CaptionSettings
) -> dict[str, Any] | None:
    """What ``caption`` wrote, with examples; ``None`` where it has not run.

    Args:
        tables: The tables that are up to date.
        examples: Images shown.
        settings: Hold the prices of tokens.
    """
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
        "checks": _checks(tables),
        "means": _means(tables),
        "cost": _cost(tables, settings),
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


def _checks(tables: Tables) -> list[Row]:
    """Images per check that failed or repaired something, those of a column of lists."""
    counts = ", ".join(f"count(*) FILTER (WHERE len({name}) > 0) AS {name}" for name in _LISTS)
    row = tables.one(f"SELECT count(*) AS images, {counts} FROM caption")  # noqa: S608
    return [
        {"name": name, "label": label, "images": row[name], "share": row[name] / row["images"]}
        for name, label in _LISTS.items()
        if row["images"]
    ]


def _means(tables: Tables) -> list[Row]:
    """Means of the checks that measure, over the images where they could."""
    # Decimals are summed exactly, so the order of rows does not show.
    parts = [
        f"count({name}) AS n_{name}, sum({name}::DECIMAL(18, 6))::DOUBLE AS s_{name}"
        for name in _MEANS
    ]
    row = tables.one(f"SELECT {', '.join(parts)} FROM caption")  # noqa: S608
    return [
        {"name": name, "label": label, "images": row[f"n_{name}"],
         "mean": row[f"s_{name}"] / row[f"n_{name}"]}
        for name, label in _MEANS.items()
        if row[f"n_{name}"]
    ]  # fmt: skip


def _cost(tables: Tables, settings: CaptionSettings) -> dict[str, Any] | None:
    """Tokens of the answers that the captions rest on, whichever run paid for them."""
    row = tables.one(
        "SELECT coalesce(sum(answers), 0)::BIGINT AS answers, "
        "coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens, "
        "coalesce(sum(completion_tokens), 0)::BIGINT AS completion_tokens FROM caption"
    )
    if not row["answers"]:
        return None
    cost = settings.cost(row["prompt_tokens"], row["completion_tokens"])
    priced = bool(settings.prompt_price or settings.completion_price)
    return {**row, "cost": cost if priced else None}


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
