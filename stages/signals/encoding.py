"""Signals of how an image is encoded: how much was thrown away, how much is there."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import simplejpeg
from numba import njit
from numpy.typing import NDArray
from PIL import Image

_RAW_BYTES_PER_PIXEL = 3
_START_OF_SCAN = b"\xff\xda"

_TILE = 16  # a coded unit of a 4:2:0 JPEG
#: Tiles of the working copy that are encoded to measure it.
MOST_TILES = 48

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
    """Actual over ideal size; low: over-compressed, or little to compress.

    ratio = bytes / (width x height x 3), without unit, > 0. About 0.05 to 0.2 for a
    photographic JPEG, 0.3 and more for lossless formats. Full resolution. The inverse of
    ``compression_ratio``; this direction is the one in which low means over-compressed.

    Args:
        encoded_bytes: Size of the file, or of the member or cell that holds the image.
        width: In pixels, at full resolution.
        height: In pixels, at full resolution.
    """
    return encoded_bytes / (width * height * _RAW_BYTES_PER_PIXEL)


def compression_ratio(encoded_bytes: int, width: int, height: int) -> float:
    """Ideal over actual size; high: over-compressed, or little to compress.

    ratio = width x height x 3 / bytes, without unit, > 0. Full resolution. Source: the
    compression ratio of the Z-Image report, section 2.1. The report defines it like this and
    says that *low* ratios mark over-compressed images; but their actual size is small, and
    a ratio over it high.

    Args:
        encoded_bytes: Size of the file, or of the member or cell that holds the image.
        width: In pixels, at full resolution.
        height: In pixels, at full resolution.
    """
    return width * height * _RAW_BYTES_PER_PIXEL / encoded_bytes


def reencoded_bytes_per_pixel(pixels: NDArray[np.uint32], quality: int) -> float:
    """Bytes per pixel after a JPEG encoding made for the purpose; low: little information.

    Baseline JPEG, 4:2:0, of at most 48 tiles of 16 x 16 pixels that are spread evenly over
    the working copy, side by side in one row; an image with a side under 16 is encoded as it
    is. Only the entropy-coded scan is counted, as 600 bytes of headers would swamp a small
    image. > 0, seldom above 1. Source: the transient-JPEG bytes per pixel of the Z-Image
    report, section 2.1, which states neither quality nor scale.

    Args:
        pixels: (height, width), packed, of the working copy.
        quality: 1..95, on libjpeg's scale; figures compare only at the same quality.
    """
    sample = empty_sample(pixels)
    take_tiles(pixels, sample)
    return sampled_bytes_per_pixel(sample, quality)


def empty_sample(pixels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Memory for ``take_tiles``: of one row of tiles, or of the image where it holds none."""
    height, width = pixels.shape
    tiles = min(MOST_TILES, (width // _TILE) * (height // _TILE))
    return np.empty((_TILE, _TILE * tiles) if tiles else (height, width), dtype=np.uint32)


def sampled_bytes_per_pixel(sample: NDArray[np.uint32], quality: int) -> float:
    """``reencoded_bytes_per_pixel`` of what ``take_tiles`` took."""
    rows, columns = sample.shape
    data = simplejpeg.encode_jpeg(
        sample.view(np.uint8).reshape(rows, columns, 4),
        quality=quality,
        colorspace="RGBX",
        colorsubsampling="420",
        fastdct=False,
    )
    # Inside a scan every 0xff is escaped, so the last marker is the true one.
    scan = len(data) - data.rindex(_START_OF_SCAN)
    return scan / (columns * rows)


@njit(cache=True, nogil=True)
def take_tiles(pixels: NDArray[np.uint32], sample: NDArray[np.uint32]) -> None:
    """Copy tiles at equal distances along the rows of tiles, side by side.

    Args:
        pixels: (height, width), packed.
        sample: Of ``empty_sample``, filled; of an image without a tile, with the image.
    """
    across, down = pixels.shape[1] // _TILE, pixels.shape[0] // _TILE
    if across * down == 0:
        sample[:] = pixels
        return
    tiles, available = sample.shape[1] // _TILE, across * down
    for tile in range(tiles):
        place = (2 * tile + 1) * available // (2 * tiles)
        top, left = place // across * _TILE, place % across * _TILE
        for y in range(_TILE):
            for x in range(_TILE):
                sample[y, tile * _TILE + x] = pixels[top + y, left + x]


def jpeg_quality(tables: dict[int, list[int]] | None) -> int | None:
    """Quality at which a JPEG was last saved, 1..100, on libjpeg's scale; low: lossy.

    The nearest of the hundred scalings of the luminance table of ITU-T T.81 Annex K, by
    mean relative distance: scale = 5000 / q under 50, else 200 - 2 q;
    entry = floor((K.1 x scale + 50) / 100), within 1..255. Exact for files of libjpeg and
    its heirs. Saving a bad JPEG again at high quality hides what was lost before.

    Args:
        tables: The quantisation tables by number, in natural order; 0 is the luminance's.

    Returns:
        None for other formats, and for tables that are no scaling of Annex K.
    """
    luminance = tuple((tables or {}).get(0, ()))
    return _nearest_quality(luminance) if len(luminance) == _LUMINANCE_TABLE.size else None


@lru_cache(maxsize=1024)
def _nearest_quality(luminance: tuple[int, ...]) -> int | None:
    # Tables of 16 bits, which few encoders write, are not cut at 255.
    candidates = _SCALED_TABLES if max(luminance) > 255 else np.minimum(_SCALED_TABLES, 255)
    distances = (np.abs(np.array(luminance) - candidates) / candidates).mean(axis=1)
    best = int(distances.argmin())
    return best + 1 if distances[best] <= _MAX_TABLE_DISTANCE else None


def _scaled_tables() -> NDArray[np.int64]:
    """The luminance table at qualities 1..100: (100, 64)."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.maximum((_LUMINANCE_TABLE[None, :] * scale[:, None] + 50) // 100, 1)


_SCALED_TABLES = _scaled_tables()


def alpha_share(image: Image.Image) -> float:
    """Share of the pixels that are not fully opaque, of the first frame at full resolution.

    alpha < 255; 0..1, without unit; 0 for images without transparency.

    Args:
        image: As decoded, before any conversion.
    """
    if not image.has_transparency_data:
        return 0.0
    alpha = image if image.mode in {"RGBA", "LA"} else image.convert("RGBA")
    opaque = alpha.getchannel("A").histogram()[255]
    return 1 - opaque / (image.width * image.height)


def animated(frames: int | None, kind: str | None) -> bool | None:
    """Whether the file moves: more than one frame, in a format whose frames follow in time.

    True for GIF, WebP, PNG and AVIF with several frames; the pages of a TIFF are no frames.

    Args:
        frames: As ``ingest`` counted them.
        kind: The format's name in ``items``.

    Returns:
        None where ``ingest`` counted none.
    """
    if frames is None:
        return None
    return frames > 1 and kind != "tiff"
