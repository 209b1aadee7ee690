"""The audit's figures against what was put into the corpus."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.report.small_corpus import SmallCorpus, item_id


@pytest.fixture(scope="module")
def audit(page: Path) -> dict[str, Any]:
    return json.loads(page.with_name("audit.json").read_text("utf-8"))


def test_the_funnel_sums_at_every_step(audit: dict[str, Any]) -> None:
    steps = audit["funnel"]
    assert [(step["label"], step["count"]) for step in steps] == [
        ("Found", 14),
        ("Readable", 12),
        ("Profiled", 11),
        ("Embedded", 11),
        ("Scored", 11),
        ("Passed the filters", 9),
        ("Kept after deduplication", 6),
        ("Text read", 5),
        ("Captioned", 5),
        ("In shards", 5),
    ]
    for before, step in pairwise(steps):
        assert step["count"] + sum(drop["count"] for drop in step["dropped"]) == before["count"]
    reasons = {(drop["kind"], drop["reason"]) for step in steps for drop in step["dropped"]}
    assert ("filtered", "min_side") in reasons
    assert ("removed", "exact") in reasons
    assert ("quarantined", "truncated") in reasons


def test_quarantine_names_stage_reason_and_file(audit: dict[str, Any]) -> None:
    found = {(each["stage"], each["reason"]): each["count"] for each in audit["quarantine"]}
    assert found == {
        ("ingest", "empty"): 1,
        ("ingest", "truncated"): 1,
        ("profile", "unreadable"): 1,
        ("ocr", "stage_error"): 1,
    }
    assert [each["stage"] for each in audit["quarantine"]] == ["ingest", "ingest", "profile", "ocr"]
    assert audit["quarantine"][0]["examples"][0]["uri"] == "/in/broken-13.jpg"


def test_groups_name_the_kept_image_and_every_similarity(audit: dict[str, Any]) -> None:
    duplicates = audit["duplicates"]
    assert duplicates["by_reason"] == {"exact": 1, "perceptual": 1, "semantic": 1}
    (group,) = duplicates["largest"]
    assert group["kept"]["item_id"] == item_id(0)
    assert group["removed"] == 3
    members = [(each["item_id"], each["similarity"], each["reason"]) for each in group["members"]]
    assert members == [
        (item_id(3), pytest.approx(0.91), "semantic"),
        (item_id(2), pytest.approx(0.97), "perceptual"),
        (item_id(1), 1.0, "exact"),
    ]
    assert sum(duplicates["similarity"]["all"]) == 3
    assert {row["size"]: row["clusters"] for row in duplicates["cluster_sizes"]} == {1: 5, 4: 1}


def test_both_sides_of_the_threshold_are_shown(audit: dict[str, Any]) -> None:
    duplicates = audit["duplicates"]
    assert duplicates["borderline"][0]["removed"]["item_id"] == item_id(3)
    closest = duplicates["closest_kept"][0]
    assert [each["item_id"] for each in closest["pair"]] == [item_id(4), item_id(5)]
    assert closest["similarity"] == pytest.approx(0.89)
    # 9 and 10 are both kept as well; pairs with removed images do not count.
    assert duplicates["kept_pairs"] == 2


def test_a_simple_clause_comes_with_its_distribution(audit: dict[str, Any]) -> None:
    clauses = {each["name"]: each for each in audit["filter"]["clauses"]}
    simple = clauses["min_side"]
    assert simple["dropped"] == 1
    assert simple["test"]["value"] == "least(width, height)"
    assert simple["test"]["cut"] == 64
    histogram = simple["test"]["histogram"]
    counted = sum(histogram["all"]) + histogram["below"] + histogram["above"]
    assert counted == histogram["values"] == 11
    assert [each["item_id"] for each in simple["dropped_examples"]] == [item_id(6)]
    assert simple["dropped_examples"][0]["value"] == 30
    assert item_id(6) not in {each["item_id"] for each in simple["passed_examples"]}
    assert (simple["left"], clauses["not_blank"]["left"]) == (10, 9)


def test_any_other_clause_comes_with_a_sample_of_both_sides(audit: dict[str, Any]) -> None:
    clauses = {each["name"]: each for each in audit["filter"]["clauses"]}
    mixed = clauses["not_blank"]
    assert mixed["test"] is None
    assert [each["item_id"] for each in mixed["dropped_examples"]] == [item_id(7)]
    passed = {each["item_id"] for each in mixed["passed_examples"]}
    assert passed == {item_id(n) for n in (0, 1, 2, 3, 4, 5, 9, 10, 11)}


def test_signals_count_all_and_kept_images(audit: dict[str, Any]) -> None:
    signals = {each["name"]: each for each in audit["signals"]}
    assert "phash" not in signals
    assert "aesthetic" not in signals, "a score nobody computed is no distribution"
    for histogram in signals.values():
        for counts, kind in ((11, ""), (5, "kept_")):
            inside = histogram["kept" if kind else "all"]
            total = sum(inside) + histogram[f"{kind}below"] + histogram[f"{kind}above"]
            assert total == counts, histogram["name"]
        assert len(histogram["edges"]) == len(histogram["all"]) + 1
        assert histogram["edges"] == sorted(histogram["edges"])
    assert signals["entropy"]["minimum"] == 4.0
    assert signals["entropy"]["quantiles"]["0.5"] == pytest.approx(24.0)


def test_shapes_and_totals_agree(audit: dict[str, Any]) -> None:
    for name, rows in audit["shapes"].items():
        assert sum(row["all"] for row in rows) == 12, name
        assert sum(row["kept"] for row in rows) == 5, name
    assert audit["totals"]["readable"]["items"] == 12
    assert audit["totals"]["kept"]["items"] == 5
    assert audit["totals"]["kept"]["bytes"] == audit["shards"]["image_bytes"]
    assert audit["shards"]["samples"] == 5
    assert audit["shards"]["bytes"] == 5000


def test_text_and_captions(audit: dict[str, Any], small: SmallCorpus) -> None:
    assert audit["text"]["with_text"] == 1
    assert audit["text"]["languages"] == {"en": 1, "zh": 1}
    captions = audit["captions"]
    assert captions["backends"] == {"composer": 5}
    assert [(flag["kind"], flag["count"]) for flag in captions["flags"]] == [("text_missing", 1)]
    assert captions["examples"][0]["item_id"] == item_id(10), "images with text come first"
    assert len(captions["examples"]) == 5
    assert len(captions["lengths"]) == 10
    checks = {each["name"]: (each["images"], each["share"]) for each in captions["checks"]}
    assert checks["invented_text"] == (1, 0.2)
    assert checks["refusing"] == (0, 0.0)
    means = {each["name"]: (each["images"], each["mean"]) for each in captions["means"]}
    assert means["ocr_coverage"] == (1, 0.5)
    assert "en_purity" not in means, "nobody measured it"
    spent = {"answers": 10, "prompt_tokens": 5000, "completion_tokens": 2500, "cost": None}
    assert captions["cost"] == spent
    assert audit["configuration"]["dedup"]["threshold"] == small.config.dedup.threshold
    assert audit["versions"]["winnow"]
