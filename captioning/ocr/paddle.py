"""PP-OCR through PaddleOCR's own pipeline, with local or downloaded models."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from captioning.ocr.lines import Line, make_line
from captioning.ocr.looks import Reader


class PaddleEngine:
    """Detection and recognition with the ``paddleocr`` package, 3.7 or later.

    Args:
        model_dir: A folder with one folder for the detection and one for the recognition
            model, each with an ``inference.yml``. Without it PaddleOCR downloads its
            default models.
        engine: What runs the models: ``paddle_static``, ``paddle_dynamic``,
            ``onnxruntime`` or ``transformers``; PaddleOCR's own choice without.
        max_side: Larger images are scaled down to this for the first detection, in pixels.
        use_cls: Whether lines standing on their heads are turned first; needs a
            download, so it cannot go with ``model_dir``.
        min_confidence: Lines below it are dropped, 0 to 1.
        threads: CPU threads of one model run.
        gpu: Whether to run on the GPU.

    Raises:
        FileNotFoundError: If ``model_dir`` does not hold the two models.
        ValueError: If ``use_cls`` is asked for together with ``model_dir``.
    """

    def __init__(
        self,
        *,
        model_dir: str | Path | None = None,
        engine: str | None = None,
        max_side: int = 736,
        use_cls: bool = False,
        min_confidence: float = 0.5,
        threads: int = 1,
        gpu: bool = False,
    ) -> None:
        options: dict[str, Any] = {}
        if model_dir is not None:
            if use_cls:
                raise ValueError("use_cls needs a downloaded model; leave out model_dir or use_cls")
            # Its look for a model hub takes seconds and fails without a network.
            os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
            options |= model_options(Path(model_dir))
        if engine is not None:
            options["engine"] = engine
        if not gpu:
            options["cpu_threads"] = threads

        from paddleocr import PaddleOCR

        self._ocr: Any = PaddleOCR(
            use_doc_orientation_classify=False,
            use_doc_unwarping=False,
            use_textline_orientation=use_cls,
            text_det_limit_type="max",
            text_det_limit_side_len=max_side,
            # What reads badly tells that an image lies on its side.
            text_rec_score_thresh=0.0,
            device="gpu" if gpu else "cpu",
            **options,
        )
        self._max_side = max_side
        self._reader = Reader(self._find, max_side, min_confidence)
        self._lock = threading.Lock()  # a pipeline is not made for several threads

    def read(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[list[Line]]:
        """Read images; see ``OcrEngine``."""
        if not images:
            return []
        found = self._find_all(images, self._max_side)
        return [self._reader.read(image, lines) for image, lines in zip(images, found, strict=True)]

    def _find(self, image: npt.NDArray[np.uint8], max_side: int) -> list[Line]:
        return self._find_all([image], max_side)[0]

    def _find_all(self, images: Sequence[npt.NDArray[np.uint8]], max_side: int) -> list[list[Line]]:
        arrays = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]  # it takes BGR
        with self._lock:
            results = list(self._ocr.predict(arrays, text_det_limit_side_len=max_side))
        return [_lines(result) for result in results]


def _lines(result: Any) -> list[Line]:  # noqa: ANN401 - a dictionary-like object of paddlex
    found = map(make_line, result["rec_texts"], result["rec_polys"], result["rec_scores"])
    return [line for line in found if line is not None]


def model_options(model_dir: Path) -> dict[str, str]:
    """PaddleOCR's options for the models in a folder.

    Raises:
        FileNotFoundError: If there is not one detection and one recognition model.
    """
    options: dict[str, str] = {}
    for description in sorted(model_dir.glob("*/inference.yml")):
        content = yaml.safe_load(description.read_text(encoding="utf-8"))
        name = str(content["Global"]["model_name"])
        for ending, task in (("_det", "text_detection"), ("_rec", "text_recognition")):
            if name.endswith(ending):
                options[f"{task}_model_name"] = name
                options[f"{task}_model_dir"] = str(description.parent)
    if len(options) != 4:
        raise FileNotFoundError(
            f"{model_dir} must hold two folders with an inference.yml each, one of a detection "
            "model (model_name ends in _det) and one of a recognition model (_rec)"
        )
    return options
