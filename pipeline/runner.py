"""Runs the line: plans the batches, computes what is stale, commits, keeps the ledger."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline import __version__
from pipeline.config import Config
from pipeline.events import EventLog, StageProgress
from pipeline.executors import LocalExecutor, PartitionExecutor
from pipeline.ledger import Ledger, balance
from pipeline.registry import stages_of
from pipeline.state import StageState, StageType, State, StateReader, tables_of
from pipeline.worker import Job, Task
from stages.batches import update_plans
from stages.contract import ConfigurationError, CorpusStage, MapStage
from stages.corpus import (
    Committed,
    Corpus,
    Partition,
    Stamp,
    column_digests,
    digest,
    split_by_partition,
)
from stages.sources import fixed_place
from stages.storage import Storage, remove_leftovers


@dataclass
class StageReport:
    """What a run did at one stage."""

    stage: str
    computed: int
    skipped: int
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass
class RunResult:
    """What a run did.

    Args:
        run_id: Its name below ``runs/``.
        stages: Per stage.
        ledger: The balanced ledger.
    """

    run_id: str
    stages: list[StageReport]
    ledger: Ledger


class Runner:
    """Runs stages over a corpus.

    Args:
        config: The run.
        executor: Where partitions are computed; by default what the configuration says.
    """

    def __init__(self, config: Config, executor: PartitionExecutor | None = None) -> None:
        self.config = config
        self.storage = Storage(config.storage)
        self.corpus = Corpus(config.corpus, self.storage)
        self._executor = executor or make_executor(config)
        self.run_id = _new_run_id()
        self._events: EventLog | None = None

    def run(self, only: str | None = None, *, force: bool = False) -> RunResult:
        """Bring the whole line, or one stage, up to date.

        Args:
            only: The one stage to run; what it reads must be up to date.
            force: Compute its partitions even where they are up to date.

        Raises:
            ConfigurationError: If the run cannot work; nothing has been computed.
            StageError: If a stage failed.
            LedgerError: If the ledger does not balance.
        """
        self.check(only)
        started = time.perf_counter()
        self._begin(only, force)
        try:
            reports = self._run_stages(only, force)
            ledger = current_ledger(self.config, self.corpus)
            self._log("ledger", **ledger.to_json())
            self._log("run_end", status="done", seconds=round(time.perf_counter() - started, 3))
        except BaseException as error:
            self._log("run_end", status="failed", error=f"{type(error).__name__}: {error}")
            raise
        finally:
            self._executor.close()
            if self._events is not None:
                self._events.close()
        return RunResult(self.run_id, reports, ledger)

    def check(self, only: str | None = None) -> None:
        """Find out before any work what cannot work.

        Raises:
            ConfigurationError: Says what to do.
        """
        # Only planning lists the sources: a later stage runs where they have been emptied.
        for source in self.config.source if only in {None, "ingest"} else ():
            self.storage.check(fixed_place(source.uri))
        self.storage.check(self.config.corpus, writable=True)
        for stage in stages_of(self.config):
            if only is None or stage.name == only:
                check_stage(stage, self.config, self.storage)

    def _begin(self, only: str | None, force: bool) -> None:
        remove_leftovers(self.storage, self.corpus.uri)
        folder = self.corpus.place("runs", self.run_id)
        self.storage.write(f"{folder}/config.yaml", self.config.to_yaml().encode())
        self._events = EventLog(self.storage, f"{folder}/events.jsonl")
        self._log("run_start", run=self.run_id, version=__version__, only=only, force=force)

    def _log(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        if self._events is not None:
            self._events.write(event, **fields)

    def _run_stages(self, only: str | None, force: bool) -> list[StageReport]:
        if only in {None, "ingest"}:
            self._plan()
        reader = StateReader(self.config, self.corpus)
        reports = []
        for stage in stages_of(self.config):
            state = reader.read(stage)
            if only is None or stage.name == only:
                if only is not None:
                    _require_inputs(stage, reader)
                reports.append(self._run_stage(stage, state, force and stage.name == only))
                reader.forget(stage)
                reader.read(stage)
        return reports

    def _plan(self) -> None:
        settings = self.config.ingest
        plans = update_plans(
            self.storage,
            self.corpus.uri,
            self.config.source,
            settings.partition_items,
            missing=settings.missing,
        )
        if not plans:
            places = ", ".join(source.uri for source in self.config.source)
            raise ConfigurationError(f"there is nothing to do: {places} holds no files")

    def _run_stage(self, stage: StageType, state: StageState, force: bool) -> StageReport:
        started = time.perf_counter()
        todo = (
            sorted(state.states)
            if force
            else sorted(state.of(State.MISSING) + state.of(State.STALE))
        )
        if issubclass(stage, CorpusStage) and todo:
            todo = sorted(state.states)
        skipped = len(state.states) - len(todo)
        nonce = self.run_id if force else ""
        self._log("stage_start", stage=stage.name, partitions=len(todo), skipped=skipped)
        self._reopen(stage, todo, force)
        metrics: dict[str, Any] = {}
        with StageProgress(stage.name, len(todo), skipped) as progress:
            if todo and issubclass(stage, MapStage):
                self._run_map(stage, state, todo, nonce, progress)
            elif todo and issubclass(stage, CorpusStage):
                metrics = self._run_corpus(stage, state, todo, nonce, progress)
        self._complete(stage, state)
        seconds = round(time.perf_counter() - started, 3)
        self._log("stage_end", stage=stage.name, seconds=seconds, **metrics)
        return StageReport(stage.name, len(todo), skipped, seconds, metrics)

    def _reopen(self, stage: StageType, todo: Sequence[Partition], force: bool) -> None:
        """Take away what says that a stage is done, before it writes anything."""
        for batch in sorted({each.batch for each in todo}):
            for table in tables_of(stage):
                self.corpus.reopen(table, batch)
        if todo and issubclass(stage, CorpusStage):
            # Killed before it commits, it must not pass for done under its old configuration:
            # other tables and files of its own may have changed by then.
            self.corpus.drop(stage.writes[-1], todo[0])
            if force:
                stage(self.config.stage(stage.name), self.storage).discard(self.corpus)

    def _run_map(
        self,
        stage: type[MapStage],
        state: StageState,
        todo: Sequence[Partition],
        nonce: str,
        progress: StageProgress,
    ) -> None:
        settings = self.config.stage(stage.name)
        resources = stage(settings, self.storage).resources
        job = Job(stage, settings, self.config.storage, self.corpus.uri, resources)
        tasks = [
            Task(each, state.recipes[each], _fingerprint(state.recipes[each], nonce))
            for each in todo
        ]
        for done in self._executor.run_partitions(job, tasks):
            stamp = state.stamps[stage.table()][done.partition] = done.stamp
            progress.advance(stamp.items_in, stamp.quarantined)
            self._log(
                "partition",
                stage=stage.name,
                batch=done.partition.batch,
                part=done.partition.part,
                items_in=stamp.items_in,
                rows=stamp.rows,
                quarantined=stamp.quarantined,
                seconds=round(done.seconds, 3),
                attempts=done.attempts,
                **done.metrics,
            )

    def _run_corpus(
        self,
        stage: type[CorpusStage],
        state: StageState,
        todo: Sequence[Partition],
        nonce: str,
        progress: StageProgress,
    ) -> dict[str, Any]:
        instance = stage(self.config.stage(stage.name), self.storage)
        recipe = state.recipes[todo[0]]
        output = instance.run(self.corpus, self._executor, _fingerprint(recipe, nonce))
        # The last table is the commit: until it is whole, the stage is not up to date.
        for table in stage.writes:
            first_column = output.tables[table].column_names[0]
            pieces = split_by_partition(output.tables[table], todo, first_column)
            for partition, rows in pieces.items():
                stamp = Stamp(
                    recipe=recipe,
                    fingerprint=nonce,
                    items_in=rows.num_rows,
                    rows=rows.num_rows,
                    quarantined=0,
                    columns=column_digests(rows),
                )
                self.corpus.commit(stage.name, table, partition, Committed(rows), stamp)
                state.stamps[table][partition] = stamp
                if table == stage.writes[-1]:
                    progress.advance(rows.num_rows, 0)
        return output.metrics

    def _complete(self, stage: StageType, state: StageState) -> None:
        """Mark the batches that are whole, those of a run killed before it could as well."""
        batches: dict[int, list[Partition]] = {}
        for each in state.states:
            batches.setdefault(each.batch, []).append(each)
        for table in tables_of(stage):
            for batch, partitions in batches.items():
                if not self.corpus.is_complete(table, batch):
                    stamps = state.stamps[table]
                    self.corpus.complete(table, batch, {each: stamps[each] for each in partitions})


def make_executor(config: Config) -> PartitionExecutor:
    """The executor that the configuration names."""
    if config.run.executor == "local":
        return LocalExecutor()
    from pipeline.ray_executor import RayExecutor

    return RayExecutor(config.run.workers, config.run.partition_timeout_s)


def check_stage(stage: StageType, config: Config, storage: Storage) -> None:
    """Find out before any work whether a stage can run.

    Raises:
        ConfigurationError: For what the stage itself finds, and for a GPU that is not there.
    """
    instance = stage(config.stage(stage.name), storage)
    instance.check()
    # Of a cluster's GPUs only the cluster knows; it is asked when the stage starts.
    if instance.resources.gpus and not os.environ.get("RAY_ADDRESS"):
        import torch

        if not torch.cuda.is_available():
            raise ConfigurationError(
                f"stage {stage.name} is to run on a GPU and there is none here: change its "
                "settings, or name a cluster with RAY_ADDRESS"
            )


def current_ledger(config: Config, corpus: Corpus) -> Ledger:
    """The ledger of all stages that are up to date with the configuration.

    Raises:
        LedgerError: If it does not balance.
    """
    reader = StateReader(config, corpus)
    settled = [stage for stage in stages_of(config) if reader.read(stage).settled]
    return balance(corpus, settled, config.dedup.threshold)


def _require_inputs(stage: StageType, reader: StateReader) -> None:
    if not reader.partitions:
        raise ConfigurationError(
            f"stage {stage.name} has nothing to work on: the corpus is empty. "
            "Bring images in first: winnow run CONFIG"
        )
    unsettled = reader.unsettled_inputs(stage)
    if unsettled:
        names = ", ".join(unsettled)
        raise ConfigurationError(
            f"stage {stage.name} reads tables that are missing or stale: {names}. "
            "Bring them up to date first: winnow run CONFIG"
        )


def _fingerprint(recipe: str, nonce: str) -> str:
    return digest(recipe, nonce) if nonce else recipe


def _new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(2)}"
