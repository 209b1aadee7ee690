"""The stages, in the order of the line. Adding a stage is one line here."""

from __future__ import annotations

from pipeline.config import Config
from stages.caption import CaptionStage
from stages.contract import CorpusStage, MapStage
from stages.dedup import DedupStage
from stages.embed import EmbedStage
from stages.filter import FilterStage
from stages.ingest import IngestStage
from stages.ocr import OcrStage
from stages.pairs import PairsStage
from stages.profile import ProfileStage
from stages.score import ScoreStage
from stages.shard import ShardStage

STAGES: tuple[type[MapStage] | type[CorpusStage], ...] = (
    IngestStage,
    ProfileStage,
    EmbedStage,
    ScoreStage,
    FilterStage,
    DedupStage,
    OcrStage,
    CaptionStage,
    ShardStage,
)

#: Stages behind the line, which run where the configuration asks for them.
FURTHER: tuple[type[MapStage] | type[CorpusStage], ...] = (PairsStage,)


def stages_of(config: Config) -> tuple[type[MapStage] | type[CorpusStage], ...]:
    """The stages of a run: those of the line, one for each further embedder, and what is asked for.

    Args:
        config: The run.
    """
    known = (*STAGES, *FURTHER)
    return tuple(each for stage in known for each in stage.configured(config.stage(stage.name)))
