"""The ledger: every item accounted for at every stage, recomputed from the tables alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.state import StageType, tables_of
from stages.contract import Reads
from stages.corpus import Corpus, Partition
from stages.schemas import first_id, is_aside

#: What can become of an item, in the order in which it is shown.
STATUSES = ("kept", "removed", "filtered", "quarantined", "pending")

OUTCOMES = pa.schema(
    [
        pa.field("item_id", pa.int64()),
        ("uri", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("stage", pa.string()),  # where it left the line; null where kept
        ("reason", pa.string()),  # quarantine code, filter clause, or kind of duplicate
        ("witness_id", pa.int64()),
    ]
)


class LedgerError(Exception):
    """The ledger does not balance; the message names stage and partition."""


@dataclass
class StageLine:
    """One stage's line: ``items_in = rows + quarantined``.

    Args:
        stage: Its name.
        items_in: Items that reached it.
        rows: Items it wrote a row for.
        quarantined: Items it took out, per reason.
    """

    stage: str
    items_in: int = 0
    rows: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)

    @property
    def quarantined_total(self) -> int:
        """Items it took out, all reasons together."""
        return sum(self.quarantined.values())


@dataclass
class Ledger:
    """All stages' lines, and what became of the items.

    Args:
        lines: Per stage that has run, in the order of the line.
        outcomes: Items per status; sums to the items that came in.
        clauses: Items dropped per filter clause.
        duplicates: Items removed per kind: exact, perceptual, semantic.
        lost_witnesses: Removed items whose kept witness was quarantined by a later stage, so
            that no image of their group reaches the shards.
    """

    lines: list[StageLine] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    clauses: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    lost_witnesses: int = 0

    @property
    def items(self) -> int:
        """Everything the sources held."""
        return self.lines[0].items_in if self.lines else 0

    @property
    def reasons(self) -> Counter[str]:
        """Quarantined items per reason, all stages together."""
        return sum((line.quarantined for line in self.lines), Counter())

    @property
    def quarantined_share(self) -> float:
        """Quarantined items over all items, 0..1."""
        return self.outcomes["quarantined"] / self.items if self.items else 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, for the audit."""
        return {
            "items": self.items,
            "stages": [
                {
                    "stage": line.stage,
                    "items_in": line.items_in,
                    "rows": line.rows,
                    "quarantined": line.quarantined_total,
                    "quarantined_by_reason": dict(sorted(line.quarantined.items())),
                }
                for line in self.lines
            ],
            "outcomes": {status: self.outcomes[status] for status in STATUSES},
            "filtered_by_clause": dict(sorted(self.clauses.items())),
            "removed_by_reason": dict(sorted(self.duplicates.items())),
            "removed_with_lost_witness": self.lost_witnesses,
            "quarantined_share": self.quarantined_share,
        }


def balance(corpus: Corpus, stages: Sequence[StageType], threshold: float) -> Ledger:
    """Recompute the ledger from the tables and hold it to its laws.

    Args:
        corpus: The tables.
        stages: The stages that are up to date, in the order of the line; tables of others
            may belong to another configuration and take no part.
        threshold: Least similarity of a removed item to its witness.

    Raises:
        LedgerError: If a law is broken.
    """
    ledger = Ledger()
    partitions = corpus.partitions()
    names = [stage.name for stage in stages]
    for stage in stages:
        line = StageLine(stage.name)
        for partition, taken in _inputs(corpus, stage, partitions):
            _add(line, corpus, stage, partition, taken)
        ledger.lines.append(line)
    if "dedup" in names:
        _check_witnesses(corpus, partitions, threshold)
    for outcomes in outcome_tables(corpus, partitions, names):
        _count(ledger, outcomes)
    _count_lost_witnesses(corpus, partitions, names, ledger)
    if sum(ledger.outcomes.values()) != ledger.items:
        raise LedgerError(
            f"{ledger.items} items came in, {sum(ledger.outcomes.values())} have an outcome"
        )
    return ledger


def outcome_tables(
    corpus: Corpus, partitions: Sequence[Partition], stages: Sequence[str]
) -> Iterator[pa.Table]:
    """What became of every item, partition by partition, in the schema ``OUTCOMES``.

    Args:
        corpus: The tables.
        partitions: Which of them.
        stages: Names of the stages whose tables count.

    An item has exactly one status. Quarantine comes first: an item that any stage took out
    does not reach the shards, whatever other stages said of it. Only what a further embedder
    failed on goes on, without a vector of its.
    """
    for partition in partitions:
        taken_out = [
            corpus.read_quarantine(name, partition).to_pylist()
            for name in stages
            if not is_aside(name)
        ]
        quarantine = [row for rows in taken_out for row in rows]
        rows: dict[int, dict[str, Any]] = {}
        for each in reversed(quarantine):  # the earliest stage wins
            rows[each["item_id"]] = {**each, "status": "quarantined", "witness_id": None}
        filtered = _by_id(corpus, "filter", partition, stages, ("passed", "clause"))
        decided = _by_id(corpus, "dedup", partition, stages, ("keep", "reason", "witness_id"))
        for item in _by_id(corpus, "items", partition, ["items"], ("uri", "key")).values():
            identifier = item["item_id"]
            if identifier not in rows:
                verdict = _verdict(filtered.get(identifier), decided.get(identifier))
                rows[identifier] = {**item, **verdict}
        ordered = [rows[identifier] for identifier in sorted(rows)]
        yield pa.Table.from_pylist(ordered, schema=OUTCOMES)


def _verdict(filtered: dict[str, Any] | None, decided: dict[str, Any] | None) -> dict[str, Any]:
    if filtered is not None and not filtered["passed"]:
        return {"status": "filtered", "stage": "filter", "reason": filtered["clause"]}
    if decided is None:
        return {"status": "pending"}
    if decided["keep"]:
        return {"status": "kept"}
    return {
        "status": "removed",
        "stage": "dedup",
        "reason": decided["reason"],
        "witness_id": decided["witness_id"],
    }


def _by_id(
    corpus: Corpus,
    table: str,
    partition: Partition,
    available: Sequence[str],
    columns: tuple[str, ...],
) -> dict[int, dict[str, Any]]:
    if table not in available:
        return {}
    rows = corpus.read(table, partition, ["item_id", *columns]).to_pylist()
    return {row["item_id"]: row for row in rows}


def _inputs(
    corpus: Corpus, stage: StageType, partitions: Sequence[Partition]
) -> Iterator[tuple[Partition, np.ndarray]]:
    """The ids of the items that reach a stage, from the tables it reads."""
    if stage.reads:
        ids_only = [Reads(read.table, (), read.where) for read in stage.reads]
        for partition in partitions:
            yield partition, corpus.join(ids_only, partition).column("item_id").to_numpy()
        return
    # Ingest numbers what it finds without gaps, so a lost item shows as a hole.
    stamps = corpus.stamps("items")
    for partition in partitions:
        yield partition, np.arange(stamps[partition].items_in) + first_id(partition.part)


def _add(
    line: StageLine, corpus: Corpus, stage: StageType, partition: Partition, taken: np.ndarray
) -> None:
    rows = corpus.read(tables_of(stage)[-1], partition, ["item_id"]).column("item_id").to_numpy()
    quarantine = corpus.read_quarantine(stage.name, partition)
    given = np.sort(np.concatenate([rows, quarantine.column("item_id").to_numpy()]))
    if not np.array_equal(taken, given):
        raise LedgerError(
            f"stage {stage.name}, {partition}: {len(taken)} items in, {len(rows)} rows and "
            f"{quarantine.num_rows} quarantined out; they are not the same items. "
            f"Compute it again: winnow stage {stage.name} CONFIG --force"
        )
    line.items_in += len(taken)
    line.rows += len(rows)
    line.quarantined.update(quarantine.column("reason").to_pylist())


def _check_witnesses(corpus: Corpus, partitions: Sequence[Partition], threshold: float) -> None:
    """Every removed item names a kept item at or above the threshold."""
    columns = ["item_id", "keep", "witness_id", "witness_similarity"]
    tables = [corpus.read("dedup", each, columns) for each in partitions]
    if not tables:
        return
    kept = pa.concat_tables([each.filter(each.column("keep")) for each in tables])
    for partition, table in zip(partitions, tables, strict=True):
        removed = table.filter(pc.invert(table.column("keep")))
        named = pc.is_in(removed.column("witness_id"), value_set=kept.column("item_id"))
        # Similarities are stored in float32, whose rounding may fall below the threshold.
        least = pa.scalar(np.nextafter(np.float32(threshold), np.float32(-2)), pa.float32())
        close = pc.greater_equal(removed.column("witness_similarity"), least)
        good = pc.fill_null(pc.and_kleene(named, close), False)
        bad = removed.filter(pc.invert(good)).column("item_id").to_pylist()
        if bad:
            raise LedgerError(
                f"stage dedup, {partition}: {len(bad)} removed items have no kept witness at "
                f"similarity >= {threshold}, among them item {bad[0]}"
            )


def _count(ledger: Ledger, outcomes: pa.Table) -> None:
    for row in outcomes.select(["item_id", "status", "reason"]).to_pylist():
        ledger.outcomes[row["status"]] += 1
        if row["reason"] is None and row["status"] not in {"kept", "pending"}:
            raise LedgerError(
                f"item {row['item_id']} is {row['status']} without a reason. Compute it again: "
                "winnow run CONFIG, with --force for the stage that took it out"
            )
        if row["status"] == "filtered":
            ledger.clauses[row["reason"]] += 1
        elif row["status"] == "removed":
            ledger.duplicates[row["reason"]] += 1


def _count_lost_witnesses(
    corpus: Corpus, partitions: Sequence[Partition], stages: Sequence[str], ledger: Ledger
) -> None:
    lost: set[int] = set()
    for stage in {"ocr", "caption"} & set(stages):
        for each in partitions:
            lost.update(corpus.read_quarantine(stage, each).column("item_id").to_pylist())
    for each in partitions if lost else ():
        witnesses = corpus.read("dedup", each, ["witness_id"]).column("witness_id").to_pylist()
        ledger.lost_witnesses += sum(1 for witness in witnesses if witness in lost)
