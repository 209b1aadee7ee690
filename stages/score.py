"""The ``score`` stage: what trained heads say of each image, from the vectors it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, field_validator

from stages.contract import (
    ConfigurationError,
    MapStage,
    Output,
    Reads,
    Resources,
    StageSettings,
)
from stages.corpus import Corpus, Partition, digest
from stages.embed import EmbedderSettings, EmbedSettings
from stages.embedders import Embedder
from stages.embedders.builtin import WEIGHTS
from stages.heads.head import Head, load_head
from stages.heads.laion import check_laion_embedder, load_laion
from stages.heads.places import content_of, locate_head
from stages.schemas import SCORE, TABLES, schema_of
from stages.storage import Storage

#: The column that a text tower fills, and no head.
IMAGE_TEXT = "image_text"
#: Columns that have a name of their own, whether a head fills them or not.
NAMED_SCORES = tuple(SCORE.names[1:])

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAIN = "embed"
#: What of an embedder's settings says which vectors it makes.
_IDENTITY = ("model", "checkpoint", "model_config_file")


class HeadSettings(StageSettings):
    """One head."""

    file: str = Field(min_length=1)
    """A file that ``winnow train-head`` wrote, or ``hf-hub:OWNER/NAME/FILE``."""
    layout: Literal["winnow", "laion"] = "winnow"
    """``laion``: an aesthetic head as LAION publishes it, linear or improved, as .pth."""
    table: str | None = None
    """The table of vectors; null: the one it was trained on (``laion``: ``embed``)."""


class ImageTextSettings(StageSettings):
    """Image against alt text."""

    table: str = _MAIN
    """The table of image vectors; its model must have a text tower."""


class ScoreSettings(StageSettings):
    """Settings of the ``score`` stage. Without heads all scores are null."""

    execution_only: ClassVar[frozenset[str]] = frozenset({"threads", "batch_size"})

    heads: dict[str, HeadSettings] = Field(default_factory=dict)
    """Heads by the column they fill: ``aesthetic``, ``nsfw``, ``aigc``, ``watermark``, or a
    name of your own, which becomes a further column."""
    image_text: ImageTextSettings | None = None
    """Cosine of image and alt text, by a model with a text tower; null: not computed."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads of the text tower; also the stage's CPU cores."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """Texts that go through the text tower at once."""

    _embed: EmbedSettings = PrivateAttr(default_factory=EmbedSettings)

    @field_validator("heads")
    @classmethod
    def _names(cls, heads: dict[str, HeadSettings]) -> dict[str, HeadSettings]:
        # Of all tables: queries join them, and a name must mean one thing.
        taken = {name for schema in TABLES.values() for name in schema.names} | {"batch"}
        taken -= set(NAMED_SCORES)
        for name in heads:
            if name == IMAGE_TEXT:
                raise ValueError(f"{name!r} is filled by a text tower: set score.image_text.table")
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} must be lower-case letters, digits and _, as in a_1")
            if name in taken:
                raise ValueError(f"{name!r} is a column of another table: choose another name")
        return heads

    @property
    def further(self) -> tuple[str, ...]:
        """Columns beyond the named ones, in alphabetical order."""
        return tuple(sorted(set(self.heads) - set(NAMED_SCORES)))

    def beside(self, others: Mapping[str, StageSettings]) -> ScoreSettings:
        """The same, with the embedders that make the vectors."""
        told = self.model_copy()
        embed = others.get(_MAIN)
        if isinstance(embed, EmbedSettings):
            told._embed = embed
        return told

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the scores; heads count by content, not by path."""
        fields = super().fingerprint_fields()
        for name, head in self.heads.items():
            fields["heads"][name]["file"] = content_of(head.file)
        return fields

    def embedders(self) -> dict[str, EmbedderSettings]:
        """Settings of the embedders by the table that holds their vectors."""
        return self._embed.tables()

    def embedder(self, table: str, where: str) -> EmbedderSettings:
        """Settings of the embedder that fills a table.

        Raises:
            ConfigurationError: If none does.
        """
        found = self.embedders()
        if table not in found:
            raise ConfigurationError(
                f"{where}={table!r} is no table of vectors; there are {', '.join(found)}: add the "
                "embedder under embed.more"
            )
        return found[table]

    def load_heads(self) -> dict[str, Head]:
        """The heads, read and checked against the embedders of their tables.

        Raises:
            ConfigurationError: If a file is missing or damaged, or belongs to another embedder.
        """
        return {name: self._load(name, each) for name, each in self.heads.items()}

    def _load(self, name: str, settings: HeadSettings) -> Head:
        where = f"score.heads.{name}"
        path = locate_head(settings.file, f"{where}.file")
        head = load_laion(path) if settings.layout == "laion" else load_head(path)
        embedder = embedder_of(self.embedder(settings.table or head.table, f"{where}.table"))
        if settings.layout == "laion":
            check_laion_embedder(embedder, where)
        head.check_embedder(embedder, where)
        return head


def embedder_of(settings: EmbedderSettings) -> dict[str, str]:
    """What tells an embedder from others: its model, and hashes of the files it is made from."""
    fields = settings.fingerprint_fields()
    found = {name: fields[name] for name in _IDENTITY if fields.get(name) is not None}
    if not isinstance(found["model"], str):  # a folder: its kind, and hashes of its files
        kind, files = found["model"]
        found["model"] = f"{kind}{digest(files)}"
    if settings.model == "builtin":
        found["weights"] = content_of(str(WEIGHTS))
    return found


class ScoreStage(MapStage):
    """Scores every image; a score is null where nothing is configured that could give it."""

    name = "score"
    version = 1
    reads = (Reads("items", ("uri", "key", "alt_text")),)

    def __init__(self, settings: ScoreSettings, storage: Storage) -> None:
        super().__init__(settings, storage)
        self._heads: dict[str, Head] | None = None
        self._text: Embedder | None = None

    @classmethod
    def looks_up(cls, settings: StageSettings) -> tuple[Reads, ...]:
        """The tables of vectors that heads and text tower need."""
        assert isinstance(settings, ScoreSettings)  # noqa: S101 - the runner gives its own
        return tuple(Reads(table, ("vector",)) for table in sorted(_tables(settings)))

    @property
    def resources(self) -> Resources:
        """A core a thread; with a text tower its model, and a GPU where that runs on CUDA."""
        threads: int = self.settings.threads
        if self.settings.image_text is None:
            return Resources(cpus=threads, memory_gb=1.0)
        embedder = self.settings.embedders().get(self.settings.image_text.table)
        on_gpu = embedder is not None and embedder.resolved_device() == "cuda"
        return Resources(cpus=threads, gpus=float(on_gpu), memory_gb=4.0)

    def check(self) -> None:
        """Fail early on a head that is missing, damaged or of another embedder."""
        self.settings.load_heads()
        self._text_embedder()

    def setup(self) -> None:
        """Load heads and text tower."""
        self._heads = self.settings.load_heads()
        self._text = self._text_embedder()
        if self._text is not None:
            device = self.settings.embedders()[self.settings.image_text.table].resolved_device()
            self._text.load(device, self.settings.threads)

    def _text_embedder(self) -> Embedder | None:
        wanted = self.settings.image_text
        if wanted is None:
            return None
        settings = self.settings.embedder(wanted.table, "score.image_text.table")
        embedder: Embedder = settings.create_embedder()
        if not embedder.has_text:
            raise ConfigurationError(
                f"score.image_text.table={wanted.table!r}: {settings.model} has no text tower; "
                "name the table of a CLIP model, see embed.more"
            )
        embedder.check()
        return embedder

    def schema(self) -> pa.Schema:
        """The named scores, then those of further heads."""
        return schema_of(self.name, self.settings.further)

    def load(self, corpus: Corpus, partition: Partition) -> pa.Table:
        """The items of a partition, with the vectors they have: a column per table."""
        table = corpus.join(self.reads, partition)
        for read in self.looks_up(self.settings):
            found = corpus.look_up(read, partition, table.column("item_id"))
            table = table.append_column(read.table, found.column("vector"))
        return table

    def process(self, table: pa.Table) -> Output:
        """Score a partition of items; nothing is quarantined."""
        if self._heads is None:
            self.setup()
        assert self._heads is not None  # noqa: S101 - setup() has loaded them
        columns: dict[str, pa.Array] = {"item_id": table.column("item_id")}
        for name, head in self._heads.items():
            column = self.settings.heads[name].table or head.table
            columns[name] = _head_scores(head, table.column(column), f"score.heads.{name}")
        if self._text is not None:
            columns[IMAGE_TEXT] = self._image_text(table)
        missing = pa.nulls(table.num_rows, pa.float32())
        schema = self.schema()
        return Output(pa.table([columns.get(each, missing) for each in schema.names], schema))

    def _image_text(self, table: pa.Table) -> pa.Array:
        """Cosine of image and text; null without text, and without a vector."""
        text = table.column("alt_text").combine_chunks()
        said = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(text)), 0), False)
        known, vectors = unit_vectors(table.column(self.settings.image_text.table))
        both = known & said.to_numpy(zero_copy_only=False)
        scores = np.full(table.num_rows, np.nan, dtype=np.float32)
        if both.any():
            tower = self._text_vectors(text.filter(pa.array(both)).to_pylist())
            mine = vectors[both[known]]
            if mine.shape[1] != tower.shape[1]:
                raise ConfigurationError(
                    f"score.image_text.table={self.settings.image_text.table!r} holds vectors of "
                    f"{mine.shape[1]} dimensions, the text tower gives {tower.shape[1]}"
                )
            cosine = np.einsum("nd,nd->n", mine, tower.astype(np.float64))
            scores[both] = np.clip(cosine, -1.0, 1.0)
        return pa.array(scores, from_pandas=True)

    def _text_vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """Each text once: (n, d), rows in the order of ``texts``."""
        distinct, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
        size = self.settings.batch_size
        tower = self._text
        assert tower is not None  # noqa: S101 - only asked where there is one
        batches = [
            tower.encode_text(distinct[at : at + size].tolist())
            for at in range(0, len(distinct), size)
        ]
        vectors: NDArray[np.float32] = np.concatenate(batches)[places]
        return vectors


def unit_vectors(column: pa.ChunkedArray) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Vectors as stored in half precision, brought to unit length again.

    Args:
        column: Lists of numbers, with nulls.

    Returns:
        Which rows have one, bool (n,), and the vectors of these, float64 (m, d).

    Raises:
        ConfigurationError: If they differ in length.
    """
    known: NDArray[np.bool_] = column.is_valid().to_numpy()
    lists = column.drop_null().combine_chunks()
    count = int(known.sum())
    numbers = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    if count and (lengths != lengths[0]).any():
        raise ConfigurationError(
            "vectors of one table differ in length: were two models mixed? Run the embed stage "
            "again: winnow stage embed CONFIG --force"
        )
    vectors = numbers.reshape(count, -1) if count else numbers.reshape(0, 0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return known, vectors / np.where(norms > 0, norms, 1.0)


def _head_scores(head: Head, column: pa.ChunkedArray, where: str) -> pa.Array:
    known, vectors = unit_vectors(column)
    scores = np.full(len(known), np.nan, dtype=np.float32)
    if known.any():
        if vectors.shape[1] != head.width:
            raise ConfigurationError(
                f"{where}: the head takes vectors of {head.width} dimensions, the table holds "
                f"{vectors.shape[1]}: name the table of its embedder"
            )
        scores[known] = head.network.scores(vectors)
    return pa.array(scores, from_pandas=True)


def _tables(settings: ScoreSettings) -> set[str]:
    """Tables of vectors that are needed; those of files that cannot be read are left out."""
    tables = {settings.image_text.table} if settings.image_text is not None else set()
    for head in settings.heads.values():
        tables.add(head.table or _trained_on(head))
    return tables & set(settings.embedders())


def _trained_on(settings: HeadSettings) -> str:
    """The table in a head's file; ``check`` has told of files that cannot be read."""
    if settings.layout == "laion":
        return _MAIN
    try:
        return load_head(Path(locate_head(settings.file, "file"))).table
    except ConfigurationError:
        return _MAIN
