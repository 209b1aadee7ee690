"""Stage ``caption``: five levels of caption in English and Chinese for each kept image."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field, PrivateAttr

from captioning.caption import (
    BatchBackend,
    CaptionBackend,
    CaptionError,
    CaptionRequest,
    EndpointUnavailableError,
    Tag,
)
from captioning.chain import CaptionResult, caption_image, caption_images
from captioning.metadata import read_metadata
from captioning.ocr.lines import Line
from captioning.prompts import CURRENT
from stages.captioners import AnswerFiles, check_captioner, fingerprint_of_folder, make_backend
from stages.contract import (
    ItemError,
    MapStage,
    Output,
    Reads,
    Reason,
    Resources,
    StageSettings,
    UnavailableError,
    split_results,
)
from stages.corpus import Corpus, Partition
from stages.embed import EmbedSettings
from stages.images import IMAGE_COLUMNS, ImageReader, decode, map_images
from stages.schemas import CAPTION
from stages.storage import Storage
from stages.tagging import Tagger, TagSettings

_TAGS = "tags"
_MILLION = 1_000_000
_TAG_COLUMN = pa.list_(
    pa.struct([("name", pa.string()), ("score", pa.float64()), ("zh", pa.string())])
)


class CaptionSettings(StageSettings):
    """Who writes captions, and how."""

    backend: Literal["composer", "openai", "transformers"] = "composer"
    """``composer`` needs no model; ``openai`` is any endpoint that speaks its protocol (vLLM,
    SGLang, hosted); ``transformers`` is a model in a folder of this machine."""
    model: str | None = None
    """The model's name at the endpoint; what the table calls a local model."""
    prompt_version: str = CURRENT
    """Version of the prompts."""
    max_side: int = Field(default=1024, ge=64, le=8192)
    """Images are sent scaled down to this, in pixels."""
    max_tokens: int = Field(default=4096, ge=16)
    """Longest answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """Of the model's sampling; each further answer to the same question is 0.3 warmer."""
    answers: int = Field(default=2, ge=1, le=10)
    """How often an image is asked about before it goes into quarantine."""
    concurrency: int = Field(default=1, ge=1, le=1024)
    """Images in flight in one worker: requests to the endpoint, or threads. A run with N workers
    (``run.workers``) keeps N times as many in flight."""

    base_url: str | None = None
    """The endpoint, such as http://localhost:8000/v1."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; local servers need none."""
    timeout: float = Field(default=120.0, gt=0.0)
    """Seconds until a request counts as failed."""
    max_retries: int = Field(default=4, ge=0, le=20)
    """Repeats of a failed request: after the pause the server asks for, or growing ones."""
    response_format: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    """How the endpoint is told the form of the answer; ``auto`` finds what it takes."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Most requests that one worker sends: divide what the endpoint allows by ``run.workers``,
    and set that, or a cluster sends as many times more as it has room for workers."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Most tokens, of prompts and answers, that one worker uses; to be divided likewise."""
    prompt_price: float = Field(default=0.0, ge=0.0)
    """Price of a million prompt tokens, in your currency; for the sums in events and report."""
    completion_price: float = Field(default=0.0, ge=0.0)
    """Price of a million tokens of answers."""
    keep_answers: bool = True
    """Keep the endpoint's answers beside the corpus, so that none is paid for twice."""
    send: Literal["data", "reference"] = "data"
    """``data`` sends the image along; ``reference`` sends its uri, which the server must be
    able to read, and the image itself where it lies inside a tar or a Parquet file."""
    reference_from: str | None = None
    """Start of uris that the server knows under another name, such as s3://bucket/."""
    reference_to: str | None = None
    """What it knows them as, such as https://images.internal/."""

    model_dir: str | None = None
    """Folder with a Qwen2.5-VL or Qwen3-VL model, for ``transformers``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the local model runs."""
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the local model; ``auto`` is bf16 on CUDA and fp32 on the CPU."""
    max_pixels: int = Field(default=1_003_520, ge=3136, le=16_777_216)
    """Larger images are scaled down to this area for the local model, in pixels."""
    batch_size: int = Field(default=8, ge=1, le=1024)
    """Images that go through the local model at once."""

    tags: TagSettings | None = None
    """Zero-shot tags for the composer, from vectors of a model with a text tower; null: none."""

    _embed: EmbedSettings = PrivateAttr(default_factory=EmbedSettings)

    # The same model at another address gives the same captions.
    execution_only: ClassVar[frozenset[str]] = frozenset(
        {"base_url", "api_key_env", "timeout", "max_retries", "concurrency", "keep_answers"}
        | {"requests_per_minute", "tokens_per_minute", "prompt_price", "completion_price"}
        | {"reference_from", "reference_to", "response_format"}
    )

    def beside(self, others: Mapping[str, StageSettings]) -> CaptionSettings:
        """The same, with the embedders that make the vectors for tags."""
        told = self.model_copy()
        embed = others.get("embed")
        if isinstance(embed, EmbedSettings):
            told._embed = embed
        return told

    def tagger(self) -> Tagger | None:
        """What finds zero-shot tags, not loaded; ``None`` where there are none.

        Raises:
            ConfigurationError: If it cannot work.
        """
        if self.tags is None or self.backend != "composer":
            return None
        return Tagger(self.tags, self._embed.tables())

    def fingerprint_fields(self) -> dict[str, Any]:
        """The settings that shape the captions; a local model counts by content, not by path."""
        fields = super().fingerprint_fields()
        used = _USED_BY[self.backend]
        fields = {name: value for name, value in fields.items() if name in used}
        if fields.get(_TAGS) and self.tags is not None:
            fields[_TAGS] = self.tags.fingerprint_fields()
        elif _TAGS in fields:
            del fields[_TAGS]
        if self.backend == "transformers":
            folder = Path(self.model_dir or "")
            found = self.model_dir is not None and folder.is_dir()
            fields["model_dir"] = fingerprint_of_folder(folder) if found else self.model_dir
            # Half precision on CUDA and full on the CPU must not mix in one table.
            fields["dtype"] = self.resolved_dtype()
        return fields

    def resolved_device(self) -> str:
        """``cpu`` or ``cuda``."""
        if self.backend != "transformers":
            return "cpu"
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def resolved_dtype(self) -> str:
        """``bf16`` or ``fp32``."""
        if self.dtype != "auto":
            return self.dtype
        return "bf16" if self.resolved_device() == "cuda" else "fp32"

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of some tokens."""
        prices = self.prompt_price * prompt_tokens, self.completion_price * completion_tokens
        return sum(prices) / _MILLION


_OF_MODELS = frozenset(
    {"backend", "model", "prompt_version", "max_tokens", "temperature", "answers"}
)
#: The settings that shape each captioner's captions: a change of others leaves them valid.
_USED_BY = {
    "composer": frozenset({"backend", _TAGS}),
    "openai": _OF_MODELS | {"max_side", "send"},
    "transformers": _OF_MODELS | {"model_dir", "dtype", "max_pixels", "batch_size"},
}


class CaptionStage(MapStage):
    """Captions the images that ``dedup`` kept, by the text ``ocr`` read in them."""

    name = "caption"
    version = 3
    reads = (
        Reads("items", (*IMAGE_COLUMNS, "width", "height", "alt_text", "language", "meta")),
        Reads("dedup", where="keep"),
        Reads("ocr", ("lines",)),
    )

    settings: CaptionSettings
    _backend: CaptionBackend

    def __init__(self, settings: StageSettings, storage: Storage) -> None:
        super().__init__(settings, storage)
        self._answers = AnswerFiles(storage, self.settings.model or "")
        self._tagger: Tagger | None = None

    @classmethod
    def looks_up(cls, settings: StageSettings) -> tuple[Reads, ...]:
        """The table of vectors behind zero-shot tags."""
        assert isinstance(settings, CaptionSettings)  # noqa: S101 - the runner gives its own
        wanted = settings.tags
        if wanted is None or settings.backend != "composer":
            return ()
        known = wanted.table in settings._embed.tables()
        return (Reads(wanted.table, ("vector",)),) if known else ()

    @property
    def resources(self) -> Resources:
        """Requests wait, so they share a core; the composer keeps one busy per image."""
        settings = self.settings
        if settings.backend == "transformers":
            on_gpu = settings.resolved_device() == "cuda"
            return Resources(cpus=settings.concurrency, gpus=float(on_gpu), memory_gb=8.0)
        local = settings.backend == "composer"
        cpus = settings.concurrency if local else 1
        return Resources(cpus=cpus, memory_gb=1.0 + 0.05 * settings.concurrency)

    def check(self) -> None:
        """Fail early; see ``MapStage``."""
        check_captioner(self.settings)
        self.settings.tagger()

    def setup(self) -> None:
        """Make the captioner, and the vectors of the tags' names."""
        self._backend = make_backend(self.settings, self._answers)
        self._tagger = self.settings.tagger()
        if self._tagger is not None:
            self._tagger.load()

    def load(self, corpus: Corpus, partition: Partition) -> pa.Table:
        """Read the partition with the vectors for tags, and learn where answers are kept."""
        if self.settings.keep_answers:
            self._answers.base = corpus.place("cache", "caption")
        table = super().load(corpus, partition)
        for read in self.looks_up(self.settings):
            found = corpus.look_up(read, partition, table.column("item_id"))
            table = table.append_column(_TAGS, found.column("vector"))
        return table

    def process(self, table: pa.Table) -> Output:
        """Caption one partition's images."""
        started = time.perf_counter()
        table = self._tagged(table)
        if isinstance(self._backend, BatchBackend):
            results = self._caption_batches(table, self._backend)
        else:
            results = self._caption_each(table)
        output = split_results(table, results, CAPTION)
        output.metrics = self._metrics(table.num_rows, time.perf_counter() - started)
        return output

    def _tagged(self, table: pa.Table) -> pa.Table:
        """The table with tags in place of vectors."""
        if self._tagger is None or _TAGS not in table.column_names:
            return table
        tags = self._tagger.tags(table.column(_TAGS))
        column = pa.array([[each._asdict() for each in row] for row in tags], _TAG_COLUMN)
        return table.set_column(table.column_names.index(_TAGS), _TAGS, column)

    def _caption_each(self, table: pa.Table) -> list[dict[str, Any] | ItemError]:
        """Caption row by row, ``concurrency`` of them in flight until no row is left.

        Not by ``map_images``, which reads only so far ahead of the oldest row in flight: one
        answer that takes a minute would leave the endpoint idle.
        """
        with (
            ImageReader(self.storage) as reader,
            ThreadPoolExecutor(self.settings.concurrency) as pool,
        ):
            return list(pool.map(partial(self._caption_row, reader), table.to_pylist()))

    def _caption_row(self, reader: ImageReader, row: dict[str, Any]) -> dict[str, Any] | ItemError:
        try:
            data = reader.read(row)
            return self._caption(decode(data), {**row, "data": data})
        except ItemError as error:
            return error
        except (UnavailableError, MemoryError):
            raise  # the store, the endpoint or the machine: the runner tries again
        except Exception as error:  # noqa: BLE001 - the item is quarantined with this reason
            return ItemError(Reason.STAGE_ERROR, f"{type(error).__name__}: {error}")

    def _caption(self, image: Image.Image, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._row(caption_image(self._backend, self._request(image, row)))
        except CaptionError as error:
            raise ItemError(Reason.CAPTION_FAILED, str(error)) from error
        except EndpointUnavailableError as error:
            raise UnavailableError(str(error)) from error

    def _caption_batches(
        self, table: pa.Table, backend: BatchBackend
    ) -> list[dict[str, Any] | ItemError]:
        """As ``_caption``, in batches; few decoded images are held at once."""
        size, threads = backend.batch_size, self.settings.concurrency
        results: list[dict[str, Any] | ItemError] = []
        for start in range(0, table.num_rows, size):
            requests = map_images(
                table.slice(start, size),
                self.storage,
                lambda image, row: {"request": self._request(image, row)},
                threads=threads,
            )
            asked = [each["request"] for each in requests if not isinstance(each, ItemError)]
            written = iter(caption_images(backend, asked))
            results += [
                each if isinstance(each, ItemError) else self._result(next(written))
                for each in requests
            ]
        return results

    def _result(self, result: CaptionResult | CaptionError) -> dict[str, Any] | ItemError:
        if isinstance(result, CaptionError):
            return ItemError(Reason.CAPTION_FAILED, str(result))
        return self._row(result)

    def _request(self, image: Image.Image, row: dict[str, Any]) -> CaptionRequest:
        return CaptionRequest(
            image=np.asarray(image),
            lines=[Line.from_row(line) for line in row["lines"] or []],
            metadata=read_metadata(row["alt_text"], row["language"], row["meta"]),
            seed=str(row["item_id"]),
            digest=hashlib.sha256(row["data"]).hexdigest(),
            url=self._reference(row),
            tags=[Tag(**tag) for tag in row.get(_TAGS) or ()],
        )

    def _reference(self, row: dict[str, Any]) -> str | None:
        """Where the endpoint can fetch an image; ``None`` where it must be sent along."""
        settings = self.settings
        if settings.send == "data" or row["container"] is not None:
            return None
        uri = str(row["uri"])
        if self.storage.is_local(uri):
            uri = Path(self.storage.locate(uri)[1]).as_uri()
        start = settings.reference_from
        if start is not None and uri.startswith(start):
            return (settings.reference_to or "") + uri.removeprefix(start)
        return uri

    def _row(self, result: CaptionResult) -> dict[str, Any]:
        checks = {name: _plain(value) for name, value in asdict(result.checks).items()}
        return {
            **asdict(result.captions),
            **checks,
            "backend": self._backend.name,
            "first_ocr_coverage": result.first_coverage,
            "first_ocr_edit_distance": result.first_distance,
            "asked_again": list(result.revised),
            "appended": list(result.appended),
            **asdict(result.usage),
            "flags": list(result.flags),
        }

    def _metrics(self, images: int, seconds: float) -> dict[str, float]:
        """Images a second; of an endpoint also what was sent, how densely, and what it cost."""
        metrics = {"images_per_s": round(images / max(seconds, 1e-9), 3)}
        traffic = getattr(self._backend, "traffic", None)
        if traffic is None:
            return metrics
        figures = traffic.take()
        cost = self.settings.cost(figures.prompt_tokens, figures.completion_tokens)
        return {
            **metrics,
            **{name: round(value, 3) for name, value in asdict(figures).items()},
            "mean_in_flight": round(figures.request_seconds / max(seconds, 1e-9), 3),
            "cost": round(cost, 6),
        }


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    return list(value) if isinstance(value, tuple) else value
