"""The stages, in the order of the line. Adding a stage is one line here."""

from __future__ import annotations

from stages.caption import CaptionStage
from stages.contract import CorpusStage, MapStage
from stages.dedup import DedupStage
from stages.embed import EmbedStage
from stages.filter import FilterStage
from stages.ingest import IngestStage
from stages.ocr import OcrStage
from stages.profile import ProfileStage
from stages.shard import ShardStage

STAGES: tuple[type[MapStage] | type[CorpusStage], ...] = (
    IngestStage,
    ProfileStage,
    EmbedStage,
    FilterStage,
    DedupStage,
    OcrStage,
    CaptionStage,
    ShardStage,
)
