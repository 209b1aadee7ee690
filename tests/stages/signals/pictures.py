"""Pictures whose signals are known, and ways to store them."""

import io
from typing import Any

import numpy as np
from PIL import Image

from stages.signals.measure import Signals, pixel_signals


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reopened(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, kind, **options))).convert("RGB")


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.asarray(values, dtype=np.uint8)).convert("RGB")


def noise(height: int = 64, width: int = 64, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def halves(low: int, high: int, side: int = 100) -> np.ndarray:
    values = np.full((side, side), low, dtype=np.uint8)
    values[:, side // 2 :] = high
    return values


def pattern() -> Image.Image:
    y, x = np.mgrid[0:120, 0:160]
    channels = [(x * 3 + y) % 256, (x * y // 16) % 256, (255 - x) % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def signals(image: Image.Image) -> Signals:
    return pixel_signals(image, 75)
