"""The stages on a few dozen images: how many a second one core, or one GPU, gets through."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config import Config
from pipeline.plan.machine import own_gpus
from pipeline.plan.operations import per_second
from pipeline.plan.pictures import IMAGES, described, gather_images
from pipeline.plan.rates import Images
from pipeline.plan.steps import operation_of
from pipeline.registry import stages_of
from stages.batches import update_plans
from stages.contract import ConfigurationError, MapStage, StageError, StageSettings
from stages.corpus import Committed, Corpus, Partition, Stamp
from stages.embed import EmbedderSettings
from stages.filter import FilterStage
from stages.images import map_images
from stages.ingest import IngestStage
from stages.schemas import DEDUP
from stages.sources import SourceSettings
from stages.storage import Storage

R = TypeVar("R")

#: Seconds after which a stage has shown enough.
_BUDGET_S = {"ocr": 5.0, "embed": 2.5}
_DEFAULT_BUDGET_S = 1.5
_CHUNK = 8
#: A GPU is measured with this many batches.
_GPU_BATCHES = 4
_MODEL_SIDE = 224
_COMMITS = 8
_FILTER_ROWS = 32_768


@dataclass
class Trial:
    """What the stages did.

    Args:
        images: On what; ``None`` where no image was taken in.
        rates: Images (for ``partition``: partitions) per second, by operation.
        notes: What could not be measured, and why.
    """

    images: Images | None = None
    rates: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def try_stages(config: Config, folder: Path) -> Trial:
    """Run every map stage of a configuration over a few images.

    Args:
        config: The run; images come from its first local folder, or are generated.
        folder: An empty folder, on the disk of the corpus.

    Returns:
        Rates per core, and per GPU where a stage runs on one.
    """
    source = folder / "in"
    source.mkdir()
    what = gather_images(config, source)
    storage = Storage()
    corpus = Corpus(str(folder / "corpus"), storage)
    update_plans(storage, corpus.uri, [SourceSettings(uri=str(source))], IMAGES)
    partition = corpus.partitions()[0]
    trial = Trial()
    for stage in stages_of(config):
        if issubclass(stage, MapStage):
            _try_stage(stage, config, corpus, partition, trial)
        if stage is IngestStage:
            items = corpus.read("items", partition)
            if items.num_rows == 0:
                trial.notes.append(f"no stage was measured: ingest takes none of the {what}")
                return Trial(notes=trial.notes)
            trial.images = described(what, items)
            trial.rates["partition"] = _commits(corpus, items)
            trial.rates["decode"] = _decoding(corpus, items)
            _keep_all(corpus, partition, items)
    return trial


def _try_stage(
    stage: type[MapStage], config: Config, corpus: Corpus, partition: Partition, trial: Trial
) -> None:
    settings = one_lane(config.stage(stage.name))
    operation = operation_of(stage.name, settings, on_gpu=_on_gpu(settings))
    if operation is None:
        return
    try:
        settings = _loadable(settings, Path(corpus.uri))
        instance = stage(settings, corpus.storage)
        instance.check()
        instance.setup()
        table = instance.load(corpus, partition)
    except (ConfigurationError, StageError, ImportError, OSError, RuntimeError) as error:
        trial.notes.append(f"{stage.name} was not measured: {error}.")
        return
    if table.num_rows == 0:
        trial.notes.append(f"{stage.name} was not measured: no image came so far.")
        return
    if isinstance(instance, FilterStage):
        trial.rates |= _filtering(instance, table)
        return
    trial.rates[operation], rows = _measured(instance, table, settings)
    _commit(corpus, stage, partition, rows)


def one_lane(settings: StageSettings) -> StageSettings:
    """The settings of a worker that keeps one core busy, unless a GPU sets its pace."""
    if _on_gpu(settings):
        return settings
    one = {name: 1 for name in ("threads", "concurrency") if hasattr(settings, name)}
    return settings.model_copy(update=one)


def _on_gpu(settings: StageSettings) -> bool:
    if isinstance(settings, EmbedderSettings):
        return settings.resolved_device() == "cuda"
    return getattr(settings, "gpus", 0.0) > 0


def _loadable(settings: StageSettings, folder: Path) -> StageSettings:
    """Settings that load without a download: for a published tag random weights, as fast."""
    if _on_gpu(settings) and not own_gpus():
        raise ConfigurationError("it runs on a GPU, and this machine has none")
    if (
        not isinstance(settings, EmbedderSettings)
        or settings.checkpoint
        or settings.model_config_file
    ):
        return settings
    prefix, _, name = settings.model.partition("/")
    if prefix != "open_clip" or name.startswith(("hf-hub:", "local-dir:")):
        on_hub = prefix == "chinese_clip" and not Path(name).is_dir()
        if on_hub or name.startswith("hf-hub:"):
            raise ConfigurationError(f"{name} would have to be downloaded: set embed.checkpoint")
        return settings
    settings.create_embedder().check()
    architecture = name.partition("/")[0]
    weights = folder.parent / "weights.pt"
    _save_random(architecture, weights)
    return settings.model_copy(
        update={"model": f"open_clip/{architecture}", "checkpoint": str(weights)}
    )


def _save_random(architecture: str, target: Path) -> None:
    import open_clip
    import torch

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that the weights are random is meant
    try:
        model = open_clip.create_model(architecture)
    finally:
        logging.disable(disabled)
    torch.save(model.state_dict(), target)


def _measured(
    instance: MapStage, table: pa.Table, settings: StageSettings
) -> tuple[float, pa.Table]:
    """Images a second, and the rows, of as much of a table as the time allows."""
    instance.process(table.slice(0, 2))  # what loads at the first image
    if isinstance(settings, EmbedderSettings) and _on_gpu(settings):
        output = instance.process(_tiled(table, _GPU_BATCHES * settings.batch_size))
        # Decoding runs beside it and is counted by itself.
        rate = output.rows.num_rows / output.metrics["encode_s"]
        return rate, instance.process(table).rows
    clock = time.perf_counter if _on_gpu(settings) else time.process_time
    budget = _BUDGET_S.get(instance.name, _DEFAULT_BUDGET_S)
    rate, outputs = _paced(instance.process, table, budget, clock)
    # A worker that takes half a GPU leaves room for another.
    rate /= instance.resources.gpus or 1.0
    return rate, pa.concat_tables([output.rows for output in outputs])


def _filtering(instance: FilterStage, table: pa.Table) -> dict[str, float]:
    """Rows a second, and partitions a second whatever their rows: a database is opened for each."""
    few = per_second(lambda: instance.process(table.slice(0, 2)), 1.0)
    many = per_second(lambda: instance.process(_tiled(table, _FILTER_ROWS)), 1.0)
    seconds_a_row = max(1 / many - 1 / few, 1e-9) / _FILTER_ROWS
    return {"filter": 1 / seconds_a_row, "filter_open": few}


def _paced(
    process: Callable[[pa.Table], R],
    table: pa.Table,
    budget: float,
    clock: Callable[[], float],
) -> tuple[float, list[R]]:
    """Process a table by chunks until it or the time is used up: rows a second, and results."""
    results: list[R] = []
    rows = 0
    started, before = time.perf_counter(), clock()
    while rows < table.num_rows and time.perf_counter() - started < budget:
        piece = table.slice(rows, _CHUNK)
        results.append(process(piece))
        rows += piece.num_rows
    return rows / max(clock() - before, 1e-9), results


def _tiled(table: pa.Table, rows: int) -> pa.Table:
    return table.take(pa.array(np.arange(rows) % table.num_rows))


def _decoding(corpus: Corpus, items: pa.Table) -> float:
    """Images per second and core that are read, decoded and scaled for a model on a GPU."""

    def prepare(image: Image.Image, _row: dict[str, Any]) -> dict[str, Any]:
        small = image.resize((_MODEL_SIDE, _MODEL_SIDE), Image.Resampling.BICUBIC)
        return {"pixels": np.asarray(small, dtype=np.float32)}

    def decode(piece: pa.Table) -> int:
        return len(map_images(piece, corpus.storage, prepare))

    return _paced(decode, items, _DEFAULT_BUDGET_S, time.process_time)[0]


def _commit(corpus: Corpus, stage: type[MapStage], partition: Partition, rows: pa.Table) -> None:
    stamp = Stamp("plan", "plan", rows.num_rows, rows.num_rows, 0)
    corpus.commit(stage.name, stage.table(), partition, Committed(rows), stamp)


def _commits(corpus: Corpus, rows: pa.Table) -> float:
    """Partitions that one worker reads, writes and syncs in a second."""
    started = time.perf_counter()
    for number in range(_COMMITS):
        spare = Partition(1, number + 1)
        _commit(corpus, IngestStage, spare, rows)
        corpus.read("items", spare)
    return _COMMITS / (time.perf_counter() - started)


def _keep_all(corpus: Corpus, partition: Partition, items: pa.Table) -> None:
    """A table of ``dedup`` in which all are kept, for the stages that read it."""
    ids = items.column("item_id")
    nothing = pa.nulls(len(ids))
    known = {"item_id": ids, "keep": pa.array([True] * len(ids))}
    columns = [known.get(each.name, nothing.cast(each.type)) for each in DEDUP]
    rows = pa.table(columns, schema=DEDUP)
    stamp = Stamp("plan", "plan", len(ids), len(ids), 0)
    corpus.commit("dedup", "dedup", partition, Committed(rows), stamp)
