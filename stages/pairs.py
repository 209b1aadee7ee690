"""Stage ``pairs``: editing pairs from copies, subjects, clips and groups of edits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from captioning.pairs import (
    Chosen,
    CommunityPairs,
    Members,
    PairOptions,
    choose_from_groups,
    without_repeats,
)
from stages.contract import (
    CorpusOutput,
    CorpusStage,
    Executor,
    Reads,
    Resources,
    StageSettings,
)
from stages.corpus import Corpus, Partition, digest
from stages.images import IMAGE_COLUMNS
from stages.pair_writing import NO_DIFFERENCE, PairWork, Writers, check_writers, write_pairs
from stages.schemas import PAIRED, PAIRS, part_of
from stages.storage import Storage, child

Ids = npt.NDArray[np.int64]

_PIECES = "_pieces"
_PAIRS_PER_PIECE = 64
_OF_ITEMS = ("sha256", "source", "meta")
_OF_IMAGES = (*IMAGE_COLUMNS, "sha256", "meta")
_LINES = Reads("ocr", ("lines",))
_CAPTIONS = Reads("caption", ("en_long", "zh_long"))


class PairsSettings(StageSettings):
    """Which pairs are made, and who writes their instructions."""

    enabled: bool = False
    """Whether the stage runs. Pairs are a data set of their own, for models that edit."""
    kinds: list[Literal["copy", "subject", "video", "edit"]] = ["copy", "subject", "video", "edit"]
    """``copy``: two images of one near-copy community, removed ones too; ``subject``: two kept
    ones of one subject; ``video``: two frames of a clip; ``edit``: two versions of an image,
    which carry the same ``edit_group`` in their metadata."""
    copy_low: float = Field(default=0.85, ge=-1, le=1)
    """Least similarity of near-copies; none are known below ``dedup.threshold``."""
    subject_low: float = Field(default=0.65, ge=-1, le=1)
    """Least similarity of images of one subject; none are known below ``dedup.levels.subject``."""
    video_low: float = Field(default=0.65, ge=-1, le=1)
    """Least similarity of two frames of a clip."""
    high: float = Field(default=0.985, ge=-1, le=1)
    """From this similarity on two images are taken for the same; groups of edits are exempt."""
    per_group: int = Field(default=6, ge=1, le=100_000)
    """Most pairs of images of one community or clip; each gives two pairs, one per direction."""
    per_edit_group: int | None = Field(default=None, ge=1)
    """The same for groups of edits; null for all: N(N+1) pairs of a source and N edits."""
    seed: int = Field(default=0, ge=0)
    """Decides which pairs of a group are taken where there are more."""
    backend: Literal["composer", "openai"] = "composer"
    """Who writes: ``composer`` needs no model and says what comparing pixels and text tells;
    ``openai`` is the endpoint of the section ``caption``."""
    prompt_version: str = "v1"
    """Version of the prompts of the endpoint."""
    read_text: bool = True
    """Whether text is read in images that ``ocr`` has not seen, with the settings of ``ocr``."""

    _writers: Writers = Writers()

    @model_validator(mode="after")
    def _band_is_open(self) -> PairsSettings:
        for name in ("copy_low", "subject_low", "video_low"):
            if getattr(self, name) >= self.high:
                raise ValueError(f"{name} must be below high = {self.high}")
        return self

    def beside(self, others: Any) -> PairsSettings:  # noqa: ANN401 - settings by stage
        """The same, with the settings of text reader and captioner."""
        told = self.model_copy()
        told._writers = Writers(
            *(self.backend, self.prompt_version, self.read_text),
            *(others[name].model_dump_json() for name in ("ocr", "caption")),
        )
        return told

    @property
    def writers(self) -> Writers:
        """Who reads text, captions and writes instructions."""
        return self._writers

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the pairs, those of other stages among them."""
        fields = super().fingerprint_fields()
        return {**fields, "writers": self._writers.fingerprint_fields()}

    def options(self) -> PairOptions:
        """The same, as the domain wants it."""
        names = PairOptions.__dataclass_fields__
        return PairOptions(**{name: getattr(self, name) for name in names})


@dataclass
class _Found:
    """What a pass over the items gives."""

    members: Members
    clips: dict[str, list[int]] = field(default_factory=dict)
    edits: dict[str, list[int]] = field(default_factory=dict)


class PairsStage(CorpusStage):
    """Chooses pairs among all items that passed the filters, and has instructions written.

    Removed copies take part: of a near-copy pair one image is mostly removed, and so are the
    frames of a slow clip. What a pair got is kept beside the table until the stage is done
    with other settings, so that a run that is killed pays for no pair twice.

    Per item that passed about 33 bytes are held in memory, and what is known of the images
    that stand in pairs.
    """

    name = "pairs"
    version = 1
    reads: ClassVar[tuple[Reads, ...]] = (
        Reads("items", (*_OF_IMAGES, "source")),
        Reads("embed", ("vector",)),
        Reads("dedup", ("cluster", "subject", "keep")),
    )
    writes = ("pairs", "paired")

    @classmethod
    def configured(cls, settings: Any) -> tuple[type[CorpusStage], ...]:  # noqa: ANN401
        """Nothing, unless the configuration asks for pairs."""
        return (cls,) if settings.enabled else ()

    @classmethod
    def looks_up(cls, settings: StageSettings) -> tuple[Reads, ...]:  # noqa: ARG003
        """Edges have no item id, and removed copies neither text nor captions."""
        return (Reads("edges", ("src", "dst", "similarity")), _LINES, _CAPTIONS)

    def check(self) -> None:
        """Fail early; see ``CorpusStage``."""
        check_writers(self.settings.writers)

    def discard(self, corpus: Corpus) -> None:
        """Forget the pairs that are written already."""
        corpus.storage.remove_folder(corpus.place("pairs", _PIECES))

    def run(self, corpus: Corpus, executor: Executor, recipe: str) -> CorpusOutput:
        """Choose the pairs, write their instructions, drop those that do not differ."""
        del recipe  # pieces are stamped with a hash of what they are made from
        partitions = corpus.partitions()
        found = _find(corpus, partitions)
        chosen = self._choose(corpus, partitions, found)
        work = list(self._work(corpus, chosen))
        write = partial(_write_piece, self.storage, corpus.place("pairs", _PIECES))
        resources = Resources(cpus=1, memory_gb=2.0)
        rows: list[dict[str, Any]] = []
        for piece in executor.map(write, work, resources):
            rows += piece
        self._forget_others(corpus, {_piece_name(each) for each in work})
        same = [row for row in rows if row["kind"] != "edit" and NO_DIFFERENCE in row["checks"]]
        kept = [row for row in rows if row["kind"] == "edit" or NO_DIFFERENCE not in row["checks"]]
        kinds = Counter(row["kind"] for row in kept)
        metrics = {f"pairs_{kind}": kinds[kind] for kind in self.settings.kinds}
        tables = {"pairs": pairs_table(kept), "paired": _paired(found.members.ids, kept)}
        return CorpusOutput(tables, {**metrics, "pairs_without_difference": len(same)})

    def _choose(
        self, corpus: Corpus, partitions: Sequence[Partition], found: _Found
    ) -> list[Chosen]:
        options = self.settings.options()
        community = CommunityPairs(found.members, options)
        for each in partitions:
            edges = corpus.read("edges", each, ["src", "dst", "similarity"])
            community.add(*(edges.column(i).to_numpy() for i in range(3)))
        wanted = [ids for groups in (found.clips, found.edits) for ids in groups.values()]
        similarity = _similarity(corpus, partitions, sorted({i for ids in wanted for i in ids}))
        chosen = community.chosen()
        chosen += choose_from_groups("video", found.clips, found.members, similarity, options)
        chosen += choose_from_groups("edit", found.edits, found.members, similarity, options)
        return without_repeats(chosen)

    def _work(self, corpus: Corpus, chosen: Sequence[Chosen]) -> Iterator[PairWork]:
        """Pieces of whole groups: images of one group are decoded once."""
        images = _images(corpus, sorted({i for one in chosen for i in (one.first, one.second)}))
        piece: list[Chosen] = []
        for number, one in enumerate(chosen):
            piece.append(one)
            last = number + 1 == len(chosen)
            if last or (len(piece) >= _PAIRS_PER_PIECE and chosen[number + 1].group != one.group):
                ids = {i for each in piece for i in (each.first, each.second)}
                mine = {identifier: images[identifier] for identifier in sorted(ids)}
                yield PairWork(tuple(piece), mine, self.settings.writers, corpus.uri)
                piece = []

    def _forget_others(self, corpus: Corpus, names: set[str]) -> None:
        folder = corpus.place("pairs", _PIECES)
        for info in self.storage.files(folder):
            if str(info.path).rpartition("/")[2] not in names:
                self.storage.remove(self.storage.uri_of(folder, info))


def pairs_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as the table ``pairs``, by source and target."""
    named = [
        {
            **row,
            "pair_id": f"{row['source_id']:016d}-{row['target_id']:016d}",
            "differences": json.dumps(row["differences"], ensure_ascii=False),
        }
        for row in rows
    ]
    ordered = sorted(named, key=lambda row: (row["source_id"], row["target_id"]))
    return pa.Table.from_pylist(ordered, schema=PAIRS)


def _paired(ids: Ids, rows: Sequence[dict[str, Any]]) -> pa.Table:
    counts = []
    for name in ("source_id", "target_id"):
        count = np.zeros(len(ids), np.int32)
        np.add.at(count, np.searchsorted(ids, [row[name] for row in rows]).astype(np.intp), 1)
        counts.append(count)
    return pa.table([ids, *counts], schema=PAIRED)


def _find(corpus: Corpus, partitions: Sequence[Partition]) -> _Found:
    """All items that take part, and the groups that their metadata name."""
    reads = (Reads("items", _OF_ITEMS), Reads("embed"), *PairsStage.reads[2:])
    columns: list[list[npt.NDArray[Any]]] = [[] for _ in range(5)]
    clips: dict[str, list[int]] = {}
    edits: dict[str, list[int]] = {}
    for each in partitions:
        table = corpus.join(reads, each)
        content = [int(value[:16], 16) for value in table.column("sha256").to_pylist()]
        arrays = [
            *(table.column(name).to_numpy() for name in ("item_id", "cluster", "subject")),
            table.column("keep").to_numpy(zero_copy_only=False),
            np.array(content, np.uint64),
        ]
        for column, values in zip(columns, arrays, strict=True):
            column.append(values)
        _gather_groups(table, "clip", "video", clips)
        _gather_groups(table, "edit_group", "edit", edits)
    types = (np.int64, np.int64, np.int64, np.bool_, np.uint64)
    joined = [
        np.concatenate(column) if column else np.empty(0, kind)
        for column, kind in zip(columns, types, strict=True)
    ]
    return _Found(Members(*joined), clips, edits)


def _gather_groups(table: pa.Table, key: str, kind: str, groups: dict[str, list[int]]) -> None:
    """Items by the group that a key of their metadata names, inside each source."""
    mentions = pc.fill_null(pc.match_substring(table.column("meta"), f'"{key}"'), False)
    for row in table.filter(mentions).select(["item_id", "source", "meta"]).to_pylist():
        try:
            value = json.loads(row["meta"]).get(key)
        except (ValueError, AttributeError):
            continue
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            # A clip is named by its place; other names mean something within their source only.
            inside = str(value).startswith(row["source"])
            name = f"{kind}:{value}" if inside else f"{kind}:{row['source']}#{value}"
            groups.setdefault(name, []).append(row["item_id"])


def _similarity(
    corpus: Corpus, partitions: Sequence[Partition], ids: Sequence[int]
) -> Callable[[Ids, Ids], npt.NDArray[np.float32]]:
    """Cosine of pairs among some items, whose vectors are read once."""
    wanted = np.array(ids, np.int64)
    parts = {part_of(identifier) for identifier in ids}
    found: list[Ids] = []
    vectors: list[npt.NDArray[np.float32]] = []
    for each in partitions:
        if each.part in parts:
            table = corpus.read("embed", each, ["item_id", "vector"])
            table = table.filter(pc.is_in(table.column("item_id"), value_set=pa.array(wanted)))
            found.append(table.column("item_id").to_numpy())
            vectors += [np.array(v, np.float32) for v in table.column("vector").to_pylist()]
    order = np.concatenate(found) if found else wanted
    matrix = np.stack(vectors) if vectors else np.zeros((0, 1), np.float32)

    def similarity(first: Ids, second: Ids) -> npt.NDArray[np.float32]:
        a, b = (matrix[np.searchsorted(order, side)] for side in (first, second))
        # By row, so that a pair's value does not depend on what it is computed with.
        return np.array([float(x @ y) for x, y in zip(a, b, strict=True)], np.float32)

    return similarity


def _images(corpus: Corpus, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What is known of images, by item id."""
    by_part: dict[int, list[int]] = {}
    for identifier in ids:
        by_part.setdefault(part_of(identifier), []).append(identifier)
    known: dict[int, dict[str, Any]] = {}
    for each in corpus.partitions():
        mine = pa.array(by_part.get(each.part, []), pa.int64())
        if len(mine):
            table = pa.table({"item_id": mine})
            for read in (Reads("items", _OF_IMAGES), _LINES, _CAPTIONS):
                looked = corpus.look_up(read, each, mine)
                for name in looked.column_names:
                    table = table.append_column(name, looked.column(name))
            known |= {row["item_id"]: row for row in table.to_pylist()}
    return known


def _piece_name(work: PairWork) -> str:
    facts = [work.images[i] for i in sorted(work.images)]
    pairs = [vars(each) for each in work.chosen]
    return f"{digest(PairsStage.version, work.writers.fingerprint_fields(), facts, pairs)}.json"


def _write_piece(storage: Storage, folder: str, work: PairWork) -> list[dict[str, Any]]:
    """The rows of some pairs, as an earlier run left them or newly written."""
    place = child(folder, _piece_name(work))
    if storage.exists(place):
        rows: list[dict[str, Any]] = json.loads(storage.read(place))
        return rows
    rows = write_pairs(storage, work)
    storage.write(place, json.dumps(rows, ensure_ascii=False).encode())
    return rows
