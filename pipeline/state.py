"""What is done, stale and missing: expected recipes against the stamps on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.config import Config
from stages.batches import read_plans
from stages.contract import ALL_COLUMNS, CorpusStage, MapStage, Reads
from stages.corpus import Corpus, Partition, Stamp, digest

StageType = type[MapStage] | type[CorpusStage]


class State(StrEnum):
    """How a partition of a stage stands."""

    DONE = "done"
    STALE = "stale"
    MISSING = "missing"


@dataclass
class StageState:
    """How a stage stands.

    Args:
        stage: Its class.
        recipes: The recipe each partition must have to be up to date.
        stamps: What is on disk, per table.
        states: Per partition.
    """

    stage: StageType
    recipes: dict[Partition, str]
    stamps: dict[str, dict[Partition, Stamp]]
    states: dict[Partition, State] = field(default_factory=dict)

    def of(self, state: State) -> list[Partition]:
        """The partitions in one state, in order."""
        return sorted(each for each, value in self.states.items() if value is state)

    @property
    def settled(self) -> bool:
        """Whether every partition is up to date."""
        return all(value is State.DONE for value in self.states.values())


def tables_of(stage: StageType) -> tuple[str, ...]:
    """The tables a stage writes."""
    return (stage.table(),) if issubclass(stage, MapStage) else stage.writes


class StateReader:
    """Works out stage after stage what must be computed.

    Stages must be asked in the order of the line: what a stage reads has to be known.

    Args:
        config: The run.
        corpus: The tables.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self._config = config
        self._corpus = corpus
        self._plans = read_plans(corpus.storage, corpus.uri)
        self._stamps: dict[str, dict[Partition, Stamp]] = {}
        self._stale: dict[str, set[Partition]] = {}
        self._looked_up: dict[str, tuple[Reads, ...]] = {}

    @property
    def partitions(self) -> list[Partition]:
        """All partitions that the batch plans name."""
        return [Partition(plan.batch, part) for plan in self._plans for part in plan.parts()]

    def forget(self, stage: StageType) -> None:
        """Read a stage's stamps again: it has just written."""
        for table in tables_of(stage):
            self._stamps.pop(table, None)

    def read(self, stage: StageType) -> StageState:
        """How a stage stands now; what depends on stale partitions is stale itself."""
        partitions = self.partitions
        recipes = self._recipes(stage, partitions)
        stamps = {table: self._stamps_of(table) for table in tables_of(stage)}
        unsettled = self._unsettled(stage, partitions)
        states = {}
        for each in partitions:
            found = [stamps[table].get(each) for table in stamps]
            if None in found:
                states[each] = State.MISSING
            elif each in unsettled or any(x.recipe != recipes[each] for x in found if x):
                states[each] = State.STALE
            else:
                states[each] = State.DONE
        if partitions and self._has_lost_files(stage, states):
            states = dict.fromkeys(partitions, State.MISSING)
        not_done = {each for each, value in states.items() if value is not State.DONE}
        for written in tables_of(stage):
            self._stale[written] = not_done
        return StageState(stage, recipes, stamps, states)

    def _has_lost_files(self, stage: StageType, states: dict[Partition, State]) -> bool:
        if not issubclass(stage, CorpusStage) or set(states.values()) != {State.DONE}:
            return False
        settings = self._config.stage(stage.name)
        return not stage(settings, self._corpus.storage).intact(self._corpus)

    def _stamps_of(self, table: str) -> dict[Partition, Stamp]:
        if table not in self._stamps:
            self._stamps[table] = self._corpus.stamps(table)
        return self._stamps[table]

    def unsettled_inputs(self, stage: StageType) -> list[str]:
        """Tables the stage reads that have missing or stale partitions."""
        tables = {read.table for read in self._reads(stage)}
        return sorted(table for table in tables if self._stale.get(table))

    def _unsettled(self, stage: StageType, partitions: list[Partition]) -> set[Partition]:
        reads = self._reads(stage)
        inputs = {each for read in reads for each in self._stale.get(read.table, ())}
        if inputs and issubclass(stage, CorpusStage):
            return set(partitions)
        return inputs

    def _recipes(self, stage: StageType, partitions: list[Partition]) -> dict[Partition, str]:
        settings = self._config.stage(stage.name).fingerprint_fields()
        head = [stage.name, stage.version, settings]
        if not stage.reads:
            return {
                Partition(plan.batch, part): digest(*head, fingerprint)
                for plan in self._plans
                for part, fingerprint in plan.fingerprints().items()
            }
        inputs = {each: self._inputs(stage, each) for each in partitions}
        if issubclass(stage, CorpusStage):
            whole = digest(*head, [[each.part, inputs[each]] for each in partitions])
            return dict.fromkeys(partitions, whole)
        return {each: digest(*head, inputs[each]) for each in partitions}

    def _inputs(self, stage: StageType, partition: Partition) -> list[str]:
        return [
            self._input(read, self._stamps_of(read.table).get(partition))
            for read in self._reads(stage)
        ]

    def _reads(self, stage: StageType) -> tuple[Reads, ...]:
        if stage.name not in self._looked_up:
            self._looked_up[stage.name] = stage.looks_up(self._config.stage(stage.name))
        return (*stage.reads, *self._looked_up[stage.name])

    def _input(self, read: Reads, stamp: Stamp | None) -> str:
        if stamp is None:
            return "missing"
        if not stamp.columns:
            return stamp.fingerprint
        columns = stamp.columns if read.columns == ALL_COLUMNS else read.columns
        wanted = ["item_id", *columns, *([read.where] if read.where else [])]
        # A column that the stamp does not know came with a newer schema.
        return digest(stamp.fingerprint, [stamp.columns.get(name, "missing") for name in wanted])
