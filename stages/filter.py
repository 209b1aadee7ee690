"""The ``filter`` stage: named SQL clauses decide which images may be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from stages.contract import ALL_COLUMNS, MapStage, Output, Reads, Resources, StageSettings
from stages.filtering.clauses import check_clause, clause_schema, open_database, passing
from stages.filtering.rules import Rule, make_rules, rule_numbers
from stages.schemas import FILTER, ITEMS, PROFILE
from stages.score import ScoreSettings

#: For text-to-image data: drops what teaches a model nothing, and little else. Of 996 real
#: photographs these clauses drop none.
DEFAULT_CLAUSES = {
    # Too small to show anything at any training resolution.
    "min_side": "least(width, height) >= 64",
    # Banners, rulers and stitched panoramas: no training bucket has their shape.
    "max_aspect": "greatest(width, height) <= 4 * least(width, height)",
    # One colour, or nearly: blank pages, failed renders, lens caps. Not by entropy, which black
    # text on white lacks as well.
    "not_blank": "contrast >= 2",
    # Next to nothing left after compression; flat art in a good encoder stays above.
    "not_crushed": "size_ratio >= 0.002",
    # Quantisation so coarse that blocks show.
    "min_jpeg_quality": "jpeg_quality >= 10",
    # More bars than picture: a model would learn to paint the bars.
    "max_letterbox": "letterbox <= 0.5",
    # Worth a look with winnow filter explore, but no default: "not qr_code" (takes concentric
    # rings for one now and then), "not screenshot" (drops 9 of the 996, and rendered text),
    # "flat_share <= 0.9" (drops 2), "border_variance > 4" (drops objects on plain ground), and,
    # with heads: "watermark < 0.5", "nsfw < 0.5", "aigc < 0.5", "aesthetic > 4.5".
}


class SourceFilterSettings(StageSettings):
    """What is different for some images."""

    clauses: dict[str, str | None] = Field(default_factory=dict)
    """Clauses that replace those of the same name, or are added behind them; null takes the
    one of that name away."""


class FilterSettings(StageSettings):
    """Settings of the ``filter`` stage."""

    clauses: dict[str, str] = Field(default_factory=lambda: dict(DEFAULT_CLAUSES))
    """Name to SQL expression (DuckDB) over the columns of ``items``, ``profile`` and ``score``,
    of one row at a time. An image passes unless a clause is false for it; a clause that is null
    passes, since a score nobody computed is no reason. Clauses apply in order, each to what the
    ones before have left, and the first that drops an image is named. Replaces the default
    set."""
    sources: dict[str, SourceFilterSettings] = Field(default_factory=dict)
    """Changes to single clauses by source: the uri of a source as configured, or a pattern of
    uris such as ``s3://raw/partner-*``, where ``*`` stands for any characters, ``/`` among
    them. The first that fits an image holds."""

    _further: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _nothing_to_take_away(self) -> FilterSettings:
        self.rules()
        return self

    def beside(self, others: Mapping[str, StageSettings]) -> FilterSettings:
        """The same, with the names of the scores that further heads give."""
        told = self.model_copy()
        score = others.get("score")
        told._further = score.further if isinstance(score, ScoreSettings) else ()
        return told

    @property
    def columns(self) -> pa.Schema:
        """The columns that clauses may use."""
        return clause_schema(self._further)

    def rules(self) -> tuple[Rule, ...]:
        """The clauses by source; those of all other images come last."""
        changes = {source: each.clauses for source, each in self.sources.items()}
        return make_rules(self.clauses, changes)

    def fingerprint_fields(self) -> dict[str, Any]:
        """The clauses in their order, which decides the name a dropped image gets."""
        sources = [[name, list(each.clauses.items())] for name, each in self.sources.items()]
        return {"clauses": [list(clause) for clause in self.clauses.items()], "sources": sources}


class FilterStage(MapStage):
    """Applies the clauses; every item stays in the table, passed or not."""

    name = "filter"
    version = 2
    reads: ClassVar[tuple[Reads, ...]] = (
        Reads("items", tuple(name for name in ITEMS.names if name != "item_id")),
        Reads("profile", tuple(name for name in PROFILE.names if name != "item_id")),
        Reads("score", ALL_COLUMNS),
    )

    @property
    def resources(self) -> Resources:
        """One core; a partition's rows are a few megabytes."""
        return Resources(cpus=1, memory_gb=0.5)

    def check(self) -> None:
        """Fail early on a clause that is no true-or-false expression over known columns."""
        empty = self.settings.columns.empty_table()
        with open_database() as database:
            for rule in self.settings.rules():
                for name, clause in rule.clauses.items():
                    check_clause(database, empty, rule.origins[name], clause)

    def process(self, table: pa.Table) -> Output:
        """Filter a partition; nothing is quarantined.

        Raises:
            StageError: If a clause fails on some row, such as a cast of text that is no number.
        """
        dropped_by = np.full(table.num_rows, None, dtype=object)
        with open_database() as database:
            rules = self.settings.rules()
            numbers = rule_numbers(database, table, rules, self.storage)
            for number, rule in enumerate(rules):
                rows = np.flatnonzero(numbers == number)
                dropped_by[rows] = _dropped_by(database, table.take(rows), rule)
        clause_column = pa.array(dropped_by, pa.string())
        return Output(
            pa.table([table["item_id"], clause_column.is_null(), clause_column], schema=FILTER)
        )


def _dropped_by(
    database: duckdb.DuckDBPyConnection, table: pa.Table, rule: Rule
) -> NDArray[np.object_]:
    """The name of the first clause that is false for each row; ``None`` where all pass."""
    dropped_by = np.full(table.num_rows, None, dtype=object)
    left = np.arange(table.num_rows)
    for name, clause in rule.clauses.items():
        passed = passing(database, table.take(left), rule.origins[name], clause)
        dropped_by[left[~passed]] = name
        left = left[passed]
    return dropped_by
