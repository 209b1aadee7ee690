"""The neighbour graph by cells: survey, train, scatter, compare; and again for what is added.

Every step is a task over a block of rows or a group of cells, applied through a mapper:
threads of this process, or workers of a cluster where a stage brings them. Vectors pass
through memory a block or a group at a time; rows by cell and pairs lie in a store.

**What is added later.** New rows go to the cells of the same centroids and are compared with
old and new rows there. Pairs of old rows are not looked at again, and the result equals that
of a search over all rows with these centroids, pair for pair. The one exception are rows whose
lists are full: there new neighbours may push out old ones, so groups that hold such rows are
compared anew.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Doubles, Floats, Ints
from dedup.cells.among import IdFilter
from dedup.cells.calibrate import TRIALS, calibrated
from dedup.cells.centroids import train_cells
from dedup.cells.codes import encode
from dedup.cells.latecomers import CompareFew
from dedup.cells.shuffle import Layout
from dedup.cells.source import Source, per_block
from dedup.cells.store import Store
from dedup.cells.survey import Surveyed, sample_of, survey
from dedup.cells.tasks import CellPlan, Compare, Compared, Scatter, assign
from dedup.options import GraphOptions

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

#: Rows up to which there is one cell only: exact, and as fast as any cut.
ONE_CELL = 24_576
#: Rows per cell that are aimed at, and the most cells that one search makes.
CELL_ROWS = 1024
#: The same on a GPU, which has arithmetic to spare, and for which small blocks are all waiting.
CUDA_CELL_ROWS = 8192
MOST_CELLS = 1 << 17
#: Rows of the sample per cell.
SAMPLED = 32
#: New rows among so many are few: dense products of whole cells would be mostly in vain.
FEW = 16
#: Bytes of new rows that one task may hold, where few are new.
_FEW_BYTES = 128 << 20


class Mapper(Protocol):
    """Applies a function to tasks, in whatever way; results come in task order."""

    def __call__(self, function: Callable[[T], R], tasks: Sequence[T], /) -> Iterable[R]:
        """One result per task."""
        ...


@dataclass(frozen=True)
class Survey:
    """What the first pass over a source finds.

    Args:
        valid: Which rows have a direction, bool (n,).
        sample: Unit rows for the k-means, float32 (s, d).
    """

    valid: Bools
    sample: Floats


def survey_source(
    source: Source, mapper: Mapper, *, sample: bool = True, device: str = "cpu"
) -> Survey:
    """Read every block once: which rows have a direction, and a sample for the k-means."""
    count = int(source.sizes.sum())
    cells = cell_count(count, device)
    # One row is enough for one cell, and rows without a direction are never sampled.
    sampled = SAMPLED * cells + TRIALS
    share = min(1.0, sampled / max(count, 1)) if sample and cells > 1 else 0.0
    task = partial(survey, source, share=share)
    parts: list[Surveyed] = list(mapper(task, range(len(source.sizes))))
    valid = np.concatenate([part.valid for part in parts] or [np.zeros(0, dtype=np.bool_)])
    return Survey(valid, sample_of(parts, source.width))


def cell_count(rows: int, device: str = "cpu") -> int:
    """Cells for a number of rows that are searched on a device."""
    each = CELL_ROWS if device == "cpu" else CUDA_CELL_ROWS
    return 1 if rows <= ONE_CELL else min(MOST_CELLS, -(-rows // each))


def plan_cells(
    sample: Floats,
    rows: int,
    source: Source,
    floor: float,
    options: GraphOptions,
    *,
    codes: bool = False,
) -> CellPlan:
    """Cut the space into cells, and pack cells into groups that fit into memory.

    Args:
        sample: As ``survey_source`` gives it.
        rows: That will be searched.
        source: Where they come from.
        floor: Lowest similarity wanted.
        options: How to search.
        codes: Whether codes are kept with the rows, for searches that come back to them.
    """
    if not len(sample):
        sample = np.eye(1, source.width, dtype=np.float32)
    tried = min(TRIALS, len(sample) // 5)
    training, trials = sample[: len(sample) - tried], sample[len(sample) - tried :]
    index = train_cells(training, cell_count(rows))
    whole = Layout(np.array([0, len(index)]), source.width, source.dtype.name, codes)
    plan = CellPlan(index, whole, options.copies, options.slack or 0.0)
    if options.slack is None:
        plan = replace(plan, slack=calibrated(plan, trials, floor))
    share, copies = _expected(plan, trials)
    group = np.floor(np.cumsum(share * rows * whole.row_bytes) / group_bytes(options))
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(index)]])
    layout = replace(whole, bounds=bounds.astype(np.int64))
    log.info(
        "%d cells in %d groups, slack %g, %.2f copies of a row",
        *(len(index), layout.groups, plan.slack, copies),
    )
    return replace(plan, layout=layout, copies=copies)


def _expected(plan: CellPlan, trials: Floats) -> tuple[Doubles, float]:
    """Rows that come to each cell, as a share of all rows, and copies of a row in all."""
    if not len(trials):
        return plan.index.share, 1.0
    places = assign(encode(trials), plan)
    copies = float(np.count_nonzero(places >= 0)) / len(trials)
    return plan.index.share * copies, copies


def group_bytes(options: GraphOptions) -> int:
    """Bytes of rows that one task may hold: each takes about five times that at its peak."""
    share = options.memory_gb * 2**30 / (8 * options.cores)
    return int(min(max(share, 8 << 20), 128 << 20))


@dataclass
class Added:
    """What a search added.

    Args:
        copies: Ids of rows whose vector is that of a row with a lower id, and that row, (c, 2).
        touched: Groups whose pairs were found anew, old ones included.
        written: Rows written, once for each cell.
        files: Of the pairs that were found.
    """

    copies: Ints
    touched: list[int]
    written: int
    files: list[str] = field(default_factory=list)


@dataclass
class CellGraph:
    """Cells, the rows in them and their pairs, growing batch by batch.

    Args:
        store: Where rows and pairs lie.
        plan: Cells and groups.
        floor: Lowest similarity of the pairs, in [-1, 1].
        most: Neighbours listed per row and cell at most.
        blocks: Files of rows that have been compared.
        edges: Files of pairs, by group.
        full: Ids of rows whose list is full, by group, with where it ends.
        busiest: By group, no row has more neighbours in a cell of it than this.
        runs: How often rows were added.
        written: Rows written so far, once for each cell.
        prefix: Of the names of all files.
        superseded: Files that nothing refers to any more; see ``sweep``.
    """

    store: Store
    plan: CellPlan
    floor: float
    most: int
    blocks: list[str] = field(default_factory=list)
    edges: dict[int, list[str]] = field(default_factory=dict)
    full: dict[int, tuple[Ints, Floats]] = field(default_factory=dict)
    busiest: dict[int, int] = field(default_factory=dict)
    runs: int = 0
    written: int = 0
    prefix: str = ""
    superseded: list[str] = field(default_factory=list)

    def add(self, source: Source, wanted: Bools, mapper: Mapper, cores: int = 1) -> Added:
        """Search the wanted rows of a source among themselves and all that came before.

        Args:
            source: Of vectors, with ids above all earlier ones.
            wanted: Rows that take part, bool (n,); all of them must have a direction.
            mapper: Where the tasks run.
            cores: Tasks that can be expected to run at a time, at least 1.

        Returns:
            What was added; the pairs are behind ``pairs``.
        """
        prefix = f"{self.prefix}run-{self.runs:05d}/"
        scatter = Scatter(source, self.plan, self.store, prefix)
        tasks = list(enumerate(per_block(source, wanted)))
        scattered = list(mapper(scatter, tasks))
        new = tuple(part.name for part in scattered if part.written)
        for part in scattered:
            if not part.written:
                self.superseded.append(part.name)
        written = sum(part.written for part in scattered)
        compared = self._compare_new(prefix, new, written, mapper, cores)
        again = self._overfull(compared)
        for group, result in compared.items():
            if group not in again:
                self._note(group, result, replaced=not self.blocks)
        anew = self._compare(prefix, (), (*self.blocks, *new), mapper, again)
        for group, result in anew.items():
            self._note(group, result, replaced=True)
        self.blocks += new
        self.runs += 1
        self.written += written
        copies = [part.copies for part in scattered] + [part.copies for part in compared.values()]
        latest = (names[-1] for names in self.edges.values() if names)
        return Added(
            copies=np.concatenate([np.zeros((0, 2), dtype=np.int64), *copies]),
            touched=sorted(anew),
            written=written,
            files=[name for name in latest if name.startswith(prefix)],
        )

    def _compare_new(
        self, prefix: str, new: tuple[str, ...], written: int, mapper: Mapper, cores: int
    ) -> dict[int, Compared]:
        """Compare new rows with each other and with old ones."""
        layout, old = self.plan.layout, tuple(self.blocks)
        few = written * FEW <= self.written and layout.codes and self.plan.device == "cpu"
        if not new or not few:
            return self._compare(prefix, old, new, mapper)
        task = CompareFew(self.plan, self.store, old, new, self.floor, self.most, prefix)
        runs = self._runs(written, cores)
        found: dict[int, Compared] = {}
        crowded: list[int] = []
        for groups, results in zip(runs, mapper(task, runs), strict=True):
            for group, result in zip(groups, results, strict=True):
                if result is None:
                    crowded.append(group)
                else:
                    found[group] = result
        return found | self._compare(prefix, old, new, mapper, crowded)

    def _runs(self, written: int, cores: int) -> list[range]:
        """Groups by task, where few rows are new."""
        groups = self.plan.layout.groups
        # Each task opens every file: fewer and larger ones where there are many groups.
        tasks = max(math.isqrt(groups), written * self.plan.layout.row_bytes // _FEW_BYTES)
        tasks = min(max(tasks // cores, 1) * cores, groups)
        # As many rows for each, as far as whole groups allow.
        share = np.add.reduceat(self.plan.index.share, self.plan.layout.bounds[:-1]) + 1e-12
        before = np.cumsum(share) - share / 2
        of_task = np.minimum((before / share.sum() * tasks).astype(np.int64), tasks - 1)
        cuts = np.searchsorted(of_task, np.arange(tasks + 1)).tolist()
        return [range(start, stop) for start, stop in pairwise(cuts) if start < stop]

    def _compare(
        self,
        prefix: str,
        old: tuple[str, ...],
        new: tuple[str, ...],
        mapper: Mapper,
        groups: Sequence[int] | None = None,
    ) -> dict[int, Compared]:
        chosen = list(range(self.plan.layout.groups)) if groups is None else list(groups)
        if not new or not chosen:
            return {}
        compare = Compare(self.plan, self.store, old, new, self.floor, self.most, prefix)
        return dict(zip(chosen, mapper(compare, chosen), strict=True))

    def _overfull(self, compared: dict[int, Compared]) -> list[int]:
        """Groups where new pairs may push out old ones, because some list may be full."""
        return [
            group
            for group, result in compared.items()
            if self.blocks
            and result.pairs
            and self._busiest_now(group, result) > self.most
            and self._most_pairs(group, result) > self.most
        ]

    def _busiest_now(self, group: int, result: Compared) -> int:
        """No row of a group has more neighbours in a cell of it than this, new ones included."""
        return max(result.busiest, self.busiest.get(group, 0) + result.busiest_old)

    def _most_pairs(self, group: int, result: Compared) -> int:
        """The most pairs of a row that has new ones, or more where a list is full."""
        if group in self.full and len(self.full[group][0]):
            return self.most + 1
        new = np.concatenate(_ends(self.store.get(result.name, 0)))
        among = IdFilter(np.unique(new))
        old = [
            end[among(end)] for name in self.edges[group] for end in _ends(self.store.get(name, 0))
        ]
        return int(np.unique(np.concatenate([new, *old]), return_counts=True)[1].max(initial=0))

    def _note(self, group: int, result: Compared, *, replaced: bool) -> None:
        if replaced:
            old = self.edges.pop(group, [])
            self.superseded += [name for name in old if name != result.name]
            self.busiest.pop(group, None)
        self.busiest[group] = self._busiest_now(group, result)
        names = self.edges.setdefault(group, [])
        if result.name:
            names.append(result.name)
        full, reach = (result.full, result.reach) if replaced else self._full_with(group, result)
        self.full[group] = (full, reach)

    def _full_with(self, group: int, result: Compared) -> tuple[Ints, Floats]:
        """Full lists of a group, those of what was found now included."""
        if group not in self.full:
            return result.full, result.reach
        full, reach = self.full[group]
        return np.concatenate([full, result.full]), np.concatenate([reach, result.reach])

    def pairs(self) -> Iterator[pa.RecordBatch]:
        """Pairs, group by group: src < dst (int64), similarity (float32); each once."""
        for name in self.pair_files:
            yield self.store.get(name, 0)

    @property
    def pair_files(self) -> list[str]:
        """The files of the pairs, group by group."""
        return [name for group in sorted(self.edges) for name in self.edges[group]]

    def saturated(self) -> tuple[Ints, Floats]:
        """Ids of the rows whose list is full in some cell, and the highest end of a list."""
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *(f[0] for f in self.full.values())])
        reach = np.concatenate([np.zeros(0, dtype=np.float32), *(f[1] for f in self.full.values())])
        order = np.lexsort((-reach, ids))
        _, first = np.unique(ids[order], return_index=True)
        return ids[order][first], reach[order][first]

    def drop_rows(self) -> None:
        """Forget the rows by cell, once nothing will be added."""
        self.superseded += self.blocks
        self.blocks = []
        self.sweep()

    def sweep(self) -> None:
        """Remove the files that were superseded, once nobody will come back to them."""
        for name in self.superseded:
            self.store.remove(name)
        self.superseded = []


def _ends(batch: pa.RecordBatch) -> list[Ints]:
    return [batch.column(name).to_numpy() for name in ("src", "dst")]
