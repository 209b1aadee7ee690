"""Small stages that misbehave on purpose; workers import them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from stages.contract import MapStage, Output, Quarantined, Reads, Reason, StageSettings
from stages.corpus import Corpus, Partition
from stages.schemas import FILTER, first_id


class ToySettings(StageSettings):
    """How the toy misbehaves."""

    rows: int = 64
    """Items of every partition."""
    poison: list[int] = []
    """Rows of each partition that do the harm."""
    harm: str = "exit"
    """exit: the process dies; raise: an exception; hang: it never returns; lose: a row is lost."""
    once: str = ""
    """A file; when set, the harm is done only while it does not exist, and makes it."""


class ToyStage(MapStage):
    """Passes every item, unless it is poison."""

    name = "toy"
    version = 1
    reads: ClassVar[tuple[Reads, ...]] = ()

    @classmethod
    def table(cls) -> str:
        return "filter"

    def load(self, corpus: Corpus, partition: Partition) -> pa.Table:
        ids = [first_id(partition.part) + row for row in range(self.settings.rows)]
        return pa.table(
            {
                "item_id": pa.array(ids, pa.int64()),
                "uri": [f"file-{each}" for each in ids],
                "key": [f"key-{each}" for each in ids],
                "row": list(range(len(ids))),
            }
        )

    def process(self, table: pa.Table) -> Output:
        rows = table.column("row").to_pylist()
        bad = [row for row in rows if row in self.settings.poison]
        if bad and self._armed():
            self._do_harm(bad[0])
        ids = table.column("item_id").to_pylist()
        if self.settings.harm == "lose" and bad:
            ids = ids[1:]
        passed = [{"item_id": each, "passed": True, "clause": None} for each in ids]
        return Output(pa.Table.from_pylist(passed, schema=FILTER))

    def _armed(self) -> bool:
        if not self.settings.once:
            return True
        marker = Path(self.settings.once)
        if marker.exists():
            return False
        marker.touch()
        return True

    def _do_harm(self, row: int) -> None:
        if self.settings.harm == "exit":
            os._exit(13)
        if self.settings.harm == "raise":
            raise ValueError(f"row {row} is poison")
        if self.settings.harm == "hang":
            time.sleep(3600)


class AwkwardError(Exception):
    """Cannot be pickled and read again, like those of many clients of object stores."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")


class AwkwardStage(ToyStage):
    """Raises an error that does not survive the way back to the driver."""

    def process(self, table: pa.Table) -> Output:
        if set(self.settings.poison) & set(table.column("row").to_pylist()):
            raise AwkwardError(404, "no such thing")
        return super().process(table)


class UnreadableStage(ToyStage):
    """Its input cannot be read."""

    def load(self, corpus: Corpus, partition: Partition) -> pa.Table:
        raise ValueError("half a page is missing")


class BrokenSetupStage(ToyStage):
    """Cannot load its model."""

    def setup(self) -> None:
        raise FileNotFoundError("weights.bin")


class QuarantiningStage(ToyStage):
    """Quarantines every other item."""

    def process(self, table: pa.Table) -> Output:
        good = table.filter(pa.compute.equal(pa.compute.bit_wise_and(table["row"], 1), 0))
        heads = table.select(["item_id", "uri", "key", "row"]).to_pylist()
        taken = [
            Quarantined(each["item_id"], each["uri"], each["key"], Reason.UNREADABLE, "odd row")
            for each in heads
            if each["row"] % 2
        ]
        passed = [
            {"item_id": each, "passed": True, "clause": None}
            for each in good.column("item_id").to_pylist()
        ]
        return Output(pa.Table.from_pylist(passed, schema=FILTER), taken)
