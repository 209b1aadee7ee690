"""All compiled loops over one image in one call.

Between two images the decoder fills the processor's caches, so that whatever Python does costs
many times what it costs in a loop of its own: one call is cheaper than a dozen.

Numba keeps compiled code until the file of the outermost function changes, whatever it calls:
whoever changes a module that is called from here deletes ``__pycache__/*.nb?``, or touches this
file.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.signals import layout, pixels
from stages.signals.borders import ring_statistics
from stages.signals.codes import corners, finder_marks
from stages.signals.encoding import take_tiles
from stages.signals.hashing import hash_of
from stages.signals.kernels import colour_sums, diagonal_median, laplacian_sums, luma, tones

# From this height on, what is a mean over the picture takes every fourth row.
_TALL = 256

Measured = tuple[
    np.uint64, float, float, float, float, float, float, float, float, float, float, bool
]  # fmt: skip
#: Names of what ``measure`` returns: columns of ``profile``, then whether to look for a QR code.
NAMES = (
    *("phash", "brightness", "contrast", "entropy", "border_variance", "uniform_background"),
    *("colourfulness", "sharpness", "flat_share", "noise", "letterbox", "corners"),
)


@njit(cache=True, nogil=True)
def measure(
    packed: NDArray[np.uint32],
    grey: NDArray[np.uint8],
    sample: NDArray[np.uint32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int16],
) -> Measured:
    """Signals of a working copy, by ``NAMES``; each is defined where it is computed.

    Args:
        packed: (height, width), red in the lowest byte.
        grey: The same shape, filled with its luma.
        sample: Of ``encoding.empty_sample``, filled for the encoder.
        rows: First of ``hashing.hash_weights``.
        columns: Second of the same.
    """
    luma(packed, grey)
    take_tiles(packed, sample)
    height, width = grey.shape
    step = 4 if height >= _TALL else 1
    total, squares, count, bits = tones(grey, step)
    thick = layout.ring_width(height, width)
    ring, ring2, border, ground = ring_statistics(packed, grey, thick, step)
    tolerance = layout.BACKGROUND_TOLERANCE
    rg, rg2, yb, yb2, near = colour_sums(packed, step, ground, tolerance)
    edge, edge2, flats, inner = laplacian_sums(grey, step)
    return (
        hash_of(grey, rows, columns),
        pixels.brightness(total, count),
        pixels.contrast(total, squares, count),
        pixels.entropy(bits),
        layout.border_variance(ring, ring2, border),
        layout.uniform_background(near, count),
        pixels.colourfulness(rg, rg2, yb, yb2, count),
        pixels.sharpness(edge, edge2, inner),
        layout.flat_share(flats, inner),
        pixels.noise(diagonal_median(grey, step)),
        layout.letterbox(grey),
        corners(finder_marks(grey)),
    )
