"""The ``dedup`` stage: which of the images that passed the filters are kept, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field, PrivateAttr, model_validator

from dedup.options import CommunityOptions, DedupOptions, GraphOptions, check_levels
from stages.contract import (
    ALL_COLUMNS,
    ConfigurationError,
    CorpusOutput,
    CorpusStage,
    Executor,
    Reads,
    Resources,
    StageError,
    StageSettings,
)
from stages.corpus import Corpus
from stages.schemas import DEDUP, EDGES, ITEMS, PROFILE, schema_of
from stages.score import ScoreSettings

_ITEM_COLUMNS = tuple(name for name in ITEMS.names if name != "item_id")
_PROFILE_COLUMNS = tuple(name for name in PROFILE.names if name != "item_id")


#: Figures of the search, beside the table: for the audit.
SEARCH_FILE = "_search.json"

#: The most pixels; of as many, colour before grey, which cannot be coloured again (5 of
#: Hasler and Suesstrunk's scale is a faint tint); of these, the most bytes.
KEEP_BEST = "width * height desc, colourfulness >= 5 desc, bytes desc, item_id"


class LevelSettings(StageSettings):
    """Looser thresholds, for the levels above near-copies."""

    variant: float | None = Field(default=None, ge=-1, le=1)
    """Similarity of variants of one picture; below ``threshold``. Null: one and a half times
    the cosine distance of ``threshold``, such as 0.775 for 0.85."""
    subject: float | None = Field(default=None, ge=-1, le=1)
    """Similarity of pictures of one subject; below ``variant``. Null: two and a half times,
    such as 0.625 for 0.85."""


class GraphSettings(StageSettings):
    """How neighbours are searched."""

    method: Literal["auto", "cells", "faiss-flat", "faiss-ivf"] = "auto"
    """``cells`` compares all pairs inside overlapping cells, keeps its work for later batches,
    and up to 24,576 items is exact; ``auto`` is ``cells``. ``faiss-flat`` (exact) and
    ``faiss-ivf`` (``nprobe`` lists) are the reference and hold all vectors in memory."""
    max_k: int = Field(default=1024, ge=1, le=65536)
    """Neighbours listed per item (by ``cells``: and cell) at most; items with more are counted
    as saturated."""
    copies: int = Field(default=16, ge=1, le=64)
    """Cells that an item goes to at most."""
    slack: float | None = Field(default=None, ge=0, le=2)
    """How much further than its nearest a cell's centroid may be to be visited too, in cosine.
    Null: found out from the data."""
    k: int = Field(default=32, ge=1, le=65536)
    """Neighbours that FAISS is asked for at first, at most ``max_k``; doubled for items that
    have more."""
    nprobe: int = Field(default=16, ge=1)
    """Lists that ``faiss-ivf`` searches per item."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where vectors are compared. ``auto``: on a GPU where there is one. A GPU wants larger
    cells, so the pairs that are missed are others."""

    @model_validator(mode="after")
    def _ordered(self) -> GraphSettings:
        if self.max_k < self.k:
            raise ValueError(f"max_k must be at least k = {self.k}, got {self.max_k}")
        return self


class CommunitySettings(StageSettings):
    """How components are cut into communities."""

    quality: Literal["cpm", "modularity", "rb", "rber", "surprise", "significance"] = "cpm"
    """What Leiden maximises; the last four need leidenalg (``winnow[leiden]``)."""
    resolution: float | None = Field(default=None, ge=0)
    """For ``cpm`` a share of the level's threshold (null: 0.6), else the usual (null: 1)."""
    max_edges: int = Field(default=20_000_000, ge=1)
    """A component with more edges is cut by raising the threshold inside it; the audit says so."""
    within: Literal["component", "community"] = "component"
    """Who competes for being kept: ``component`` leaves no two kept images at or above the
    threshold; ``community`` leaves those of different near-copy communities alone."""


class DedupSettings(StageSettings):
    """Settings of the ``dedup`` stage. Similarity is cosine, in [-1, 1]."""

    execution_only: ClassVar[frozenset[str]] = frozenset({"threads", "memory_gb"})

    threshold: float = Field(default=0.85, ge=-1, le=1)
    """Similarity from which two images are near-copies."""
    phash_distance: int = Field(default=4, ge=0, le=32)
    """Bits in which the perceptual hashes of a match may differ, out of 64."""
    levels: LevelSettings = LevelSettings()
    """Thresholds of the looser levels."""
    graph: GraphSettings = GraphSettings()
    """How neighbours are searched."""
    communities: CommunitySettings = CommunitySettings()
    """How components are cut."""
    keep: str = KEEP_BEST
    """Policy: SQL order terms over the columns of ``items``, ``profile`` and ``score``; the first
    image of a neighbourhood is kept. Nulls come last, ties go to the lower ``item_id``."""
    protect: str = ""
    """SQL condition over the same columns and ``batch``: images it holds for are never removed,
    such as ``batch = 0`` for those of the first run, or ``uri like '%/release-1/%'``."""
    keep_earlier: bool = True
    """Whether what was kept of earlier batches stays kept. If not, a better image of a later
    batch takes its place."""
    audit: int = Field(default=500, ge=0)
    """Images that are searched exactly against all others, to measure the recall; 0: none."""
    seed: int = Field(default=0, ge=0)
    """Seed of Leiden, and of ``faiss-ivf``."""
    memory_gb: float = Field(default=4.0, ge=0.25)
    """Memory that the search aims to stay within, in GiB."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads of a search that runs in one process; also the stage's CPU cores."""

    @model_validator(mode="after")
    def _levels_descend(self) -> DedupSettings:
        check_levels(self.threshold, self.levels.variant, self.levels.subject)
        return self

    _further: tuple[str, ...] = PrivateAttr(default=())

    def beside(self, others: Mapping[str, StageSettings]) -> DedupSettings:
        """The same, with the names of the scores that further heads give."""
        told = self.model_copy()
        score = others.get("score")
        told._further = score.further if isinstance(score, ScoreSettings) else ()
        return told

    @property
    def further(self) -> tuple[str, ...]:
        """Columns of ``score`` beyond the named ones, which policies may use as well."""
        return self._further

    def options(self) -> DedupOptions:
        """The same, as the domain wants it."""
        graph = GraphOptions(
            threads=self.threads, memory_gb=self.memory_gb, **self.graph.model_dump()
        )
        return DedupOptions(
            threshold=self.threshold,
            phash_distance=self.phash_distance,
            variant=self.levels.variant,
            subject=self.levels.subject,
            graph=graph,
            communities=CommunityOptions(**self.communities.model_dump()),
            keep=self.keep,
            protect=self.protect,
            keep_earlier=self.keep_earlier,
            audit=self.audit,
            seed=self.seed,
        )


class DedupStage(CorpusStage):
    """Finds exact, perceptual and semantic copies among what passed, and keeps the best."""

    name = "dedup"
    version = 2
    reads: ClassVar[tuple[Reads, ...]] = (
        Reads("items", _ITEM_COLUMNS),
        Reads("profile", _PROFILE_COLUMNS),
        Reads("embed", ("vector",)),
        Reads("score", ALL_COLUMNS),
        Reads("filter", (), where="passed"),
    )
    writes = ("edges", "dedup")

    @property
    def resources(self) -> Resources:
        """The threads of the search, and its memory."""
        return Resources(cpus=self.settings.threads, memory_gb=self.settings.memory_gb)

    def check(self) -> None:
        """Fail early on a policy that does not work or a library that is missing."""
        # Here and below, not at the top: compiled kernels take a second to load, and every
        # command reads the settings.
        from dedup.leiden import check_solver
        from dedup.neighbours import import_faiss
        from dedup.policy import matching, policy_rank

        signals = [*PROFILE, *schema_of("score", self.settings.further)]
        known = [*ITEMS, *(field for field in signals if field.name != "item_id")]
        empty = pa.schema([*known, pa.field("batch", pa.int64())]).empty_table()
        try:
            policy_rank(empty, self.settings.keep)
            matching(empty, self.settings.protect)
            check_solver(self.settings.communities.quality)
            # The pairs of perceptual hashes are FAISS's in any case.
            import_faiss()
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"dedup: {error}") from error

    def discard(self, corpus: Corpus) -> None:
        """Forget the kept graph."""
        from stages.graph import CorpusGraph

        CorpusGraph(corpus, "").discard()

    def run(self, corpus: Corpus, executor: Executor, recipe: str) -> CorpusOutput:  # noqa: ARG002
        """Deduplicate all items that passed the filter.

        Raises:
            StageError: If vectors or policy do not fit the items.
        """
        from stages.deduplication import deduplicate_corpus

        try:
            decided = deduplicate_corpus(
                corpus, self.settings.options(), executor, further=self.settings.further
            )
        except ValueError as error:
            raise StageError(f"stage dedup: {error}") from error
        # What no table can tell: how the search went, and what share of the truth it found.
        figures = json.dumps(decided.stats, indent=1, sort_keys=True).encode()
        corpus.storage.write(corpus.place(self.name, SEARCH_FILE), figures)
        output = {
            "edges": decided.edges.cast(EDGES),
            "dedup": decided.decisions.select(DEDUP.names).cast(DEDUP),
        }
        return CorpusOutput(output, decided.stats)
