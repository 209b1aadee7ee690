"""The ``embed`` stage: one vector an image, for whatever compares images."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from stages.contract import (
    ItemError,
    MapStage,
    Output,
    Quarantined,
    Reads,
    Reason,
    Resources,
    StageSettings,
)
from stages.embedders import Embedder, create_embedder
from stages.images import IMAGE_COLUMNS, map_images
from stages.schemas import EMBED
from stages.storage import Storage

# Images prepared ahead of the model: enough to hide reading, little enough to hold twice.
_CHUNK = 256

Prepared = NDArray[np.generic] | ItemError


class EmbedSettings(StageSettings):
    """Settings of the ``embed`` stage."""

    execution_only: ClassVar[frozenset[str]] = frozenset({"batch_size", "threads", "device"})

    model: str = "builtin"
    """``builtin`` (no weights, no download), ``open_clip/NAME/TAG``, ``open_clip/NAME`` with
    ``checkpoint``, ``open_clip/hf-hub:OWNER/NAME`` or ``open_clip/local-dir:PATH``."""
    checkpoint: str | None = None
    """File with the weights of an open_clip model."""
    model_config_file: str | None = None
    """JSON file of an open_clip architecture of your own; its stem is the model's name."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Precision of the model's arithmetic; ``auto`` is fp32 on the CPU, half on CUDA."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """Images that go through the model at once."""
    threads: int = Field(default=1, ge=1, le=256)
    """Images decoded at once by one worker, threads of the model, and CPU cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes CUDA for open_clip where torch sees a device."""

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the vectors; files count by content, not by path."""
        fields = super().fingerprint_fields()
        for name in ("checkpoint", "model_config_file"):
            path = Path(fields[name]) if fields[name] else None
            if path is not None and path.is_file():
                stat = path.stat()
                fields[name] = _content_hash(str(path), stat.st_size, stat.st_mtime_ns)
        if self.precision == "auto":
            # Half precision on CUDA and full on the CPU must not mix in one table.
            fields["precision"] = "fp32" if self.resolved_device() == "cpu" else "half"
        return fields

    def resolved_device(self) -> str:
        """``cpu`` or ``cuda``."""
        if self.model == "builtin":
            return "cpu"
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def create_embedder(self) -> Embedder:
        """The embedder these settings name, not loaded."""
        return create_embedder(
            self.model,
            checkpoint=self.checkpoint,
            model_config_file=self.model_config_file,
            precision=self.precision,
        )


class EmbedStage(MapStage):
    """Embeds every image; vectors have unit length and are stored as float16."""

    name = "embed"
    version = 1
    reads = (Reads("items", IMAGE_COLUMNS),)

    def __init__(self, settings: EmbedSettings, storage: Storage) -> None:
        super().__init__(settings, storage)
        self._embedder: Embedder | None = None

    @property
    def resources(self) -> Resources:
        """One core a thread; a GPU where the model runs on CUDA."""
        threads: int = self.settings.threads
        on_gpu = self.settings.resolved_device() == "cuda"
        base = 1.0 if self.settings.model == "builtin" else 4.0
        return Resources(cpus=threads, gpus=float(on_gpu), memory_gb=base + 0.25 * threads)

    def check(self) -> None:
        """Fail early on an unknown model or missing weights."""
        self.settings.create_embedder().check()

    def setup(self) -> None:
        """Load the model."""
        self._embedder = self.settings.create_embedder()
        self._embedder.load(self.settings.resolved_device(), self.settings.threads)

    def process(self, table: pa.Table) -> Output:
        """Embed a partition of items; the next chunk is decoded while one is encoded."""
        if self._embedder is None:
            self.setup()
        vectors: list[NDArray[np.float32] | ItemError] = []
        waited = encoded = 0.0
        start = time.perf_counter()
        for prepared in self._prepared_ahead(table):
            ready = time.perf_counter()
            vectors.extend(self._encode(prepared))
            waited, encoded = waited + ready - start, encoded + time.perf_counter() - ready
            start = time.perf_counter()
        output = _to_output(table, vectors)
        output.metrics = {"wait_s": waited, "encode_s": encoded}
        return output

    def _prepared_ahead(self, table: pa.Table) -> Iterator[list[Prepared]]:
        chunks = [table.slice(first, _CHUNK) for first in range(0, table.num_rows, _CHUNK)]
        with ThreadPoolExecutor(1) as ahead:
            pending = [ahead.submit(self._prepare, chunk) for chunk in chunks[:1]]
            for following in [*chunks[1:], None]:
                if not pending:
                    return
                prepared = pending.pop().result()
                if following is not None:
                    pending.append(ahead.submit(self._prepare, following))
                yield prepared

    def _prepare(self, chunk: pa.Table) -> list[Prepared]:
        embedder = self._embedder
        assert embedder is not None  # noqa: S101 - process() has loaded it

        def prepare(image: Image.Image, _row: dict[str, Any]) -> dict[str, Any]:
            return {"prepared": embedder.prepare(image)}

        results = map_images(chunk, self.storage, prepare, threads=self.settings.threads)
        return [r if isinstance(r, ItemError) else r["prepared"] for r in results]

    def _encode(self, prepared: list[Prepared]) -> list[NDArray[np.float32] | ItemError]:
        embedder = self._embedder
        assert embedder is not None  # noqa: S101 - process() has loaded it
        good = [index for index, item in enumerate(prepared) if not isinstance(item, ItemError)]
        results: list[Any] = list(prepared)
        size = self.settings.batch_size
        for first in range(0, len(good), size):
            batch = good[first : first + size]
            vectors = embedder.encode([results[index] for index in batch])
            for index, vector in zip(batch, vectors, strict=True):
                results[index] = vector if np.isfinite(vector).all() else _not_finite(embedder)
        return results


def _not_finite(embedder: Embedder) -> ItemError:
    return ItemError(
        Reason.STAGE_ERROR, f"{embedder.name} gave a vector that is zero or not finite"
    )


def _to_output(table: pa.Table, vectors: list[NDArray[np.float32] | ItemError]) -> Output:
    """Rows of ``embed`` without a Python object per number, and the quarantined items."""
    heads = table.select(["item_id", "uri", "key"]).to_pylist()
    quarantined, ids, kept = [], [], []
    for head, vector in zip(heads, vectors, strict=True):
        if isinstance(vector, ItemError):
            quarantined.append(Quarantined(**head, reason=vector.reason, detail=vector.detail))
        else:
            ids.append(head["item_id"])
            kept.append(vector)
    width = len(kept[0]) if kept else 0
    flat = np.concatenate(kept).astype(np.float16) if kept else np.zeros(0, dtype=np.float16)
    offsets = pa.array(np.arange(len(kept) + 1, dtype=np.int32) * width)
    column = pa.ListArray.from_arrays(offsets, pa.array(flat))
    return Output(pa.table([pa.array(ids, pa.int64()), column], schema=EMBED), quarantined)


@lru_cache(maxsize=16)
def _content_hash(path: str, size: int, modified_ns: int) -> str:  # noqa: ARG001 - cache key
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
