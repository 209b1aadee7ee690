"""The neighbour graph of a corpus: where its vectors come from, and where it is kept.

The graph lies beside the tables, in ``graph/``: rows by cell, pairs, and ``state.npz``, which
names them and is written last. It belongs to the ``dedup`` stage alone; without it, or where
it no longer fits the tables, the search starts again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from pyarrow import fs

from dedup.arrays import Ints, Vectors
from dedup.cells.graph import CellGraph, cell_count
from dedup.cells.state import dump, load
from dedup.cells.store import write_arrow
from dedup.search import Kept
from dedup.settled import Settled
from dedup.vectors import from_arrow
from stages.contract import Reads
from stages.corpus import Corpus, Partition, digest
from stages.storage import Storage, child

_FOLDER = "graph"
_STATE = "state.npz"
_SETTLED = "settled_"
_GENERATION = re.compile(r"cells-(\d+)/")
#: Rows of a block at least, but for the last: partitions are read together up to this.
BLOCK_ROWS = 32_768
#: A graph whose rows have multiplied by this since its cells were made is made anew.
_GROWTH = 4


@dataclass(frozen=True)
class CorpusSource:
    """Vectors of a corpus, some partitions at a time.

    Args:
        corpus: The tables.
        reads: What decides which items take part; one of them brings ``vector``.
        partitions: In order.
        counts: Rows of each that take part.
        width: Dimensions of a vector.
        kind: Name of the vectors' type.
        block_rows: Partitions are read together up to this many rows.
    """

    corpus: Corpus
    reads: tuple[Reads, ...]
    partitions: tuple[Partition, ...]
    counts: tuple[int, ...]
    width: int
    kind: str
    block_rows: int

    @cached_property
    def _blocks(self) -> list[tuple[int, int]]:
        """First and last partition of each block."""
        blocks, start, rows = [], 0, 0
        for number, count in enumerate(self.counts):
            if rows and rows + count > self.block_rows:
                blocks.append((start, number))
                start, rows = number, 0
            rows += count
        return [*blocks, (start, len(self.counts))] if self.counts else []

    @property
    def sizes(self) -> Ints:
        """See ``Source.sizes``."""
        return np.array([sum(self.counts[a:b]) for a, b in self._blocks], dtype=np.int64)

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Source.dtype``."""
        return np.dtype(self.kind)

    def read(self, block: int) -> tuple[Ints, Vectors]:
        """See ``Source.read``.

        Raises:
            ValueError: If vectors differ in length.
        """
        start, stop = self._blocks[block]
        ids, vectors = read_vectors(self.corpus, self.reads, self.partitions[start:stop])
        if len(ids) and vectors.shape[1] != self.width:
            raise ValueError(
                f"vectors differ in length: {self.width} dimensions at first, "
                f"{vectors.shape[1]} in {self.partitions[start]}; were two models mixed?"
            )
        return ids, vectors

    def after(self, partitions: int) -> CorpusSource:
        """The source without its first partitions."""
        return replace(
            self, partitions=self.partitions[partitions:], counts=self.counts[partitions:]
        )


def open_source(
    corpus: Corpus, reads: Sequence[Reads], partitions: Sequence[Partition], counts: Sequence[int]
) -> CorpusSource:
    """A source that knows the width and type of its vectors from the first that it has."""
    first = next((at for at, count in enumerate(counts) if count), None)
    vectors = np.zeros((0, 1), dtype=np.float32)
    if first is not None:
        _, vectors = read_vectors(corpus, reads, [partitions[first]])
    width, kind = vectors.shape[1], vectors.dtype.name
    return CorpusSource(
        corpus, tuple(reads), tuple(partitions), tuple(counts), width, kind, BLOCK_ROWS
    )


def read_vectors(
    corpus: Corpus, reads: Sequence[Reads], partitions: Sequence[Partition]
) -> tuple[Ints, Vectors]:
    """Ids and vectors of the items of some partitions that take part."""
    table = pa.concat_tables([corpus.join(reads, each) for each in partitions])
    ids = table.column("item_id").to_numpy().astype(np.int64)
    return ids, from_arrow(table.column("vector"))


@dataclass(frozen=True)
class CorpusStore:
    """Arrow files below a corpus, local or on an object store; see ``dedup.cells.store.Store``.

    Args:
        storage: Where uris are resolved.
        uri: Folder or prefix.
    """

    storage: Storage
    uri: str

    def put(self, name: str, batches: Sequence[pa.RecordBatch]) -> None:
        """See ``Store.put``."""
        with self.storage.writer(child(self.uri, name)) as file:
            write_arrow(file, batches)

    def get(self, name: str, number: int) -> pa.RecordBatch:
        """See ``Store.get``."""
        return self.several(name, [number])[0]

    def several(self, name: str, numbers: Sequence[int]) -> list[pa.RecordBatch]:
        """See ``Store.several``."""
        filesystem, path = self.storage.locate(child(self.uri, name))
        if isinstance(filesystem, fs.LocalFileSystem):
            # Mapped, not read: columns that nobody looks at cost nothing.
            mapped = pa.ipc.open_file(pa.memory_map(path))
            return [mapped.get_batch(number) for number in numbers]
        with filesystem.open_input_file(path) as file:
            reader = pa.ipc.open_file(file)
            return [reader.get_batch(number) for number in numbers]

    def remove(self, name: str) -> None:
        """See ``Store.remove``."""
        self.storage.remove(child(self.uri, name))


@dataclass(frozen=True)
class Found:
    """A kept graph.

    Args:
        kept: What was searched.
        partitions: The partitions it covers: so many of the first.
        settled: What was decided about their items, where that is known.
        decided: Recipe of these decisions.
    """

    kept: Kept
    partitions: int
    settled: Settled | None
    decided: str


@dataclass
class CorpusGraph:
    """The kept graph of a corpus.

    Args:
        corpus: The tables.
        recipe: Hash of the settings that shape the graph.
    """

    corpus: Corpus
    recipe: str
    store: CorpusStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = CorpusStore(self.corpus.storage, self.corpus.place(_FOLDER))

    def load(self, inputs: dict[Partition, str]) -> Found | None:
        """What earlier runs kept.

        Args:
            inputs: Hash of what each partition adds, in order.

        Returns:
            ``None`` where there is nothing, or nothing that fits the settings and tables.
        """
        uri = child(self.store.uri, _STATE)
        if not self.corpus.storage.exists(uri):
            return None
        try:
            graph, more = load(self.corpus.storage.read(uri), self.store)
        except (ValueError, KeyError, TypeError, OSError, BadZipFile):
            return None  # of another version, or damaged: it is only a saving
        covered = json.loads(more["covered"].tobytes())
        known = list(inputs.items())[: len(covered["inputs"])]
        same = [str(value) for _, value in known] == covered["inputs"]
        whole = _named(graph) <= set(self._files())
        if covered["recipe"] != self.recipe or not same or not whole:
            return None
        decisions = {
            name.removeprefix(_SETTLED): values
            for name, values in more.items()
            if name.startswith(_SETTLED)
        }
        return Found(
            kept=Kept(graph, more["valid"], more["wanted"], more["copies"]),
            partitions=len(known),
            settled=_settled(decisions),
            decided=covered.get("decided", ""),
        )

    def save(
        self, kept: Kept, inputs: dict[Partition, str], settled: Settled | None, decided: str
    ) -> None:
        """Keep a graph for later runs; what it replaces goes.

        Args:
            kept: The graph.
            inputs: As ``load`` will be given them.
            settled: What was decided about its items.
            decided: Recipe of these decisions.
        """
        covered = {"recipe": self.recipe, "inputs": list(inputs.values()), "decided": decided}
        decisions = {} if settled is None else settled.arrays()
        data = dump(
            kept.graph,
            valid=kept.valid,
            wanted=kept.wanted,
            copies=kept.copies,
            covered=np.frombuffer(json.dumps(covered).encode(), dtype=np.uint8),
            **{f"{_SETTLED}{name}": values for name, values in decisions.items()},
        )
        self.corpus.storage.write(child(self.store.uri, _STATE), data)
        kept.graph.sweep()
        self._remove_strangers(kept)

    def fresh_prefix(self) -> str:
        """A folder for a new graph, beside what is there and may still be needed."""
        used = [int(match[1]) for name in self._files() if (match := _GENERATION.match(name))]
        return f"cells-{max(used, default=-1) + 1:05d}/"

    def discard(self) -> None:
        """Forget the graph and remove its files."""
        for name in [_STATE, *self._files()]:
            self.store.remove(name)

    def _files(self) -> Iterator[str]:
        start = len(self.corpus.storage.locate(self.store.uri)[1].rstrip("/")) + 1
        for info in self.corpus.storage.files(self.store.uri):
            yield str(info.path)[start:].replace("\\", "/")

    def _remove_strangers(self, kept: Kept) -> None:
        """Remove files of graphs that were made anew, and of runs that were killed."""
        ours = {_STATE, *_named(kept.graph)}
        for name in [name for name in self._files() if name not in ours]:
            self.store.remove(name)


def _settled(arrays: dict[str, np.ndarray]) -> Settled | None:
    """What was saved of decisions, unless there is nothing or an older version has saved it."""
    try:
        return Settled.from_arrays(arrays)
    except KeyError:
        return None


def _named(graph: CellGraph) -> set[str]:
    """The files that a graph refers to."""
    return {*graph.blocks, *(name for names in graph.edges.values() for name in names)}


def outgrown(kept: Kept, added: int, device: str) -> bool:
    """Whether so many rows were added since the cells were made that others fit better."""
    wanted = cell_count(len(kept.valid) + added, device)
    return wanted > _GROWTH * len(kept.graph.plan.index)


def input_hashes(
    corpus: Corpus, tables: Sequence[str], partitions: Sequence[Partition]
) -> dict[Partition, str]:
    """Hash of what each partition of some tables was made of, in order."""
    stamps = {table: corpus.stamps(table) for table in tables}
    return {
        each: digest(each.part, [stamps[table][each].fingerprint for table in tables])
        for each in partitions
    }
