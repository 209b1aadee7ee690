"""Single frames of videos: how much changes between two, and their pixels as a file."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

#: Cells along the longer side of the grid on which frames are compared.
_GRID = 64
_EIGHT_BIT_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "nv12", "gray")
_HD_HEIGHT = 720
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_STORED = 65_535  # bytes in a stored block of deflate (RFC 1951, 3.2.4)


def luminance_grid(frame: VideoFrame) -> npt.NDArray[np.float32]:
    """Mean luminance on a coarse grid: float32[rows, columns], 0..255, up to 64 a side."""
    luma = _luma(frame)
    step = max(1, -(-max(luma.shape) // _GRID))
    rows, columns = luma.shape[0] // step, luma.shape[1] // step
    if not rows or not columns:
        return luma.mean(keepdims=True, dtype=np.float32)
    # Integers first: sums of bytes do not depend on the order of summation.
    blocks = luma[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return (blocks.sum(axis=(1, 3), dtype=np.uint32) / (step * step)).astype(np.float32)


def _luma(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    if frame.format.name not in _EIGHT_BIT_PLANAR:
        return np.asarray(frame.to_ndarray(format="gray", interpolation=_exact()), np.uint8)
    plane = frame.planes[0]
    stored = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return stored[: frame.height, : frame.width]


def scene_score(
    before: npt.NDArray[np.float32] | None, after: npt.NDArray[np.float32], last_change: float
) -> tuple[float, float]:
    """How sure it is that a scene begins, as FFmpeg's ``select`` filter measures it.

    The mean absolute difference of luminance to the frame before, or the growth of that
    difference where it is smaller, over 100 (``get_scene_score`` in libavfilter's
    ``f_select.c``): motion that goes on is no change of scene. Taken on a grid of means
    instead of all pixels, which noise and small motion disturb less.

    Args:
        before: Grid of the frame before; ``None`` for the first frame.
        after: Grid of this frame.
        last_change: The difference that the frame before had to its own predecessor.

    Returns:
        The score, 0..1, and this frame's difference, 0..255.
    """
    if before is None or before.shape != after.shape:
        return (0.0, 0.0) if before is None else (1.0, 0.0)
    change = float(np.abs(after - before).mean(dtype=np.float64))
    return min(1.0, min(change, abs(change - last_change)) / 100), change


def to_rgb(frame: VideoFrame, pixel_aspect: Fraction | None = None) -> npt.NDArray[np.uint8]:
    """A frame as people see it: uint8[height, width, 3].

    Turned as the file says, pixels that are not square made so, colours by the frame's own
    matrix or, where it names none, BT.709 from 720 lines on and BT.601 below. Conversion is
    bit-exact, so that it does not depend on the processor.

    Args:
        frame: The decoded frame.
        pixel_aspect: Width of a pixel over its height; ``None`` or 0 where unknown.
    """
    from av.video.reformatter import Colorspace

    width = round(frame.width * pixel_aspect) if pixel_aspect else frame.width
    unnamed = frame.colorspace == _UNSPECIFIED
    matrix = Colorspace.ITU709 if unnamed and frame.height >= _HD_HEIGHT else None
    shown = frame.reformat(
        width=width, format="rgb24", src_colorspace=matrix, interpolation=_exact()
    )
    pixels = np.asarray(shown.to_ndarray(), np.uint8)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _exact() -> int:
    from av.video.reformatter import Interpolation as Flag

    return Flag.BICUBIC | Flag.ACCURATE_RND | Flag.BITEXACT | Flag.FULL_CHR_H_INT


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Pixels as a PNG without compression: its bytes depend on the pixels alone.

    A compressor's output differs from one version of its library to the next, and a frame
    is encoded anew whenever it is read. So no filter and stored blocks (PNG specification,
    third edition, 11.2; RFC 1950 and 1951): as large as the pixels.

    Args:
        pixels: uint8[height, width, 3], RGB.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, 3 * width)
    raw = rows.tobytes()
    stream = [b"\x78\x01"]
    for start in range(0, len(raw), _STORED):
        block = raw[start : start + _STORED]
        last = start + _STORED >= len(raw)
        stream += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    stream.append(struct.pack(">I", zlib.adler32(raw)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(stream)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(name))
    return b"".join([struct.pack(">I", len(data)), name, data, struct.pack(">I", check)])
