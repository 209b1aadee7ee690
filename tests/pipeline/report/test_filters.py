"""Clauses in the report: comparisons, and the changes that sources make."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.report.filters import Comparison, comparison, filter_facts
from pipeline.report.tables import Tables
from stages.filter import FilterSettings
from tests.pipeline.report.small_corpus import SmallCorpus, item_id


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("aesthetic is null or aesthetic > 4.5", Comparison("aesthetic", ">", 4.5)),
        ("aesthetic > 4.5 OR aesthetic IS NULL", Comparison("aesthetic", ">", 4.5)),
        ("nsfw IS NULL\n  OR Nsfw <= .5", Comparison("Nsfw", "<=", 0.5)),
        ("nsfw is null or aigc <= .5", None),
        ("nsfw is null or nsfw < 0.5 or width > 3", None),
        ("nsfw is not null", None),
        ("a is null or a", None),
    ],
)
def test_a_comparison_may_say_that_null_passes(clause: str, expected: Comparison | None) -> None:
    assert comparison(clause) == expected


def facts(corpus: SmallCorpus, **settings: Any) -> list[dict[str, Any]]:
    with Tables(corpus.corpus, ["ingest", "profile", "score", "filter", "dedup"]) as tables:
        found = filter_facts(tables, FilterSettings(**settings), corpus.corpus.storage, 20)
    assert found is not None
    return found["clauses"]


def test_a_clause_that_a_source_changes_is_shown_with_each_text(
    small: SmallCorpus,
) -> None:
    clauses = {"min_side": "least(width, height) >= 64", "not_blank": "contrast >= 2 and true"}
    pattern = str(small.folder / "in" / "picture-0[0-6].jpg")
    changes = {"min_side": "least(width, height) >= 32", "extra": "entropy > 1", "not_blank": None}
    found = facts(small, clauses=clauses, sources={pattern: {"clauses": changes}})
    shown = [(each["name"], each["sql"], each["sources"]) for each in found]
    assert shown == [
        ("min_side", clauses["min_side"], []),
        ("min_side", changes["min_side"], [pattern]),
        ("not_blank", clauses["not_blank"], []),
        ("extra", "entropy > 1", [pattern]),
    ]
    common, changed, blank, extra = found
    # 6 was dropped by min_side and is one of those that the pattern names; 7 is not.
    assert (common["dropped"], changed["dropped"], blank["dropped"]) == (0, 1, 1)
    passed = {each["item_id"] for each in changed["passed_examples"]}
    assert passed == {item_id(n) for n in (0, 1, 2, 4, 5)}
    assert [each["item_id"] for each in changed["dropped_examples"]] == [item_id(6)]
    assert sum(extra["test"]["histogram"]["all"]) == 6
    sample = {each["item_id"] for each in blank["passed_examples"]}
    assert sample == {item_id(n) for n in (3, 9, 10, 11)}
