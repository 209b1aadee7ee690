"""The embedded models in the layout that PaddleOCR reads.

``rapidocr``'s wheel holds PP-OCR models as ONNX files. PaddleOCR runs the same files with its
engine ``onnxruntime``, given a folder for each with a description of what goes in and comes out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

_DECODE: dict[str, Any] = {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}}


def write_embedded_models(folder: Path) -> Path:
    """Write detection and recognition as ``det`` and ``rec`` into a folder.

    The result is a ``model_dir`` of ``PaddleEngine`` with the engine ``onnxruntime``.

    Raises:
        FileNotFoundError: If ``rapidocr`` brings other models than PP-OCRv6 small.
    """
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    recognition = models / "PP-OCRv6_rec_small.onnx"
    descriptions = {"det": _detection(), "rec": _recognition(_characters(recognition))}
    for task, description in descriptions.items():
        place = folder / task
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(models / f"PP-OCRv6_{task}_small.onnx", place / "inference.onnx")
        text = yaml.safe_dump(description, allow_unicode=True)
        (place / "inference.yml").write_text(text, encoding="utf-8")
    return folder


def _characters(model: Path) -> list[str]:
    """The dictionary that a recognition model carries in its metadata."""
    import onnxruntime

    if not model.is_file():
        raise FileNotFoundError(f"{model} is not there; install the version of rapidocr pinned")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    characters: str = session.get_modelmeta().custom_metadata_map["character"]
    return characters.split("\n")


def _detection() -> dict[str, Any]:
    normalise = {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "scale": "1./255.",
        "order": "hwc",
    }
    steps: list[dict[str, Any]] = [
        _DECODE,
        {"DetResizeForTest": None},
        {"NormalizeImage": normalise},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image", "shape"]}},
    ]
    found = {
        "name": "DBPostProcess",
        "thresh": 0.3,
        "box_thresh": 0.6,
        "max_candidates": 1000,
        "unclip_ratio": 1.5,
    }
    return {
        "Global": {"model_name": "PP-OCRv6_small_det"},
        "PreProcess": {"transform_ops": steps},
        "PostProcess": found,
    }


def _recognition(characters: list[str]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        _DECODE,
        {"RecResizeImg": {"image_shape": [3, 48, 320]}},
        {"KeepKeys": {"keep_keys": ["image"]}},
    ]
    return {
        "Global": {"model_name": "PP-OCRv6_small_rec"},
        "PreProcess": {"transform_ops": steps},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": characters},
    }
