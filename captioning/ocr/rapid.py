"""PP-OCR through ``rapidocr``: the models of its wheel, on ONNX Runtime."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from captioning.ocr.lines import Line, make_line
from captioning.ocr.looks import Reader


class RapidEngine:
    """Detection, and recognition of Chinese and English, with PP-OCRv6 small.

    Args:
        max_side: Larger images are scaled down to this for the first detection, in pixels;
            text is recognised at full size (up to 2000 pixels).
        use_cls: Whether lines standing on their heads are turned first.
        min_confidence: Lines below it are dropped, 0 to 1.
        threads: Images of one ``read`` that are read at once. A single image uses one
            core: several images at once scale, several threads in one do not.
        cuda: Whether to run on the GPU; needs ``onnxruntime-gpu``.

    Raises:
        RuntimeError: If ``cuda`` is asked for and ONNX Runtime has no CUDA provider.
    """

    def __init__(
        self,
        *,
        max_side: int = 736,
        use_cls: bool = False,
        min_confidence: float = 0.5,
        threads: int = 1,
        cuda: bool = False,
    ) -> None:
        from rapidocr import RapidOCR

        if cuda and not cuda_available():
            raise RuntimeError(
                "ONNX Runtime has no CUDA provider here; install onnxruntime-gpu in the "
                "place of onnxruntime, or run on the CPU"
            )
        self._threads = threads
        self._max_side = max_side
        self._reader = Reader(self._find, max_side, min_confidence)
        self._ocr: Any = RapidOCR(params=parameters(max_side, use_cls=use_cls, cuda=cuda))
        # The models load at the first image, and not safely from several threads.
        self._ocr(np.full((64, 64, 3), 255, np.uint8))
        self._ocr.recognize_txt([np.full((48, 64, 3), 255, np.uint8)])

    def read(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[list[Line]]:
        """Read images; see ``OcrEngine``."""
        if self._threads == 1 or len(images) == 1:
            return [self._reader.read(image) for image in images]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(self._reader.read, images))

    def _find(self, image: npt.NDArray[np.uint8], max_side: int) -> list[Line]:
        found = self._sized(max_side)(np.ascontiguousarray(image[:, :, ::-1]))  # it takes BGR
        # Without text every field is None, or the output of the step that found nothing.
        texts, boxes = getattr(found, "txts", None), getattr(found, "boxes", None)
        if texts is None or boxes is None:
            return []
        lines = map(make_line, texts, boxes, found.scores)
        return [line for line in lines if line is not None]

    def _sized(self, max_side: int) -> Any:  # noqa: ANN401 - a class of rapidocr
        """The same models with another size of detection, safe beside other threads."""
        if max_side == self._max_side:
            return self._ocr
        sized = copy.copy(self._ocr)
        sized.text_det = copy.copy(sized.text_det)
        sized.text_det.limit_side_len = max_side
        return sized


def cuda_available() -> bool:
    """Whether ONNX Runtime could run on a GPU."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def parameters(max_side: int, *, use_cls: bool, cuda: bool) -> dict[str, object]:
    """The parameters of ``rapidocr`` for one look."""
    # One thread inside an operator: the result does not depend on the machine's cores.
    # ``max`` only ever scales down; the library's ``min`` blows small images up.
    return {
        "Global.log_level": "critical",
        "Global.use_cls": use_cls,
        # What reads badly tells that an image lies on its side.
        "Global.text_score": 0.0,
        "Det.limit_type": "max",
        "Det.limit_side_len": max_side,
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.onnxruntime.use_cuda": cuda,
    }
