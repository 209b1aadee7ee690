"""Stage ``ocr``: the text each kept image shows, line by line, in reading order."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from captioning.ocr.lines import OcrEngine, text_area
from stages.contract import (
    ConfigurationError,
    MapStage,
    Output,
    Reads,
    Resources,
    StageSettings,
    split_results,
)
from stages.images import IMAGE_COLUMNS, map_images
from stages.schemas import OCR


class OcrSettings(StageSettings):
    """How text is read."""

    backend: Literal["rapidocr", "paddleocr"] = "rapidocr"
    """``rapidocr`` brings its models; ``paddleocr`` needs the extra ``paddle``."""
    max_side: int = Field(default=736, ge=64, le=4096)
    """Images are scaled down to this to find text, in pixels; further where it is small."""
    use_cls: bool = False
    """Turn single lines that stand on their heads; whole images are turned without it."""
    min_confidence: float = Field(default=0.5, ge=0.0, le=1.0)
    """Lines below it are dropped."""
    model_dir: str | None = None
    """Folder with PaddleOCR's detection and recognition model."""
    allow_download: bool = False
    """Let PaddleOCR fetch its default models where ``model_dir`` is not given."""
    engine: Literal["paddle_static", "paddle_dynamic", "onnxruntime", "transformers"] | None = None
    """What runs PaddleOCR's models; its own choice by default."""
    threads: int = Field(default=1, ge=1, le=256)
    """Images read at once in one worker; each keeps one core busy."""
    gpus: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of a GPU a worker takes; 0 runs on the CPU."""
    recycle_after: int | None = Field(default=64, ge=1)
    """Partitions after which a worker is replaced: OCR runtimes grow."""

    execution_only: ClassVar[frozenset[str]] = frozenset(
        {"threads", "gpus", "recycle_after", "allow_download"}
    )


class OcrStage(MapStage):
    """Reads the text of the images that ``dedup`` kept."""

    name = "ocr"
    version = 3
    reads = (
        Reads("items", (*IMAGE_COLUMNS, "width", "height")),
        Reads("dedup", where="keep"),
    )

    settings: OcrSettings
    _engine: OcrEngine

    @property
    def resources(self) -> Resources:
        """One core per image in flight; the models and their buffers take about 1 GiB."""
        settings = self.settings
        memory = 1.0 + 0.25 * settings.threads
        return Resources(settings.threads, settings.gpus, memory, settings.recycle_after)

    def check(self) -> None:
        """Fail early; see ``MapStage``."""
        if self.settings.backend == "paddleocr":
            _check_paddle(self.settings)
        else:
            _check_rapid(self.settings)

    def setup(self) -> None:
        """Load the models."""
        self._engine = make_engine(self.settings)

    def process(self, table: pa.Table) -> Output:
        """Read one partition's images."""
        threads = self.settings.threads
        started = time.perf_counter()
        results = map_images(table, self.storage, self._read, threads=threads)
        seconds = time.perf_counter() - started
        output = split_results(table, results, OCR)
        lines = [line for row in output.rows.column("lines").to_pylist() for line in row]
        output.metrics["lines"] = float(len(lines))
        output.metrics["marked_lines"] = float(sum(line["mark"] != "none" for line in lines))
        output.metrics["images_per_s"] = round(table.num_rows / max(seconds, 1e-9), 2)
        return output

    def _read(self, image: Image.Image, _row: dict[str, Any]) -> dict[str, Any]:
        lines = self._engine.read([np.asarray(image)])[0]
        return {
            "lines": [line.to_row() for line in lines],
            "text": "\n".join(line.text for line in lines),
            "text_area": text_area(lines, image.width, image.height),
        }


def make_engine(settings: OcrSettings) -> OcrEngine:
    """Load the engine that the settings name."""
    common: dict[str, Any] = {
        "max_side": settings.max_side,
        "use_cls": settings.use_cls,
        "min_confidence": settings.min_confidence,
        "threads": settings.threads,
    }
    if settings.backend == "paddleocr":
        from captioning.ocr.paddle import PaddleEngine

        return PaddleEngine(
            **common,
            model_dir=settings.model_dir,
            engine=settings.engine,
            gpu=settings.gpus > 0,
        )
    from captioning.ocr.rapid import RapidEngine

    return RapidEngine(**common, cuda=settings.gpus > 0)


def _check_rapid(settings: OcrSettings) -> None:
    if settings.model_dir is not None or settings.engine is not None:
        raise ConfigurationError(
            "ocr.model_dir and ocr.engine are for PaddleOCR; set ocr.backend to paddleocr"
        )
    if find_spec("onnxruntime") is None:
        raise ConfigurationError(
            "ocr.backend rapidocr needs ONNX Runtime; install winnow[cpu] or winnow[gpu]"
        )
    from captioning.ocr.rapid import cuda_available

    if settings.gpus > 0 and not cuda_available():
        raise ConfigurationError(
            f"ocr.gpus is {settings.gpus}, but ONNX Runtime here has no CUDA provider; install "
            "winnow[gpu] in a fresh environment (onnxruntime and onnxruntime-gpu share a "
            "folder), or set ocr.gpus to 0"
        )


def _check_paddle(settings: OcrSettings) -> None:
    if find_spec("paddleocr") is None:
        raise ConfigurationError(
            "ocr.backend paddleocr needs the package paddleocr; install winnow[paddle]"
        )
    if settings.model_dir is None:
        if not settings.allow_download:
            raise ConfigurationError(
                "ocr.backend paddleocr has no models of its own; set ocr.model_dir to a folder "
                "with a detection and a recognition model, or ocr.allow_download to true"
            )
        return
    if settings.use_cls:
        raise ConfigurationError(
            "ocr.use_cls needs a model that PaddleOCR downloads; it cannot go with ocr.model_dir"
        )
    from captioning.ocr.paddle import model_options

    try:
        model_options(Path(settings.model_dir))
    except (OSError, KeyError, TypeError) as error:
        raise ConfigurationError(f"ocr.model_dir: {error}") from error
