"""The contract every stage keeps: tables in, tables out.

A *map stage* turns one partition into one partition. A *corpus stage* sees whole
tables through the corpus object and fans out through the executor it is given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from stages.corpus import Corpus, Partition
    from stages.storage import Storage

T = TypeVar("T")
R = TypeVar("R")


class StageSettings(BaseModel):
    """Base of every stage's settings: strict types, unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    #: Settings that change speed, not rows; they stay out of the fingerprint.
    execution_only: ClassVar[frozenset[str]] = frozenset()

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the output, as JSON-ready values."""
        return self.model_dump(mode="json", exclude=set(self.execution_only))

    def beside(self, others: Mapping[str, StageSettings]) -> StageSettings:  # noqa: ARG002
        """The same settings, told of what they need to know of other stages' settings.

        Args:
            others: All stages' settings, by stage.
        """
        return self


class Reason(StrEnum):
    """Why an item is in quarantine. The value is the code users see."""

    TRUNCATED = "truncated"
    NOT_AN_IMAGE = "not_an_image"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    MISSING = "missing"
    NO_IMAGE = "no_image"
    CHANGED = "changed"
    CAPTION_FAILED = "caption_failed"
    WORKER_CRASH = "worker_crash"
    STAGE_ERROR = "stage_error"


@dataclass(frozen=True)
class Quarantined:
    """One item taken out of the line, with the reason.

    Args:
        item_id: The item's id, int64.
        uri: Where its bytes lie.
        key: Its key inside the source.
        reason: A code users can group by.
        detail: One sentence: what was wrong, where.
    """

    item_id: int
    uri: str
    key: str
    reason: Reason
    detail: str


class ItemError(Exception):
    """One item cannot be processed; the caller quarantines it.

    Args:
        reason: The quarantine code.
        detail: One sentence for the user.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ItemError], tuple[Reason, str]]:
        """Survive pickling between workers."""
        return type(self), (self.reason, self.detail)


@dataclass
class Output:
    """What a map stage gives back for one partition.

    Args:
        rows: Rows of the stage's table, in the order of the input.
        quarantined: The items that are not among the rows.
        metrics: Optional figures for the events (rates, cache hits).
    """

    rows: pa.Table
    quarantined: list[Quarantined] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs.

    Args:
        cpus: CPU cores a worker keeps busy; also its thread limit.
        gpus: Share of a GPU, 0 for none.
        memory_gb: Resident memory of one worker, in GiB.
        recycle_after: Partitions after which a worker is replaced, because a library
            it uses leaks; ``None`` for never.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float = 1.0
    recycle_after: int | None = None


#: In place of column names: all that the table's files have.
ALL_COLUMNS = ("*",)


@dataclass(frozen=True)
class Reads:
    """A table a stage reads, and what of it.

    Args:
        table: The table's name.
        columns: The columns wanted, besides ``item_id``; empty to use the rows only;
            ``ALL_COLUMNS`` for tables whose columns depend on the configuration.
        where: A boolean column of that table; only rows where it is true take part.
    """

    table: str
    columns: tuple[str, ...] = ()
    where: str | None = None


class Executor(Protocol):
    """What a stage may ask of the machinery that runs it."""

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], resources: Resources
    ) -> Iterator[R]:
        """Apply ``function`` to every task, in parallel; results come in task order."""
        ...


class MapStage(ABC):
    """A stage that turns one partition into one partition.

    The runner calls ``setup`` once per worker, then ``load`` and ``process`` once per
    partition. Each input row comes back exactly once, as a row or as a quarantined
    row; the runner checks it.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reads: ClassVar[tuple[Reads, ...]]

    def __init__(self, settings: StageSettings, storage: Storage) -> None:
        self.settings: Any = settings
        self.storage = storage

    @classmethod
    def table(cls) -> str:
        """The table the stage writes: the one of its own name."""
        return cls.name

    @classmethod
    def configured(cls, settings: Any) -> tuple[type[MapStage], ...]:  # noqa: ANN401, ARG003
        """The stages that its section of a configuration asks for: itself, unless it says more.

        A stage whose tables or reads depend on its settings gives subclasses of itself, with
        ``name`` or ``reads`` of their own.
        """
        return (cls,)

    @classmethod
    def looks_up(cls, settings: StageSettings) -> tuple[Reads, ...]:  # noqa: ARG003
        """Tables in which it looks for values of the items it reads.

        They are part of the recipe, as ``reads`` are, but an item that they lack takes part.
        """
        return ()

    def schema(self) -> pa.Schema:
        """The schema of the rows it writes."""
        from stages.schemas import TABLES

        return TABLES[self.table()]

    @property
    def resources(self) -> Resources:
        """What one worker needs."""
        return Resources()

    def check(self) -> None:
        """Fail early, with a sentence that says what to do; called before anything runs.

        Raises:
            ConfigurationError: For a missing weight, an unknown model, a bad setting.
        """

    def setup(self) -> None:
        """Load what a worker keeps between partitions."""

    def load(self, corpus: Corpus, partition: Partition) -> pa.Table:
        """Read the partition: the inner join, by item, of the tables in ``reads``."""
        return corpus.join(self.reads, partition)

    @abstractmethod
    def process(self, table: pa.Table) -> Output:
        """Turn the input rows into output rows and quarantined items."""


class CorpusStage(ABC):
    """A stage that sees whole tables and writes one or more of its own.

    The last table in ``writes`` has a row for every item that came in, and is committed last.
    The stage is up to date when all its tables are, and what it keeps beside them is there.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reads: ClassVar[tuple[Reads, ...]]
    writes: ClassVar[tuple[str, ...]]

    def __init__(self, settings: StageSettings, storage: Storage) -> None:
        self.settings: Any = settings
        self.storage = storage

    @classmethod
    def configured(cls, settings: Any) -> tuple[type[CorpusStage], ...]:  # noqa: ANN401, ARG003
        """The stages that its section of a configuration asks for: itself, unless it says more.

        A stage whose tables or reads depend on its settings gives subclasses of itself, with
        ``name`` or ``reads`` of their own.
        """
        return (cls,)

    @classmethod
    def looks_up(cls, settings: StageSettings) -> tuple[Reads, ...]:  # noqa: ARG003
        """Tables in which it looks for values; see ``MapStage.looks_up``."""
        return ()

    @property
    def resources(self) -> Resources:
        """What the stage needs where it runs."""
        return Resources()

    def check(self) -> None:
        """Fail early, with a sentence that says what to do; called before anything runs."""

    def intact(self, corpus: Corpus) -> bool:  # noqa: ARG002
        """Whether the files that the stage keeps beside its tables are all there."""
        return True

    def discard(self, corpus: Corpus) -> None:
        """Forget resumable pieces of its own; called before a forced run."""

    @abstractmethod
    def run(self, corpus: Corpus, executor: Executor, recipe: str) -> CorpusOutput:
        """Do the stage's work over the whole corpus.

        Args:
            corpus: The tables.
            executor: Where to fan out.
            recipe: The fingerprint of everything that shapes the output; a stage that
                keeps resumable pieces of its own stamps them with it.
        """


@dataclass
class CorpusOutput:
    """What a corpus stage gives back.

    Args:
        tables: Rows per table that the stage declares in ``writes``; the runner splits
            them by item id into partitions and commits them.
        metrics: Figures for the events and the audit.
    """

    tables: dict[str, pa.Table]
    metrics: dict[str, Any] = field(default_factory=dict)


class UnavailableError(OSError):
    """A store or an endpoint cannot be reached: no item's fault, so nothing is quarantined."""


class ConfigurationError(Exception):
    """The configuration cannot work; the message says what to change."""


class StageError(Exception):
    """A stage failed; the message names the stage, the partition and the reason."""


def split_results(
    table: pa.Table, results: Iterable[dict[str, Any] | ItemError], schema: pa.Schema
) -> Output:
    """Turn per-item results into an ``Output``.

    Args:
        table: The input rows, with ``item_id``, ``uri`` and ``key``.
        results: One per input row, in order: the output row without its ``item_id``,
            or the error that quarantines the item.
        schema: The schema of the stage's table.

    Returns:
        Rows and quarantined items, which together are all the input rows.
    """
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    heads = table.select(["item_id", "uri", "key"]).to_pylist()
    for head, result in zip(heads, results, strict=True):
        if isinstance(result, ItemError):
            quarantined.append(Quarantined(**head, reason=result.reason, detail=result.detail))
        else:
            rows.append({"item_id": head["item_id"], **result})
    return Output(pa.Table.from_pylist(rows, schema=schema), quarantined)
