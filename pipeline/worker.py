"""What one worker does with one partition, in whatever process it lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from stages.contract import (
    ConfigurationError,
    MapStage,
    Output,
    Quarantined,
    Reason,
    Resources,
    StageError,
    StageSettings,
    UnavailableError,
)
from stages.corpus import Committed, Corpus, Partition, Stamp
from stages.storage import Storage, StorageSettings


@dataclass(frozen=True)
class Job:
    """A map stage to run over partitions; pickles to any worker.

    Args:
        stage: The stage's class.
        settings: Its settings.
        storage: How object stores are reached.
        corpus: Where the tables lie.
        resources: What one worker needs.
    """

    stage: type[MapStage]
    settings: StageSettings
    storage: StorageSettings
    corpus: str
    resources: Resources


@dataclass(frozen=True)
class Task:
    """One partition to compute, and what will be stamped on it."""

    partition: Partition
    recipe: str
    fingerprint: str


@dataclass(frozen=True)
class Done:
    """One partition computed and committed."""

    partition: Partition
    stamp: Stamp
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    attempts: int = 1


class WorkerDiedError(Exception):
    """The process that worked on some items died or hung."""


class SetupError(StageError):
    """A worker cannot load what its stage needs: retrying elsewhere would not help."""


class StageWorker:
    """A stage applied to partition after partition.

    Args:
        job: What to run.
        load: Whether to load what the stage computes with; without it the worker can only
            read input and commit.

    Raises:
        SetupError: If the stage's ``setup`` fails.
    """

    def __init__(self, job: Job, *, load: bool = True) -> None:
        storage = Storage(job.storage)
        self._corpus = Corpus(job.corpus, storage)
        self._stage = job.stage(job.settings, storage)
        if load:
            self._setup()

    def _setup(self) -> None:
        try:
            self._stage.setup()
        except Exception as error:
            name, kind = self._stage.name, type(error).__name__
            raise SetupError(f"stage {name}: a worker could not start: {kind}: {error}") from error

    def run(self, task: Task) -> Done:
        """Load, process, check and commit one partition."""
        started = time.perf_counter()
        table = self._stage.load(self._corpus, task.partition)
        output = self._process(table, task.partition)
        return self.commit(task, table.num_rows, output, time.perf_counter() - started)

    def size(self, partition: Partition) -> int:
        """Input rows of a partition."""
        return self._stage.load(self._corpus, partition).num_rows

    def compute(self, partition: Partition, start: int, stop: int) -> Output:
        """Process some input rows of a partition, without committing."""
        table = self._stage.load(self._corpus, partition).slice(start, stop - start)
        return self._process(table, partition)

    def blame(self, partition: Partition, row: int, error: Exception) -> Quarantined:
        """The quarantine row of an input row that kills its worker or makes it fail."""
        table = self._stage.load(self._corpus, partition)
        head = table.select(["item_id", "uri", "key"]).slice(row, 1).to_pylist()[0]
        died = isinstance(error, WorkerDiedError)
        reason = Reason.WORKER_CRASH if died else Reason.STAGE_ERROR
        detail = str(error) if died else f"{type(error).__name__}: {error}"
        return Quarantined(**head, reason=reason, detail=detail[:500])

    def commit(self, task: Task, items_in: int, output: Output, seconds: float) -> Done:
        """Write one partition and its stamp."""
        stamp = Stamp(
            recipe=task.recipe,
            fingerprint=task.fingerprint,
            items_in=items_in,
            rows=output.rows.num_rows,
            quarantined=len(output.quarantined),
        )
        committed = Committed(output.rows, output.quarantined)
        table = self._stage.table()
        self._corpus.commit(self._stage.name, table, task.partition, committed, stamp)
        return Done(task.partition, stamp, seconds, output.metrics)

    def _process(self, table: pa.Table, partition: Partition) -> Output:
        if table.num_rows == 0:
            return Output(self._stage.schema().empty_table())
        output = self._stage.process(table)
        check_balance(self._stage.name, partition, table, output)
        return output


def check_balance(stage: str, partition: Partition, table: pa.Table, output: Output) -> None:
    """The ledger's law for map stages: each input item comes back exactly once.

    Raises:
        StageError: If an item is lost, doubled or invented.
    """
    taken = sorted(table.column("item_id").to_pylist())
    rows = output.rows.column("item_id")
    given = sorted([*rows.to_pylist(), *(each.item_id for each in output.quarantined)])
    if taken != given:
        lost, new = sorted(set(taken) - set(given)), sorted(set(given) - set(taken))
        raise StageError(
            f"stage {stage}, {partition}: {len(taken)} items in, {output.rows.num_rows} rows and "
            f"{len(output.quarantined)} quarantined out; lost {lost[:5]}, invented {new[:5]}"
        )
    if rows.to_pylist() != sorted(rows.to_pylist()):
        raise StageError(f"stage {stage}, {partition}: rows are not ascending by item_id")


def single_out(
    run: Callable[[int, int], Output], rows: int, most: int
) -> tuple[list[Output], dict[int, Exception]]:
    """Find the rows that make a run fail, by halving.

    Args:
        run: Processes rows ``[start, stop)``; raises when it fails or its worker dies.
        rows: How many there are.
        most: Most culprits; more mean that not the items are at fault.

    Returns:
        The outputs of all other rows, in order, and per culprit row its error.

    Raises:
        StageError: If there are more than ``most`` culprits, or all of several rows are.
    """
    outputs: list[Output] = []
    culprits: dict[int, Exception] = {}
    pending = [(0, rows)]
    while pending:
        start, stop = pending.pop()
        try:
            outputs.append(run(start, stop))
        except (ConfigurationError, StageError, UnavailableError):
            raise
        except Exception as error:
            if stop - start > 1:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
                continue
            culprits[start] = error
            if len(culprits) > most or len(culprits) == rows > 1:
                raise StageError(
                    f"{len(culprits)} of {rows} items fail one by one, so the items are not at "
                    f"fault; the last error: {type(error).__name__}: {error}"
                ) from error
    return outputs, culprits


def merge(outputs: list[Output], culprits: list[Quarantined], schema: pa.Schema) -> Output:
    """Put the pieces of a partition together again."""
    pieces = [output.rows.cast(schema) for output in outputs]
    rows = pa.concat_tables(pieces) if pieces else schema.empty_table()
    rows = rows.take(pc.sort_indices(rows, [("item_id", "ascending")]))
    quarantined = [each for output in outputs for each in output.quarantined]
    return Output(rows, sorted([*quarantined, *culprits], key=lambda x: x.item_id))
