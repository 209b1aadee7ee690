"""Running a map stage over partitions: in this process, or on Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from pipeline.worker import (
    Done,
    Job,
    SetupError,
    StageWorker,
    Task,
    merge,
    single_out,
)
from stages.contract import (
    ConfigurationError,
    Executor,
    Output,
    Quarantined,
    Resources,
    StageError,
    UnavailableError,
)
from stages.storage import Storage

T = TypeVar("T")
R = TypeVar("R")

#: A partition that fails this often is taken apart to find the item at fault.
ATTEMPTS = 3
#: More culprits than this share of a partition, and the items are not at fault.
MOST_CULPRITS = 0.1


class PartitionExecutor(Executor, Protocol):
    """An executor that also runs map stages over partitions."""

    def run_partitions(self, job: Job, tasks: Sequence[Task]) -> Iterator[Done]:
        """Compute and commit partitions; yields each as it is done, in any order."""
        ...

    def close(self) -> None:
        """Let go of workers and machines."""
        ...


class LocalExecutor:
    """Runs everything in this process, one thing after the other: for debugging and tests.

    A crash of the process is a crash here; only Ray can survive it.
    """

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], resources: Resources
    ) -> Iterator[R]:
        """Apply ``function`` to every task in turn; ``resources`` has no effect here."""
        del resources
        return map(function, tasks)

    def run_partitions(self, job: Job, tasks: Sequence[Task]) -> Iterator[Done]:
        """Compute and commit partitions, in order."""
        worker = StageWorker(job)
        for task in tasks:
            yield self._run(job, worker, task)

    def _run(self, job: Job, worker: StageWorker, task: Task) -> Done:
        try:
            return worker.run(task)
        except (ConfigurationError, StageError):
            raise
        except Exception as error:  # noqa: BLE001 - the item at fault is quarantined
            return take_apart(
                job,
                task,
                worker,
                lambda start, stop: worker.compute(task.partition, start, stop),
                error,
            )

    def close(self) -> None:
        """Nothing is held."""


def take_apart(
    job: Job,
    task: Task,
    worker: StageWorker,
    compute: Callable[[int, int], Output],
    error: BaseException,
) -> Done:
    """Compute a failing partition piece by piece, quarantining the items at fault.

    Args:
        job: The stage.
        task: The partition that failed ``ATTEMPTS`` times.
        worker: Reads the partition's input and commits; never processes.
        compute: Processes input rows ``[start, stop)`` where a crash does no harm.
        error: Why the partition failed as a whole.

    Raises:
        StageError: If so many items fail that the fault lies elsewhere.
    """
    started = time.perf_counter()
    try:
        rows = worker.size(task.partition)
    except Exception as reason:
        raise StageError(
            f"stage {job.stage.name}, {task.partition}: its input cannot be read: {reason}"
        ) from reason
    most = max(8, int(MOST_CULPRITS * rows))
    try:
        outputs, culprits = single_out(compute, rows, most)
    except SetupError:
        raise
    except (StageError, UnavailableError) as reason:
        raise StageError(
            f"stage {job.stage.name}, {task.partition} failed: {error}; {reason}"
        ) from error
    blamed: list[Quarantined] = [
        worker.blame(task.partition, row, error) for row, error in sorted(culprits.items())
    ]
    schema = job.stage(job.settings, Storage(job.storage)).schema()
    output = merge(outputs, blamed, schema)
    return worker.commit(task, rows, output, time.perf_counter() - started)
