"""The steps of a run: each stage of the line, and inside ``dedup`` its own steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from pipeline.config import Config
from pipeline.plan.machine import Layout, Machine, lay_out
from pipeline.plan.model import Part, Spread, Work, cells, dedup_work
from pipeline.plan.rates import Rates
from pipeline.registry import stages_of
from pipeline.state import StageType
from stages.caption import CaptionSettings
from stages.contract import MapStage, Resources, StageSettings
from stages.dedup import DedupSettings
from stages.embed import EmbedderSettings
from stages.ocr import OcrSettings
from stages.schemas import TABLES, is_embed_table
from stages.score import ScoreSettings
from stages.shard import ShardSettings
from stages.storage import Storage

#: What a name of a model begins with that is no architecture.
_WHOLE_NAMES = ("hf-hub:", "local-dir:")


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Args:
        work: What it does.
        layout: Over what it is shared out.
        resources: What one of its workers needs.
        reason: Why its time cannot be told from any rate; ``None`` where it can.
    """

    work: Work
    layout: Layout
    resources: Resources
    reason: str | None = None


def steps_of(config: Config, items: int, dim: int, machine: Machine, rates: Rates) -> list[Step]:
    """All steps in their order, as if every image passed and were kept.

    Args:
        config: The run.
        items: Images, at least 1.
        dim: Width of their vectors, at least 1.
        machine: Where it runs.
        rates: For sizes on disk, which are recorded beside the rates.
    """
    partitions = ceil(items / config.ingest.partition_items)
    local = config.run.executor == "local"
    steps = [] if local else [_start(config, machine)]
    for stage in stages_of(config):
        settings = placed(config.stage(stage.name), machine)
        resources = stage(settings, Storage()).resources
        tasks = _tasks(settings, items, partitions, rates)
        limit = min(tasks, config.run.workers or tasks)
        layout = lay_out(resources, machine, limit, local=local)
        if isinstance(settings, DedupSettings):
            works = _dedup(settings, resources, items, dim, machine)
            reason = None
        else:
            works = [_stage(stage, settings, items, partitions, rates, layout, resources)]
            reason = _unpredictable(settings)
        # Tables of dedup are written when all is decided, before the audit.
        writer = -2 if len(works) > 1 else -1
        disk = sum(_tables(stage, items, partitions, dim, rates))
        works[writer] = replace(works[writer], disk_bytes=works[writer].disk_bytes + disk)
        steps += [Step(work, layout, resources, reason) for work in works]
    return steps


def _tasks(settings: StageSettings, items: int, partitions: int, rates: Rates) -> int:
    """Pieces that a stage's work falls into: more workers than that find nothing to do."""
    if isinstance(settings, ShardSettings):
        size = items * rates.images.bytes
        return max(ceil(items / settings.max_samples), ceil(size / (settings.max_mb << 20)))
    return cells(items) if isinstance(settings, DedupSettings) else partitions


def placed(settings: StageSettings, machine: Machine) -> StageSettings:
    """The settings with the device that ``auto`` would find on a machine."""
    if isinstance(settings, EmbedderSettings) and settings.device == "auto":
        device = "cuda" if machine.gpus and settings.model != "builtin" else "cpu"
        return settings.model_copy(update={"device": device})
    return settings


def operation_of(stage: str, settings: StageSettings, *, on_gpu: bool) -> str | None:
    """The key of a map stage's rate; ``None`` where no machine of ours sets its pace."""
    if isinstance(settings, CaptionSettings):
        return None if settings.backend == "openai" else f"{stage}/{settings.backend}"
    name = stage
    if isinstance(settings, ScoreSettings) and settings.image_text is not None:
        name = f"{stage}/text"
    elif isinstance(settings, EmbedderSettings):
        name = f"embed/{_architecture(settings.model)}"  # further embedders are as fast
    elif isinstance(settings, OcrSettings):
        name = f"{stage}/{settings.backend}"
    return f"{name}@gpu" if on_gpu else name


def _architecture(model: str) -> str:
    """A model without the tag of its weights, which do not change its speed."""
    family, separator, name = model.partition("/")
    if not separator or family == "chinese_clip" or name.startswith(_WHOLE_NAMES):
        return model
    return f"{family}/{name.partition('/')[0]}"


def _start(config: Config, machine: Machine) -> Step:
    """Ray comes up once, and a pool of workers at each map stage."""
    pools = sum(issubclass(stage, MapStage) for stage in stages_of(config))
    parts = (Part("start_run", 1.0, Spread.ONE), Part("start_pool", pools, Spread.ONE))
    nothing = Resources(memory_gb=0.0)
    return Step(Work("start-up", parts), lay_out(nothing, machine, 1, local=True), nothing)


def _stage(
    stage: StageType,
    settings: StageSettings,
    items: int,
    partitions: int,
    rates: Rates,
    layout: Layout,
    resources: Resources,
) -> Work:
    memory = layout.workers * resources.memory_gb * 2**30
    if not issubclass(stage, MapStage):
        size = rates.images.bytes + rates.sample_bytes
        amount = float(items) if stage.name == "pairs" else items * size
        return Work(stage.name, (Part(stage.name, amount),), memory_bytes=memory)
    gpu = resources.gpus > 0
    operation = operation_of(stage.name, settings, on_gpu=gpu) or stage.name
    parts = [Part(operation, items, Spread.GPUS if gpu else Spread.CORES)]
    if gpu:
        parts.append(Part("decode", items))
    if stage.name == "filter":
        parts.append(Part("filter_open", partitions))
    parts.append(Part("partition", partitions, Spread.WORKERS))
    return Work(stage.name, tuple(parts), overlap=gpu, memory_bytes=memory)


def _dedup(
    settings: DedupSettings, resources: Resources, items: int, dim: int, machine: Machine
) -> list[Work]:
    memory = getattr(settings, "memory_gb", None) or resources.memory_gb
    gpu = machine.gpus > 0 and getattr(settings.graph, "device", "auto") != "cpu"
    return dedup_work(items, dim, memory, gpu=gpu)


def _unpredictable(settings: StageSettings) -> str | None:
    if isinstance(settings, CaptionSettings) and settings.backend == "openai":
        place = settings.base_url or "the hosted endpoint"
        return f"{place} sets the pace, and is not asked here: time a small run"
    return None


def _tables(
    stage: StageType, items: int, partitions: int, dim: int, rates: Rates
) -> Iterator[float]:
    """Bytes of each table that a stage writes; edges are counted where they are found."""
    names = [stage.table()] if issubclass(stage, MapStage) else list(stage.writes)
    for name in names:
        size = rates.tables.get(name)
        if size is not None and name in TABLES:
            yield size.of(items, partitions)
    if is_embed_table(stage.name):
        yield float(items) * dim * 2
    if stage.name == "shard":
        yield items * (rates.images.bytes + rates.sample_bytes)
