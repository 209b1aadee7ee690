"""Naming the colours of an image, in the words people use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Colour terms, in the order of the classes that ``name_colours`` gives.
COLOURS = (
    *("black", "grey", "white", "red", "orange", "yellow", "green"),
    *("turquoise", "blue", "purple", "pink", "brown", "beige"),
)
_INDEX = {name: index for index, name in enumerate(COLOURS)}

_SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])

# Upper ends of the hue sectors of a vivid colour, in degrees of CIELAB hue.
_HUES = (
    *((18.0, "pink"), (45.0, "red"), (72.0, "orange"), (102.0, "yellow"), (165.0, "green")),
    *((220.0, "turquoise"), (307.0, "blue"), (328.0, "purple"), (350.0, "pink")),
)


def thumbnail(image: npt.NDArray[np.uint8], side: int = 96) -> npt.NDArray[np.uint8]:
    """The image scaled down so that its longer side is at most ``side`` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(picture)


def to_lab(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Convert sRGB to CIELAB under D65 (CIE 15:2004, IEC 61966-2-1).

    Args:
        pixels: uint8[..., 3].

    Returns:
        float64[..., 3]: lightness 0 to 100, a and b about -128 to 127.
    """
    value = pixels / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _SRGB_TO_XYZ.T / _WHITE_D65
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def name_colours(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The colour term of each pixel.

    Args:
        lab: float64[..., 3], CIELAB.

    Returns:
        intp[...]: indices into ``COLOURS``.
    """
    light = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    ends = [end for end, _ in _HUES]
    sectors = np.array([_INDEX[name] for _, name in (*_HUES, (360.0, "pink"))])
    named = sectors[np.searchsorted(ends, hue, side="right")]

    # Dark orange and yellow are brown, pale ones beige; dark greenish yellow is olive,
    # which goes as green, and pale greenish yellow is no colour of its own.
    warm = (hue > 30) & (hue < 95)
    reddish = (hue > 350) | (hue <= 45)
    pale_olive = (hue >= 95) & (hue < 130) & (light > 55) & (chroma < 15)
    named = np.where(reddish & (light > 62) & (chroma < 55), _INDEX["pink"], named)
    named = np.where(warm & (light <= 58) & (chroma < 50), _INDEX["brown"], named)
    named = np.where(warm & (hue > 60) & (light <= 45), _INDEX["brown"], named)
    named = np.where(warm & (light > 58) & (chroma < 32), _INDEX["beige"], named)
    named = np.where((hue >= 95) & (hue < 110) & (light <= 60), _INDEX["green"], named)
    named = np.where(pale_olive, _INDEX["grey"], named)

    # The eye takes weak tints for grey, more so in the dark and in the light.
    named = np.where(chroma < 9, _INDEX["grey"], named)
    named = np.where((light < 20) & (chroma < 16), _INDEX["black"], named)
    return np.where((light > 88) & (chroma < 9), _INDEX["white"], named)


def colour_shares(pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
    """The share of each colour term in an image, largest first, sum 1."""
    classes = name_colours(to_lab(pixels)).ravel()
    counts = np.bincount(classes, minlength=len(COLOURS)) / classes.size
    order = sorted(range(len(COLOURS)), key=lambda index: (-counts[index], index))
    return {COLOURS[index]: float(counts[index]) for index in order if counts[index] > 0}
