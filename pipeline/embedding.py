"""Vectors of the images of any source, without a corpus."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipeline.candidates import CandidateReader, candidate_rows, decode_candidate
from stages.contract import ConfigurationError, ItemError, Reason
from stages.embed import EmbedderSettings
from stages.embedders import Embedder
from stages.embedders.stream import EmbeddingStream, load_for_stream
from stages.images import read_rows
from stages.sources import SourceSettings
from stages.storage import Storage

#: Rows that are written at once.
_ROWS = 4096
#: Images read at once, besides those being decoded.
_READS = 8
_OPEN_CLIP = "open_clip/"


@dataclass(frozen=True)
class Failure:
    """An image without a vector.

    Args:
        uri: The file that holds it.
        key: Its key inside the source.
        reason: The code that quarantine would have.
        detail: What was wrong.
    """

    uri: str
    key: str
    reason: Reason
    detail: str


@dataclass
class Embedded:
    """What was embedded.

    Args:
        output: Where the vectors are.
        rows: Vectors written.
        dim: Their dimensions.
        reasons: Images without a vector, per reason.
        metrics: ``EmbeddingStream.metrics``.
    """

    output: str
    rows: int = 0
    dim: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Images without a vector."""
        return self.reasons.total()

    @property
    def failed_share(self) -> float:
        """Images without a vector over all images, 0..1."""
        return self.failed / (self.rows + self.failed) if self.failed else 0.0


def embedder_settings(model: str, **options: Any) -> EmbedderSettings:  # noqa: ANN401 - settings
    """Settings of an embedder as a command line names it.

    Args:
        model: As ``embed.model``; what follows ``open_clip/NAME/`` may also be a file of weights.
        **options: Further settings of ``EmbedderSettings``; ``None`` for their default.

    Raises:
        ConfigurationError: For a value out of range, or weights that are named twice.
    """
    options = {name: value for name, value in options.items() if value is not None}
    name, _, weights = model.removeprefix(_OPEN_CLIP).partition("/")
    if model.startswith(_OPEN_CLIP) and ":" not in name and Path(weights).is_file():
        if options.get("checkpoint"):
            raise ConfigurationError(f"{model} names a file of weights, and so does checkpoint")
        model, options["checkpoint"] = f"{_OPEN_CLIP}{name}", weights
    try:
        return EmbedderSettings(model=model, **options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"])
        raise ConfigurationError(f"{where}: {first['msg']}, got {first['input']!r}") from None


def embed_source(
    source: SourceSettings,
    output: str,
    settings: EmbedderSettings,
    storage: Storage,
    *,
    report: Callable[[Failure], None] = lambda _: None,
    progress: Callable[[Embedded], None] = lambda _: None,
) -> Embedded:
    """Embed every image of a source into one Parquet file.

    Images are read, decoded, embedded and written as a stream: memory does not grow with their
    number. The file appears when all is done. Its columns are ``uri`` and ``key``, string, and
    ``vector``, fixed_size_list<float32>[dim] of unit length, in the order of the source.

    Args:
        source: A folder, tars, Parquet tables or lists, anywhere storage reaches.
        output: A .parquet file, anywhere storage reaches.
        settings: The embedder.
        storage: Where uris are resolved.
        report: Called for each image that cannot be read.
        progress: Called after each few thousand images.

    Raises:
        ConfigurationError: If source or output cannot be used, or the model cannot be loaded.
        UnavailableError: If an object store stops answering.
    """
    if not output.endswith(".parquet"):
        raise ConfigurationError(f"{output} must end in .parquet")
    rows = candidate_rows(source, storage)
    first = next(rows, None)
    if first is None:
        raise ConfigurationError(f"there is nothing to do: {source.uri} holds no files")
    embedder = settings.create_embedder()
    device = settings.resolved_device()
    load_for_stream(embedder, device, settings.threads)
    stream = EmbeddingStream(
        embedder, device, settings.threads, settings.batch_size, decode_candidate
    )
    done = Embedded(output, dim=embedder.dim)
    results = _results(first, rows, stream, storage)
    with storage.writer(output) as file, pq.ParquetWriter(file, _schema(embedder)) as writer:
        while chunk := list(islice(results, _ROWS)):
            _write(writer, chunk, done, report)
            done.metrics = stream.metrics()
            progress(done)
    return done


def _schema(embedder: Embedder) -> pa.Schema:
    vector = pa.list_(pa.float32(), embedder.dim)
    return pa.schema([("uri", pa.string()), ("key", pa.string()), ("vector", vector)])


def _results(
    first: dict[str, Any],
    rows: Iterator[dict[str, Any]],
    stream: EmbeddingStream,
    storage: Storage,
) -> Iterator[tuple[dict[str, Any], np.ndarray | ItemError]]:
    """Each row with its vector, or why it has none."""
    waiting: deque[dict[str, Any]] = deque()

    def remembered() -> Iterator[dict[str, Any]]:
        for row in (each for part in ([first], rows) for each in part):
            waiting.append(row)
            yield row

    with CandidateReader(storage) as reader:
        for result in stream.run(read_rows(remembered(), reader, threads=_READS)):
            yield waiting.popleft(), result


def _write(
    writer: pq.ParquetWriter,
    chunk: list[tuple[dict[str, Any], np.ndarray | ItemError]],
    done: Embedded,
    report: Callable[[Failure], None],
) -> None:
    kept: list[tuple[dict[str, Any], np.ndarray]] = []
    for row, result in chunk:
        if isinstance(result, ItemError):
            done.reasons[result.reason.value] += 1
            report(Failure(row["uri"], row["key"], result.reason, result.detail))
        else:
            kept.append((row, result))
    if not kept:
        return
    flat = pa.array(np.concatenate([vector for _, vector in kept]))
    columns = [
        pa.array([row["uri"] for row, _ in kept]),
        pa.array([row["key"] for row, _ in kept]),
        pa.FixedSizeListArray.from_arrays(flat, done.dim),
    ]
    writer.write_table(pa.table(columns, schema=writer.schema))
    done.rows += len(kept)
