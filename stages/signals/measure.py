"""All signals of one image at once: what they share is computed once."""

from __future__ import annotations

from PIL import Image

from stages.signals import encoding, kernels, layout, pixels
from stages.signals.borders import ring_statistics
from stages.signals.codes import qr_code
from stages.signals.working import WorkingCopy, working_copy

# From this height on, what is a mean over the picture takes every fourth row.
_TALL = 256

Signals = dict[str, int | float | bool | None]


def pixel_signals(image: Image.Image, reencode_quality: int) -> Signals:
    """The signals of the pixels, by the name of their column in ``profile``.

    Args:
        image: RGB, of any size.
        reencode_quality: JPEG quality of ``reencode_bpp``, 1..95.
    """
    copy = working_copy(image)
    step = 4 if copy.grey.shape[0] >= _TALL else 1
    return {
        "phash": pixels.phash(copy.grey),
        "aspect": pixels.aspect(copy.width, copy.height),
        **_tone(copy, step),
        **_colour(copy, step),
        **_detail(copy, step),
        "noise": pixels.noise(kernels.diagonal_median(copy.grey, step)),
        "letterbox": layout.letterbox(copy.grey),
        "reencode_bpp": encoding.reencoded_bytes_per_pixel(copy.pixels, reencode_quality),
        "reencode_quality": reencode_quality,
        "qr_code": qr_code(copy.grey),
    }


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


def _tone(copy: WorkingCopy, step: int) -> Signals:
    total, squares, count, bits = kernels.tones(copy.grey, step)
    return {
        "brightness": pixels.brightness(total, count),
        "contrast": pixels.contrast(total, squares, count),
        "entropy": pixels.entropy(bits),
    }


def _colour(copy: WorkingCopy, step: int) -> Signals:
    """The border, and what shares a pass over the colours: the background and colourfulness."""
    thick = layout.ring_width(*copy.grey.shape)
    *ring, background = ring_statistics(copy.pixels, copy.grey, thick, step)
    tolerance = layout.BACKGROUND_TOLERANCE
    rg, rg2, yb, yb2, near = kernels.colour_sums(copy.pixels, step, background, tolerance)
    count = len(range(0, copy.pixels.shape[0], step)) * copy.pixels.shape[1]
    return {
        "border_variance": layout.border_variance(*ring),
        "uniform_background": layout.uniform_background(near, count),
        "colourfulness": pixels.colourfulness(rg, rg2, yb, yb2, count),
    }


def _detail(copy: WorkingCopy, step: int) -> Signals:
    """Sharpness, flatness and the look of a screen, which share a pass over the neighbours."""
    total, squares, flats, count = kernels.laplacian_sums(copy.grey, step)
    flat = layout.flat_share(flats, count)
    return {
        "sharpness": pixels.sharpness(total, squares, count),
        "flat_share": flat,
        "screenshot": layout.screenshot(copy.grey, flat),
    }
