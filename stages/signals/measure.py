"""All signals of one image at once: what they share is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from stages.signals import encoding, layout, pixels
from stages.signals.codes import readable
from stages.signals.encoding import empty_sample, sampled_bytes_per_pixel
from stages.signals.hashing import hash_weights
from stages.signals.together import NAMES, measure
from stages.signals.working import working_pixels

Signals = dict[str, Any]


def pixel_signals(image: Image.Image, reencode_quality: int) -> Signals:
    """The signals of the pixels, by the name of their column in ``profile``.

    Args:
        image: RGB, of any size.
        reencode_quality: JPEG quality of ``reencode_bpp``, 1..95.
    """
    packed = working_pixels(image)
    height, width = packed.shape
    grey = np.empty((height, width), dtype=np.uint8)
    sample = empty_sample(packed)
    values = measure(packed, grey, sample, *hash_weights(height, width))
    signals: Signals = dict(zip(NAMES, values, strict=True))
    signals["aspect"] = pixels.aspect(image.width, image.height)
    signals["screenshot"] = layout.screenshot(grey, signals["flat_share"])
    signals["reencode_bpp"] = sampled_bytes_per_pixel(sample, reencode_quality)
    signals["reencode_quality"] = reencode_quality
    signals["qr_code"] = signals.pop("corners") and readable(grey)
    return signals


def encoding_signals(
    encoded_bytes: int, width: int, height: int, tables: dict[int, list[int]] | None
) -> Signals:
    """The signals of the file, by the name of their column in ``profile``.

    Args:
        encoded_bytes: Size of the encoded image.
        width: In pixels.
        height: In pixels.
        tables: Quantisation tables of a JPEG, else None.
    """
    return {
        "size_ratio": encoding.size_ratio(encoded_bytes, width, height),
        "compression_ratio": encoding.compression_ratio(encoded_bytes, width, height),
        "jpeg_quality": encoding.jpeg_quality(tables),
    }
