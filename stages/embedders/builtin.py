"""The embedded descriptor: no weights, no download.

It sees where light and colour lie in the picture, coarsely. Copies that differ in
encoding, size, tone, blur, a plain frame or some overlaid text stay close; mirrored, strongly
cropped or rotated copies do not. Unrelated photographs have similarities near 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from stages.embedders.base import Embedder

_SIDE = 32  # samples a side of the picture that is described
_GRID = 4 * _SIDE  # samples a side before averaging; frames are looked for in them
_LUMINANCE_TERMS = 220
_CHROMA_SIDE = 4
_CHROMA_WEIGHT = 0.4

# Length of a block, before normalisation, at which structure makes half of it: about one
# grey level of deviation.
_LUMINANCE_FLOOR = 5.0
_CHROMA_FLOOR = 3.0
_FLAT_WEIGHT = 0.4
_FLAT_TERMS = 4

# Share of the weight that a pixel in the middle of an edge has lost: crops and frames change
# edges first.
_EDGE_LOSS = 0.6

# A frame's lines deviate by less than this share of the picture's own deviation (or than one
# grey level), and the picture behind differs from them by several times as much. Both are
# relative, so that a change of contrast does not move the cut.
_FRAME_TOLERANCE = 0.05
_FRAME_STEP = 5.0
_MAX_FRAME = round(0.35 * _GRID)


class BuiltinEmbedder(Embedder):
    """Whitened low frequencies of luminance and chroma, as a unit vector of 256.

    1. A plain frame is cut off; what is left is averaged to 32 x 32 samples.
    2. Type-II DCT of the luminance, its mean taken out and its edges faded: the 220 lowest
       terms in zigzag order, each times the square root of its frequency (amplitudes of
       photographs fall as 1 / frequency), then the signed square root, so that no single
       term rules. Scaled to unit length, but pictures near flat stay shorter.
    3. Four numbers that tell grey levels apart, as long as block 2 is too short.
    4. Cb and Cr like luminance, but 4 x 4 terms each with their mean, at 0.4 of the weight.
    """

    name = "builtin"

    @property
    def dim(self) -> int:
        """256."""
        return _LUMINANCE_TERMS + _FLAT_TERMS + 2 * _CHROMA_SIDE**2

    def prepare(self, image: Image.Image) -> NDArray[np.float32]:
        """Samples of the picture without its frame: (3, 32, 32), Y 0..255, Cb and Cr ±127.5."""
        grid = _sampled(image, (0, 0, *image.size))
        box = _inside_frame(_luminance(grid))
        if box != (0, 0, _GRID, _GRID):
            across, down = image.width / _GRID, image.height / _GRID
            left, top, right, bottom = box
            grid = _sampled(image, (left * across, top * down, right * across, bottom * down))
        samples = grid.reshape(_SIDE, 4, _SIDE, 4, 3).mean(axis=(1, 3))
        return np.stack([_luminance(samples), *_chroma(samples)]).astype(np.float32)

    def encode(self, prepared: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Vectors of prepared pictures: (n, 256), float32, rows of unit length."""
        samples = np.stack(prepared).astype(np.float64)
        luminance, chroma = samples[:, 0], samples[:, 1:]
        mean = (luminance * _FADE).sum(axis=(1, 2), keepdims=True) / _FADE.sum()
        structure = _terms((luminance - mean) * _FADE)[:, _ZIGZAG[:, 0], _ZIGZAG[:, 1]]
        structure, missing = _softly_scaled(structure, _LUMINANCE_FLOOR)
        flat = _FLAT_WEIGHT * missing * _grey_level(mean[:, :, 0])
        tint = _terms(chroma * _FADE)[:, :, :_CHROMA_SIDE, :_CHROMA_SIDE]
        tint, _ = _softly_scaled(tint.reshape(len(tint), -1), _CHROMA_FLOOR)
        vectors = np.concatenate([structure, flat, _CHROMA_WEIGHT * tint], axis=1)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _sampled(image: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """The part of an image inside ``box``, averaged to (128, 128, 3), 0..255."""
    small = image.resize((_GRID, _GRID), Image.Resampling.BOX, box=box)
    return np.asarray(small, dtype=np.float64)


def _luminance(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Y of ITU-R BT.601, as JPEG uses it, 0..255."""
    return 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]


def _chroma(rgb: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cb and Cr of ITU-R BT.601 around zero, ±127.5."""
    luminance = _luminance(rgb)
    return (rgb[..., 2] - luminance) / 1.772, (rgb[..., 0] - luminance) / 1.402


def _inside_frame(luminance: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a plain frame surrounds, on the grid."""
    tolerance = max(1.0, _FRAME_TOLERANCE * float(luminance.std()))
    top, bottom = _frame_depth(luminance, tolerance), _frame_depth(luminance[::-1], tolerance)
    columns = luminance.T
    left, right = _frame_depth(columns, tolerance), _frame_depth(columns[::-1], tolerance)
    return left, top, _GRID - right, _GRID - bottom


def _frame_depth(lines: NDArray[np.float64], tolerance: float) -> int:
    """How many plain lines lie before a clear step into the picture; 0 where none does."""
    busy = lines[:_MAX_FRAME].std(axis=1) >= tolerance
    if busy[0] or not busy.any():
        return 0
    depth = int(busy.argmax())
    # The line at ``depth`` may be half frame, half picture.
    step = np.abs(lines[depth + 1] - lines[depth - 1].mean()).mean()
    return depth if step > _FRAME_STEP * tolerance else 0


def _terms(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whitened and compressed DCT-II terms over the last two axes."""
    terms = fft.dctn(samples, axes=(-2, -1), norm="ortho") / _SIDE * _WHITENING
    return np.sign(terms) * np.sqrt(np.abs(terms))


def _softly_scaled(
    block: NDArray[np.float64], floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows scaled to b / sqrt(|b|^2 + floor^2), and the length that completes each to one."""
    length = np.sqrt((block**2).sum(axis=1, keepdims=True) + floor**2)
    return block / length, floor / length


def _grey_level(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 1) mean luminance, 0..255, to (n, 4) unit vectors that differ as the levels do."""
    angle = np.pi / 255 * mean * np.array([[1.0, 3.0]])
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1) / np.sqrt(2.0)


def _whitening() -> NDArray[np.float64]:
    frequency = np.arange(_SIDE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    weights: NDArray[np.float64] = np.sqrt(radius + 0.5)
    return weights


def _zigzag() -> NDArray[np.int64]:
    """The lowest terms but the constant one, by anti-diagonals: (220, 2)."""
    terms = [(row, column) for row in range(_SIDE) for column in range(_SIDE)]
    terms.sort(key=lambda term: (sum(term), term))
    return np.array(terms[1 : _LUMINANCE_TERMS + 1])


def _fade() -> NDArray[np.float64]:
    """Weights of the samples: 1 in the middle, falling with the square of the distance."""
    position = np.linspace(-1.0, 1.0, _SIDE)
    one_side: NDArray[np.float64] = 1.0 - _EDGE_LOSS * np.square(position)
    return one_side[:, None] * one_side[None, :]


_WHITENING = _whitening()
_ZIGZAG = _zigzag()
_FADE = _fade()
