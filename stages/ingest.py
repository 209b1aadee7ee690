"""Ingest: which images there are, where their bytes lie, and what they are.

Loading a partition lists its candidates from the containers' own tables of contents;
processing reads every candidate's bytes once and decodes them. Images are not copied: an
item says where its bytes lie, and later stages read them there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.batches import read_units
from stages.contract import (
    ItemError,
    MapStage,
    Output,
    Reads,
    Reason,
    Resources,
    StageSettings,
    split_results,
)
from stages.images import ImageReader, map_bytes
from stages.inspection import inspect
from stages.schemas import ITEMS, ROWS_PER_PARTITION, first_id
from stages.sources import Candidate, Unit, reader_of
from stages.storage import Storage

if TYPE_CHECKING:
    from stages.corpus import Corpus, Partition

#: What ``load`` gives: the columns of ``items`` that are known before an image is read, and
#: for what cannot be one, why.
CANDIDATES = pa.schema(
    [
        pa.field("item_id", pa.int64(), nullable=False),
        *(
            (field.name, pa.int64() if field.name in {"offset", "length"} else pa.string())
            for field in fields(Candidate)
        ),
    ]
)

_COPIED = (
    *("uri", "container", "member", "offset", "key", "source"),
    *("alt_text", "language", "meta"),
)


class IngestSettings(StageSettings):
    """How images are taken in."""

    # The size of partitions shapes the plans of new batches, which are kept; it does not
    # shape the rows of a partition that is planned.
    execution_only: ClassVar[frozenset[str]] = frozenset({"partition_items", "missing", "threads"})

    partition_items: int = Field(default=2048, ge=1, le=100_000)
    """About how many items a partition of a new batch holds."""
    missing: Literal["keep", "quarantine"] = "keep"
    """What becomes of items whose files have gone from a configured source: ``keep`` leaves
    them, so that a folder may be emptied once its shards are written; ``quarantine`` takes
    them out as ``missing``."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Images with more pixels (width x height) are quarantined as ``too_large``."""
    max_bytes: int = Field(default=1 << 30, ge=1)
    """Files with more bytes are quarantined as ``too_large`` before they are read."""
    threads: int = Field(default=2, ge=1, le=64)
    """Images in flight per worker: reading overlaps decoding."""


class IngestStage(MapStage):
    """Turns the units of a partition into items."""

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[Reads, ...]] = ()

    @classmethod
    def table(cls) -> str:
        """The table of items."""
        return "items"

    @property
    def resources(self) -> Resources:
        """One core, and room for the largest images that may be in flight."""
        return Resources(cpus=1, memory_gb=2.0)

    def load(self, corpus: Corpus, partition: Partition) -> pa.Table:
        """List the candidates of a partition; the schema is ``CANDIDATES``."""
        units = read_units(corpus.storage, corpus.uri, partition.batch, partition.part)
        found = list(self._candidates(corpus.storage, units))
        first = first_id(partition.part)
        rows = [{"item_id": first + row, **asdict(one)} for row, one in enumerate(found)]
        return pa.Table.from_pylist(rows, schema=CANDIDATES)

    def _candidates(self, storage: Storage, units: list[Unit]) -> Iterator[Candidate]:
        """Candidates of all units in order, as many as a partition can number."""

        def of(unit: Unit) -> list[Candidate]:
            if unit.stop <= unit.start:
                return []
            return list(islice(reader_of(unit.kind).candidates(storage, unit), ROWS_PER_PARTITION))

        count = 0
        with ThreadPoolExecutor(self.settings.threads) as pool:
            for unit, found in zip(units, pool.map(of, units), strict=True):
                for one in found:
                    count += 1
                    if count == ROWS_PER_PARTITION:
                        yield _overflow(unit)
                        return
                    yield one

    def process(self, table: pa.Table) -> Output:
        """Read, hash and decode every candidate."""
        with ImageReader(self.storage, max_bytes=self.settings.max_bytes) as reader:
            good = table.filter(pc.is_null(table.column("error_reason")))
            looked_at = iter(map_bytes(good, reader, self._inspect, threads=self.settings.threads))
        errors = table.select(["error_reason", "error_detail"]).to_pylist()
        results = [
            ItemError(Reason(error["error_reason"]), error["error_detail"])
            if error["error_reason"] is not None
            else next(looked_at)
            for error in errors
        ]
        return split_results(table, results, ITEMS)

    def _inspect(self, data: bytes, row: dict[str, Any]) -> dict[str, Any]:
        found = inspect(data, self.settings.max_pixels)
        return {
            **{name: row[name] for name in _COPIED},
            "length": len(data),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            **vars(found),
        }


def _overflow(unit: Unit) -> Candidate:
    return Candidate(
        uri=unit.uri,
        key=unit.uri.rsplit("/", 1)[-1],
        source=unit.source,
        error_reason=Reason.UNSUPPORTED.value,
        error_detail=(
            f"the partition holds more than {ROWS_PER_PARTITION - 1} items from here on, which "
            "were not read: split this file into smaller ones"
        ),
    )
