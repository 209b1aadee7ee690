"""Stages as actor pools on Ray: retries, hung and dying workers, recycling."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

# Ray reads these at import: no telemetry; GPUs hidden from workers that asked for none.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
# The first failure is raised; without this the others print their tracebacks at exit.
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from pipeline.executors import ATTEMPTS, take_apart
from pipeline.worker import Done, Job, StageWorker, Task, WorkerDiedError
from stages.contract import ConfigurationError, Output, Resources, StageError
from stages.corpus import Partition

T = TypeVar("T")
R = TypeVar("R")

_OBJECT_STORE_BYTES = 256 << 20


class RayExecutor:
    """Runs partitions on a pool of Ray actors.

    Ray starts when there is work: a run that finds everything up to date never waits for it.

    Args:
        workers: Most workers of one stage; ``None`` for as many as there is room for.
        partition_timeout_s: Seconds after which a worker on one partition is taken for hung.
    """

    def __init__(self, workers: int | None = None, partition_timeout_s: float = 3600.0) -> None:
        self._workers = workers
        self._timeout = partition_timeout_s
        self._started = False

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], resources: Resources
    ) -> Iterator[R]:
        """Apply ``function`` to every task, in parallel; results come in task order.

        Raises:
            StageError: If a worker dies again and again; what ``function`` raises is passed on.
        """
        self._start()
        remote: Any = ray.remote(num_cpus=resources.cpus, max_retries=ATTEMPTS)(_call)
        width = self._width(resources, len(tasks))
        pending = deque(tasks)
        window: deque[Any] = deque()
        try:
            while pending or window:
                while pending and len(window) < 2 * width:
                    window.append(remote.remote(function, pending.popleft()))
                yield ray.get(window.popleft())
        except RayTaskError as failure:
            raise _cause(failure) from None
        except RayError as error:
            raise StageError(f"a worker died {ATTEMPTS + 1} times on one task: {error}") from None
        finally:
            for reference in window:
                ray.cancel(reference)

    def run_partitions(self, job: Job, tasks: Sequence[Task]) -> Iterator[Done]:
        """Compute and commit partitions; yields each as it is done, in any order."""
        self._start()
        pool = _Pool(job, self._width(job.resources, len(tasks)), self._timeout)
        try:
            yield from pool.run(tasks)
        finally:
            pool.close()

    def close(self) -> None:
        """Leave the cluster; a Ray started here stops."""
        if self._started:
            ray.shutdown()
            self._started = False

    def _start(self) -> None:
        if ray.is_initialized():
            return
        options: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "include_dashboard": False,
        }
        address = os.environ.get("RAY_ADDRESS")
        if address:
            del options["include_dashboard"]
            options["address"] = address
        else:
            # Without "local" a stale address file of another cluster would be joined.
            options |= {"address": "local", "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            ray.init(**options)
        except (ConnectionError, RayError, ValueError) as error:
            raise ConfigurationError(
                f"Ray cannot be reached (RAY_ADDRESS={address!r}): {error}. "
                "Correct or unset RAY_ADDRESS, or set run.executor=local"
            ) from error
        self._started = True

    def _width(self, resources: Resources, tasks: int) -> int:
        """How many workers fit, node by node, and are wanted."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(_slots(node, resources) for node in nodes)
        if room < 1:
            cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
            raise ConfigurationError(
                f"no room for a worker that needs {resources.cpus} CPUs and {resources.gpus:g} "
                f"GPUs: the {len(nodes)} nodes of the cluster have {cpus:g} CPUs and {gpus:g} "
                "GPUs. Lower the stage's threads or choose device: cpu"
            )
        return min(room, self._workers or room, max(tasks, 1))


def _slots(node: dict[str, float], resources: Resources) -> int:
    """How many workers one node holds: the scarcest of its CPUs, GPUs and memory."""
    slots = int(node.get("CPU", 0) // max(resources.cpus, 1))
    if resources.gpus:
        slots = min(slots, int(node.get("GPU", 0) / resources.gpus))
    if "memory" in node:
        # Too little for one is no reason not to try.
        slots = min(slots, max(1, int(node["memory"] / (resources.memory_gb * 2**30))))
    return slots


def _call(function: Callable[..., R], *arguments: Any) -> R:  # noqa: ANN401 - any task
    """Call a function in a worker; what it raises can be raised again in the driver."""
    try:
        return function(*arguments)
    except Exception as error:
        if _survives_pickling(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _survives_pickling(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - pickling calls code of any library
        return False


class _Actor:
    """One worker process. The stage loads at first use, so that a failure has an address."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: StageWorker | None = None

    def _stage(self) -> StageWorker:
        if self._worker is None:
            self._worker = StageWorker(self._job)
        return self._worker

    def run(self, task: Task) -> Done:
        return _call(lambda: self._stage().run(task))

    def compute(self, partition: Partition, start: int, stop: int) -> Output:
        return _call(lambda: self._stage().compute(partition, start, stop))


@dataclass
class _Seat:
    """A place in the pool: an actor, what it is doing, and since when."""

    actor: Any
    done: int = 0
    task: Task | None = None
    reference: Any = None
    since: float = field(default_factory=time.monotonic)


class _Pool:
    def __init__(self, job: Job, width: int, timeout: float) -> None:
        self._job = job
        self._timeout = timeout
        self._attempts: dict[Partition, int] = {}
        self._seats = [_Seat(self._hire()) for _ in range(width)]

    def _hire(self) -> Any:  # noqa: ANN401 - a Ray actor handle
        resources = self._job.resources
        # Ray sets OMP_NUM_THREADS to num_cpus, which every library we load obeys.
        options: dict[str, Any] = {"num_cpus": resources.cpus, "max_restarts": 0}
        if resources.gpus:
            options["num_gpus"] = resources.gpus
        actor = ray.remote(_Actor).options(**options)
        return actor.remote(self._job)

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        waiting = deque(tasks)
        while waiting or any(seat.task for seat in self._seats):
            for seat in self._seats:
                if seat.task is None and waiting:
                    self._assign(seat, waiting.popleft())
            for seat in self._finished():
                done = self._collect(seat, waiting)
                if done is not None:
                    yield done

    def _assign(self, seat: _Seat, task: Task) -> None:
        recycle = self._job.resources.recycle_after
        if recycle is not None and seat.done >= recycle:
            self._replace(seat)
        seat.task = task
        seat.since = time.monotonic()
        seat.reference = seat.actor.run.remote(task)

    def _finished(self) -> list[_Seat]:
        busy = {seat.reference: seat for seat in self._seats if seat.task}
        ready, _ = ray.wait(list(busy), num_returns=1, timeout=1.0)
        late = [seat for seat in busy.values() if time.monotonic() - seat.since > self._timeout]
        return [busy[reference] for reference in ready] + [
            seat for seat in late if seat.reference not in ready
        ]

    def _collect(self, seat: _Seat, waiting: deque[Task]) -> Done | None:
        task = seat.task
        if task is None:
            return None
        seat.task = None
        try:
            done: Done = ray.get(seat.reference, timeout=0)
        except GetTimeoutError:
            error: Exception = TimeoutError(f"no answer after {self._timeout:g} s")
            self._replace(seat)
        except RayTaskError as failure:
            error = _cause(failure)
            if isinstance(error, ConfigurationError | StageError):
                raise error from None
        except RayError as death:
            error = death
            self._replace(seat)
        else:
            seat.done += 1
            return replace(done, attempts=self._attempts.get(task.partition, 0) + 1)
        return self._failed(seat, task, error, waiting)

    def _failed(
        self, seat: _Seat, task: Task, error: Exception, waiting: deque[Task]
    ) -> Done | None:
        attempts = self._attempts.get(task.partition, 0) + 1
        self._attempts[task.partition] = attempts
        if attempts < ATTEMPTS:
            if isinstance(error, OSError):
                time.sleep(attempts)  # a store that is down may come back
            waiting.append(task)
            return None
        # The driver only reads and commits: what kills workers must not be processed here.
        reader = StageWorker(self._job, load=False)

        def compute(start: int, stop: int) -> Output:
            return self._compute(seat, task, start, stop)

        done = take_apart(self._job, task, reader, compute, error)
        return replace(done, attempts=attempts + 1)

    def _compute(self, seat: _Seat, task: Task, start: int, stop: int) -> Output:
        reference = seat.actor.compute.remote(task.partition, start, stop)
        try:
            return ray.get(reference, timeout=self._timeout)
        except RayTaskError as failure:
            raise _cause(failure) from None
        except RayError:
            self._replace(seat)
            raise WorkerDiedError("the worker process died or hung on this item") from None

    def _replace(self, seat: _Seat) -> None:
        ray.kill(seat.actor)
        seat.actor = self._hire()
        seat.done = 0

    def close(self) -> None:
        for seat in self._seats:
            ray.kill(seat.actor)


def _cause(failure: RayTaskError) -> Exception:
    cause = failure.cause
    return cause if isinstance(cause, Exception) else RuntimeError(str(failure))
