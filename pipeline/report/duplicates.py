"""Duplicates: what was removed because of which kept image, and what came close."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.report.histograms import Bins, plain_histogram
from pipeline.report.tables import Row, Tables, distinct

#: Most removed images listed of one group.
MEMBERS = 9
_BINS = 25
#: One large group must not fill the list of borderline pairs.
_PER_WITNESS = 2


def duplicate_facts(
    tables: Tables,
    threshold: float,
    groups: int,
    examples: int,
    search: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """What deduplication did, with galleries.

    A group is one kept image with the images removed because of it: its witness groups, not
    the communities, are what a person can check pair by pair.

    Args:
        tables: Where to read.
        threshold: Least similarity of a removed image to its witness.
        groups: Most groups listed.
        examples: Most borderline pairs listed, on either side of the threshold.
        search: Figures of the search and of its recall, as the stage left them.

    Returns:
        ``None`` where ``dedup`` has not run.
    """
    if not tables.ran("dedup"):
        return None
    totals = tables.one(
        "SELECT count(*) AS compared, count(*) FILTER (WHERE NOT keep) AS removed, "
        "count(DISTINCT witness_id) AS groups, count(DISTINCT cluster) AS clusters FROM dedup"
    )
    return {
        "threshold": threshold,
        "search": search,
        **totals,
        "by_reason": tables.counts(
            "SELECT reason, count(*) FROM dedup WHERE NOT keep GROUP BY reason"
        ),
        "cluster_sizes": _cluster_sizes(tables),
        "similarity": _similarities(tables, threshold),
        "largest": _largest(tables, groups),
        "borderline": _borderline(tables, examples),
        **_closest_kept(tables, examples),
    }


def _cluster_sizes(tables: Tables) -> list[Row]:
    """How many communities there are of each size, and how many of their images are kept."""
    return tables.rows(
        "SELECT size, count(*) AS clusters, sum(kept)::BIGINT AS kept FROM "
        "(SELECT count(*) AS size, count(*) FILTER (WHERE keep) AS kept FROM dedup "
        "GROUP BY cluster) GROUP BY size ORDER BY size"
    )


def _similarities(tables: Tables, threshold: float) -> dict[str, Any]:
    """Removed images by similarity to their witness, from the threshold to 1, by reason."""
    step = (1.0 - threshold) / _BINS
    bins = Bins(threshold, step, _BINS) if step > 0 else Bins(threshold, 1e-6, 1)
    low, high = bins.edges[0], bins.edges[-1]
    # float32 values of the threshold and of 1 itself may lie a rounding error outside.
    value = f"least(greatest(witness_similarity::DOUBLE, {low!r}), {high!r})"
    rows = tables.rows(
        f"SELECT {bins.sql(value)} AS bin, reason, count(*) AS count FROM dedup "  # noqa: S608
        "WHERE NOT keep GROUP BY bin, reason ORDER BY bin, reason"
    )
    reasons: dict[str, list[int]] = {}
    total: Counter[int] = Counter()
    for row in rows:
        place = min(max(row["bin"], 0), bins.count - 1)
        reasons.setdefault(row["reason"], [0] * bins.count)[place] += row["count"]
        total[place] += row["count"]
    return {**plain_histogram(bins, total), "by_reason": reasons}


def _largest(tables: Tables, groups: int) -> list[dict[str, Any]]:
    """The groups with most removed images; of each, those least like the kept one."""
    rows = tables.rows(
        "WITH largest AS (SELECT witness_id, count(*) AS removed FROM dedup WHERE NOT keep "
        "GROUP BY witness_id ORDER BY removed DESC, witness_id LIMIT ?) "
        "SELECT witness_id, removed, item_id, witness_similarity AS similarity, reason "
        "FROM dedup JOIN largest USING (witness_id) WHERE NOT keep "
        "QUALIFY row_number() OVER (PARTITION BY witness_id "
        "ORDER BY witness_similarity, item_id) <= ? "
        "ORDER BY removed DESC, witness_id, similarity, item_id",
        groups,
        MEMBERS,
    )
    cards = tables.cards(distinct([*_column(rows, "witness_id"), *_column(rows, "item_id")]))
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        group = found.setdefault(
            row["witness_id"],
            {"kept": cards[row["witness_id"]], "removed": row["removed"], "members": []},
        )
        group["members"].append(_member(row, cards[row["item_id"]]))
    return list(found.values())


def _borderline(tables: Tables, examples: int) -> list[dict[str, Any]]:
    """Removed images closest to the threshold, each with its witness."""
    rows = tables.rows(
        "SELECT item_id, witness_id, witness_similarity AS similarity, reason FROM dedup "
        "WHERE NOT keep QUALIFY row_number() OVER "
        "(PARTITION BY witness_id ORDER BY witness_similarity, item_id) <= ? "
        "ORDER BY witness_similarity, item_id LIMIT ?",
        _PER_WITNESS,
        examples,
    )
    cards = tables.cards(distinct([*_column(rows, "witness_id"), *_column(rows, "item_id")]))
    return [
        {"kept": cards[row["witness_id"]], "removed": _member(row, cards[row["item_id"]])}
        for row in rows
    ]


def _closest_kept(tables: Tables, examples: int) -> dict[str, Any]:
    """The most similar pairs of which both images are kept, from the stored graph."""
    pairs = (
        "SELECT DISTINCT least(src, dst) AS a, greatest(src, dst) AS b, similarity FROM edges "
        "WHERE src IN (SELECT item_id FROM kept) AND dst IN (SELECT item_id FROM kept)"
    )
    rows = tables.rows(f"{pairs} ORDER BY similarity DESC, a, b LIMIT ?", examples)
    cards = tables.cards(distinct([*_column(rows, "a"), *_column(rows, "b")]))
    return {
        "kept_pairs": tables.one(f"SELECT count(*) AS n FROM ({pairs})")["n"],  # noqa: S608
        "closest_kept": [
            {"similarity": row["similarity"], "pair": [cards[row["a"]], cards[row["b"]]]}
            for row in rows
        ],
    }


def _member(row: Row, card: Row) -> Row:
    return {**card, "similarity": row["similarity"], "reason": row["reason"]}


def _column(rows: list[Row], name: str) -> list[int]:
    return [row[name] for row in rows]
