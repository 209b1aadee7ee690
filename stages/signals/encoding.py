"""Signals of how an image is encoded: how much was thrown away, how much is there."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.signals.pixels import bounded

_RAW_BYTES_PER_PIXEL = 3
_START_OF_SCAN = b"\xff\xda"

# Greatest mean relative distance to a scaled Annex K table at which a quality is stated.
# Tables of encoders with a design of their own lie above it.
_MAX_TABLE_DISTANCE = 0.25

# ITU-T T.81, table K.1: luminance quantisation, in natural (row-major) order.
_LUMINANCE_TABLE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ]
)


def size_ratio(encoded_bytes: int, width: int, height: int) -> float:
    """Encoded size over raw size; low: over-compressed, or little to compress.

    ratio = bytes / (width x height x 3), without unit, > 0. About 0.05 to 0.2 for a
    photographic JPEG, 0.3 and more for lossless formats. Full resolution. Source: the
    compression ratio of the Z-Image report, section 2.1, turned round: the report prints
    raw over encoded and calls it low when over-compressed, which fits only this direction.
    """
    return encoded_bytes / (width * height * _RAW_BYTES_PER_PIXEL)


def reencoded_bytes_per_pixel(image: Image.Image, quality: int) -> float:
    """Bytes per pixel after a JPEG encoding made for the purpose; low: little information.

    Baseline JPEG, 4:2:0, of the bounded copy; only the entropy-coded scan is counted, as
    600 bytes of headers would swamp a small image. Source: the transient-JPEG bits per
    pixel of the Z-Image report, section 2.1, which does not state its quality.

    Args:
        image: RGB, of any size.
        quality: 1..95, on libjpeg's scale; figures compare only at the same quality.
    """
    copy = bounded(image)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    data = buffer.getvalue()
    # Inside a scan every 0xff is escaped, so the last marker is the true one.
    scan = len(data) - data.rindex(_START_OF_SCAN)
    return scan / (copy.width * copy.height)


def jpeg_quality(data: bytes) -> int | None:
    """Quality at which a JPEG was last saved, 1..100, on libjpeg's scale; low: lossy.

    The nearest of the hundred scalings of the luminance table of ITU-T T.81 Annex K, by
    mean relative distance: scale = 5000 / q under 50, else 200 - 2 q;
    entry = floor((K.1 x scale + 50) / 100), within 1..255. Exact for files of libjpeg and
    its heirs. Saving a bad JPEG again at high quality hides what was lost before.

    Args:
        data: The encoded image.

    Returns:
        None for other formats, and for tables that are no scaling of Annex K.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        tables: dict[int, list[int]] = getattr(image, "quantization", {})
    luminance = np.array(tables.get(0, ()), dtype=np.float64)
    if luminance.shape != (64,):
        return None
    distances = (np.abs(luminance - _SCALED_TABLES) / _SCALED_TABLES).mean(axis=1)
    best = int(distances.argmin())
    return best + 1 if distances[best] <= _MAX_TABLE_DISTANCE else None


def _scaled_tables() -> NDArray[np.int64]:
    """The luminance table at qualities 1..100: (100, 64)."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = (_LUMINANCE_TABLE[None, :] * scale[:, None] + 50) // 100
    return np.clip(tables, 1, 255)


_SCALED_TABLES = _scaled_tables()
