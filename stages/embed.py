"""The ``embed`` stage: one vector an image, for whatever compares images.

Further embedders, named under ``embed.more``, are stages of their own beside it:
``embed_NAME``, which writes the table ``embed_NAME``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator

from stages.contract import (
    ConfigurationError,
    ItemError,
    MapStage,
    Output,
    Quarantined,
    Reads,
    Resources,
    StageSettings,
)
from stages.embedders import Embedder, create_embedder
from stages.embedders.builtin import WEIGHTS
from stages.embedders.stream import EmbeddingStream, encoders_of, load_for_stream
from stages.images import IMAGE_COLUMNS, read_images
from stages.schemas import EMBED, EMBEDDER_NAME, embed_table
from stages.storage import Storage

#: Images read at once, besides those being decoded: object stores answer slowly, but many.
_READS = 8
#: Models in a folder of their own.
_FOLDERS = ("open_clip/local-dir:", "chinese_clip/")


class EmbedderSettings(StageSettings):
    """A further embedder, whose stage and table are called ``embed_NAME``."""

    execution_only: ClassVar[frozenset[str]] = frozenset(
        {"batch_size", "threads", "device", "compile"}
    )

    model: str = "builtin"
    """``builtin`` (in the package, no download), ``open_clip/NAME/TAG``, ``open_clip/NAME`` with
    ``checkpoint``, ``open_clip/hf-hub:OWNER/NAME``, ``open_clip/local-dir:PATH``,
    ``chinese_clip/PATH`` or ``chinese_clip/OWNER/NAME``."""
    checkpoint: str | None = None
    """File with the weights of an open_clip model."""
    model_config_file: str | None = None
    """JSON file of an open_clip architecture of your own; its stem is the model's name."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Precision of the model's arithmetic; ``auto`` is fp32 on the CPU, half on CUDA."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """Images that go through the model at once."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU cores of one worker, for decoding and on the CPU for the model too."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes CUDA for models of torch where it sees a device."""
    compile: bool = False
    """Whether torch compiles the image tower, once in each worker; needs a C++ compiler."""

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the vectors; files count by content, not by path."""
        fields = super().fingerprint_fields()
        for name in ("checkpoint", "model_config_file"):
            path = Path(fields[name]) if fields[name] else None
            if path is not None and path.is_file():
                fields[name] = _hash_of(path)
        if self.model == "builtin":
            fields["model"] = [self.model, _hash_of(WEIGHTS)]
        for prefix in _FOLDERS:
            folder = Path(self.model.removeprefix(prefix))
            if self.model.startswith(prefix) and folder.is_dir():
                files = sorted(each for each in folder.iterdir() if each.is_file())
                fields["model"] = [prefix, {each.name: _hash_of(each) for each in files}]
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
        """The embedder these settings name, not loaded.

        Raises:
            ConfigurationError: If no embedder goes by that name.
        """
        return create_embedder(
            self.model,
            checkpoint=self.checkpoint,
            model_config_file=self.model_config_file,
            precision=self.precision,
            compiled=self.compile,
        )


class EmbedSettings(EmbedderSettings):
    """Settings of the ``embed`` stage."""

    execution_only: ClassVar[frozenset[str]] = EmbedderSettings.execution_only | {"more"}

    more: dict[str, EmbedderSettings] = {}
    """Further embedders by name, such as ``clip: {model: open_clip/ViT-B-32/openai}``."""

    @field_validator("more", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:  # noqa: ANN401 - raw YAML
        for name in value if isinstance(value, Mapping) else ():
            if not EMBEDDER_NAME.fullmatch(str(name)):
                raise ValueError(
                    f"the name {name!r} must be lower-case letters, digits and _, a letter first"
                )
        return value

    def tables(self) -> dict[str, EmbedderSettings]:
        """The settings behind each table of vectors: ``embed``, ``embed_NAME``, ..."""
        return {"embed": self} | {embed_table(name): each for name, each in self.more.items()}


class EmbedStage(MapStage):
    """Embeds every image; vectors have unit length and are stored as float16."""

    name = "embed"
    version = 2
    reads = (Reads("items", IMAGE_COLUMNS),)

    def __init__(self, settings: EmbedderSettings, storage: Storage) -> None:
        super().__init__(settings, storage)
        self._embedder: Embedder | None = None

    @classmethod
    def configured(cls, settings: EmbedSettings) -> tuple[type[MapStage], ...]:
        """The main embedder's stage, and one for each further embedder."""
        return (cls, *(_stage_of(embed_table(name)) for name in sorted(settings.more)))

    @property
    def resources(self) -> Resources:
        """One core a thread; a GPU where the model runs on CUDA."""
        threads: int = self.settings.threads
        on_gpu = self.settings.resolved_device() == "cuda"
        base = 1.0 if self.settings.model == "builtin" else 4.0
        return Resources(cpus=threads, gpus=float(on_gpu), memory_gb=base + 0.25 * threads)

    def schema(self) -> pa.Schema:
        """The schema of every table of vectors."""
        return EMBED

    def check(self) -> None:
        """Fail early on an unknown model or missing weights."""
        try:
            self.settings.create_embedder().check()
        except ConfigurationError as error:
            section = self.name.replace("embed_", "embed.more.", 1)
            raise ConfigurationError(f"{section}: {error}") from error

    def setup(self) -> None:
        """Load the model."""
        self._embedder = self.settings.create_embedder()
        load_for_stream(self._embedder, self.settings.resolved_device(), self.settings.threads)

    def process(self, table: pa.Table) -> Output:
        """Embed a partition of items."""
        if self._embedder is None:
            self.setup()
        embedder = self._embedder
        assert embedder is not None  # noqa: S101 - setup() has made it
        settings = self.settings
        device, threads = settings.resolved_device(), settings.threads
        # A small partition is shared out among the encoders, too.
        share = -(-table.num_rows // encoders_of(embedder, device, threads))
        size = min(settings.batch_size, max(1, share))
        stream = EmbeddingStream(embedder, device, threads, size)
        encoded = read_images(table, self.storage, threads=_READS)
        output = _to_output(table, list(stream.run(encoded)))
        output.metrics = stream.metrics()
        return output


@lru_cache(maxsize=256)
def _stage_of(table: str) -> type[EmbedStage]:
    """The stage that writes a further table of vectors; always the same class for a table."""
    return type(f"{EmbedStage.__name__}_{table}", (EmbedStage,), {"name": table})


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


def _hash_of(path: Path) -> str:
    stat = path.stat()
    return _content_hash(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _content_hash(path: str, size: int, modified_ns: int) -> str:  # noqa: ARG001 - cache key
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
