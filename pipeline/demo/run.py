"""``winnow demo``: make a sample set, run the line on it, compare with the planted truth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.config import Config, parse_config
from pipeline.demo.sampleset import write_sample_set
from pipeline.demo.truth import Comparison, compare
from pipeline.ledger import outcome_tables
from pipeline.registry import STAGES
from pipeline.report import write_report
from pipeline.runner import Runner
from pipeline.summary import print_result
from stages.contract import ConfigurationError
from stages.corpus import Corpus

_PLANTED = {
    "exact": "same bytes under another name",
    "near_easy": "re-encoded, resized, converted, brightened",
    "near_hard": "cropped, mirrored, turned, framed, stamped",
    "broken": "quarantined with the right reason",
    "oddities": "CMYK, 16-bit, animated, EXIF-turned, ...: read all the same",
    "poster_lines": "lines of text read as written",
}


def demo_config(folder: Path) -> Config:
    """The configuration of the demo: embedded defaults over the sample set."""
    raw = {
        "corpus": str(folder / "corpus"),
        "source": [
            {"uri": str(folder / "images"), "kind": "folder"},
            {"uri": str(folder / "tars"), "kind": "tar"},
        ],
        # Small enough for all cores to share 300 images evenly.
        "ingest": {"partition_items": 40},
        # Its posters share layouts, which the embedder sees before it sees their text.
        "dedup": {"threshold": 0.94},
        # 17 of the 309 are broken on purpose.
        "run": {"max_quarantine": 0.1},
    }
    return parse_config(raw, "the demo")


def run_demo(console: Console, folder: Path, seed: int) -> None:
    """Make the sample set, run the line, print what was found against the truth.

    Args:
        console: Where to print.
        folder: Gets ``images/``, ``tars/``, ``truth.jsonl``, ``config.yaml`` and ``corpus/``.
        seed: Seed of the sample set.
    """
    if folder.is_file() or (folder.is_dir() and _is_foreign(folder)):
        raise ConfigurationError(f"{folder} is not empty and no demo: choose another folder")
    started = time.perf_counter()
    truth = write_sample_set(folder, seed)
    console.print(
        f"sample set: {len(truth.items)} items with known truth in {escape(str(folder))} "
        f"({time.perf_counter() - started:.1f} s)",
        highlight=False,
        soft_wrap=True,
    )
    config = demo_config(folder)
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    runner = Runner(config)
    result = runner.run()
    report = write_report(config, runner.corpus, result.ledger)
    print_result(console, config, result, report)
    print_comparison(console, compare(truth, outcomes_of(runner.corpus)))
    console.print(f"demo    done in {time.perf_counter() - started:.1f} s", highlight=False)


def _is_foreign(folder: Path) -> bool:
    return any(folder.iterdir()) and not (folder / "truth.jsonl").is_file()


def outcomes_of(corpus: Corpus) -> list[dict[str, Any]]:
    """What became of every item, with its cluster and the text read in it."""
    partitions = corpus.partitions()
    clusters: dict[int, int] = {}
    texts: dict[int, str] = {}
    for each in partitions:
        decided = corpus.read("dedup", each, ["item_id", "cluster"])
        clusters |= zip(*(decided.column(i).to_pylist() for i in range(2)), strict=True)
        read = corpus.read("ocr", each, ["item_id", "text"])
        texts |= zip(*(read.column(i).to_pylist() for i in range(2)), strict=True)
    names = [stage.name for stage in STAGES]
    return [
        {
            **row,
            "cluster": clusters.get(row["item_id"]),
            "ocr_text": texts.get(row["item_id"], ""),
        }
        for table in outcome_tables(corpus, partitions, names)
        for row in table.to_pylist()
    ]


def print_comparison(console: Console, comparison: Comparison) -> None:
    """What was found of what was planted."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("planted")
    table.add_column("found", justify="right")
    table.add_column("of", justify="right")
    table.add_column("what it shows")
    for name, what in _PLANTED.items():
        score = getattr(comparison, name)
        table.add_row(name.replace("_", " "), str(score.found), str(score.total), what)
    console.print(table)
    wrong = {
        "false merges": comparison.false_merges,
        "good items in quarantine": comparison.good_quarantined,
        "items without an account": comparison.unaccounted,
        "items nobody planted": comparison.unknown,
    }
    text = ", ".join(f"{len(places)} {name}" for name, places in wrong.items())
    console.print(f"wrong   {text}", highlight=False, soft_wrap=True)
