"""Reads a scene back from an image, by comparing the image with every scene there is.

The frame of an image is always background; its median is taken off. Groups of a scene never
overlap, so by least squares each group can be looked for alone: over a mask m of coverage, the
colour that fits an image x best is q = sum(m x) / sum(m^2), and takes |q|^2 sum(m^2) off the
squared difference. The masks of all groups are tried, also moved by a pixel and blurred, in one
matrix product. Colours are named last: a picture in slightly wrong colours is still read.

A reading is then doubted. For every other value of an attribute, the image is placed on the
line from the drawing that was read (margin 1) to the best drawing with that other value
(margin -1), by projection; a mixture of the two in equal parts has margin 0. What is left of
the image beside the drawing must be noise: its local means must be small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from generator.world.drawing import BACKGROUND_VALUES, COLOUR_VALUES, coverage
from generator.world.scene import (
    BACKGROUNDS,
    COLOURS,
    GROUP_VALUES,
    MOST_OBJECTS,
    PAIRS,
    PLACES,
    SHAPES,
    Group,
    Scene,
    Size,
    attributes_right,
)

Array = NDArray[np.float32]

#: Images are read at this side, in pixels.
SIDE = 32
#: An attribute is read when no other value has a margin below this: the image may be 37 % of
#: the way to the nearest other drawing.
MARGIN = 0.25
#: A colour may be this far from the one it is named, in levels, whatever the others are.
OFF_COLOUR = 80.0
#: Mean colour over a window of 3 x 3 pixels may differ from the drawing by this share of the
#: faintest group's contrast, or of so many levels where that is less.
LEFT_OVER = 0.6
_MOST_CONTRAST = 200.0
_WINDOW = 3

#: Kinds of group, less place, shape and colour.
_KINDS: tuple[tuple[int, Size], ...] = ((1, "large"), (1, "small"), (2, "small"), (3, "small"))
_STEPS = tuple(product((0, -1, 1), (0, -1, 1)))
#: How often the masks are blurred, each time by weights 1/4, 1/2, 1/4 along each axis.
_BLURS = (0, 1, 3)

_COLOURS: Array = np.array([COLOUR_VALUES[name] for name in COLOURS], dtype=np.float32)
_BACKGROUNDS: Array = np.array([BACKGROUND_VALUES[name] for name in BACKGROUNDS], dtype=np.float32)


@dataclass(frozen=True)
class Reading:
    """What an image shows, and how sure that is.

    Args:
        scene: The scene whose drawing is nearest.
        margins: By number of the group (-1: the background) and attribute, at most about 1:
            1 on the drawing itself, 0 halfway to the best drawing with another value.
        left_over: The greatest difference between local means of image and drawing, as a share
            of the faintest group's contrast.
    """

    scene: Scene
    margins: dict[tuple[int, str], float]
    left_over: float

    @property
    def is_sure(self) -> bool:
        """Whether all attributes are read and nothing else is in the image."""
        return min(self.margins.values()) >= MARGIN and self.left_over <= LEFT_OVER

    @property
    def trusted(self) -> frozenset[tuple[int, str]]:
        """The attributes that are read."""
        return frozenset(name for name, margin in self.margins.items() if margin >= MARGIN)


def read(image: NDArray[np.uint8]) -> Scene | None:
    """The scene that an image shows; ``None`` where it shows none clearly.

    Args:
        image: uint8 (side, side, 3), RGB, of 32 pixels at least.

    Raises:
        ValueError: If it is no such image.
    """
    reading = look(image)
    return reading.scene if reading.is_sure else None


def matches(image: NDArray[np.uint8], scene: Scene) -> bool:
    """Whether an image shows this scene, all of it and nothing else; see :func:`read`."""
    return read(image) == scene


def score(image: NDArray[np.uint8], scene: Scene) -> float:
    """Share of a scene's attributes that are read in an image, in [0, 1].

    The background is one attribute, each group has five. Unlike :func:`matches` it does not ask
    what else is in the image.
    """
    reading = look(image)
    return attributes_right(scene, reading.scene, reading.trusted)


def look(image: NDArray[np.uint8]) -> Reading:
    """Find the nearest scene and measure how sure it is; see :func:`read`."""
    seen = _Seen(_prepare(image))
    scene, kinds = seen.nearest()
    margins = {(-1, "background"): seen.background_margin}
    for number, kind in enumerate(kinds):
        margins |= seen.group_margins(scene, number, kind)
    return Reading(scene, margins, seen.left_over(kinds))


def _prepare(image: NDArray[np.uint8]) -> Array:
    """Pixels at the oracle's side, float32 (SIDE, SIDE, 3)."""
    is_image = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2:] == (3,)
    if not is_image or image.shape[0] != image.shape[1] or image.shape[0] < SIDE:
        raise ValueError(
            f"an image must be uint8 (side, side, 3) of {SIDE} pixels at least, got "
            f"{image.dtype} {image.shape}"
        )
    if image.shape[0] == SIDE:
        return image.astype(np.float32)
    shape = (SIDE, SIDE)
    planes = [
        Image.fromarray(image[..., plane].astype(np.float32)).resize(shape, Image.Resampling.BOX)
        for plane in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


@dataclass(frozen=True)
class _Masks:
    """Masks of all groups less their colour.

    Args:
        groups: Place, count, size and shape of each, in red.
        values: float32 (groups * variants, SIDE^2), in [0, 1].
        squares: Sums of their squares, float32 (groups * variants,).
    """

    groups: tuple[Group, ...]
    values: Array
    squares: Array

    @property
    def variants(self) -> int:
        """Masks of one group."""
        return len(self.values) // len(self.groups)


@cache
def _masks() -> _Masks:
    groups = tuple(
        Group(shape, "red", count, place, size)
        for place, (count, size), shape in product(PLACES, _KINDS, SHAPES)
    )
    moved = np.stack(
        [
            _blurred(coverage(group, SIDE, move=(right / SIDE, down / SIDE)), blur)
            for group in groups
            for blur in _BLURS
            for right, down in _STEPS
        ]
    ).reshape(-1, SIDE * SIDE)
    values: Array = np.ascontiguousarray(moved, dtype=np.float32)
    return _Masks(groups, values, (values**2).sum(axis=1))


def _blurred(mask: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    for axis in (0, 1) * times:
        mask = mask / 2 + (np.roll(mask, 1, axis) + np.roll(mask, -1, axis)) / 4
    return mask


@cache
def _codes(name: str) -> NDArray[np.int64]:
    """Each group's value of an attribute, as a number."""
    return np.array([GROUP_VALUES[name].index(getattr(group, name)) for group in _masks().groups])


class _Seen:
    """An image, with what each group's best mask and colour make of it.

    Args:
        pixels: float32 (SIDE, SIDE, 3).
    """

    def __init__(self, pixels: Array) -> None:
        masks = _masks()
        frame = [pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]
        self._ground = np.median(np.concatenate(frame), axis=0)
        names, sure = _name(self._ground[None], _BACKGROUNDS)
        self._back, self.background_margin = int(names[0]), float(sure[0])
        self._rest = (pixels - self._ground).reshape(-1, 3)
        sums = masks.values @ self._rest
        gains = ((sums**2).sum(axis=1) / masks.squares).reshape(-1, masks.variants)
        #: By group: its best mask, the squared difference that it takes off, its colour less
        #: the background, and what the colour is called.
        self._chosen = np.arange(len(gains)) * masks.variants + gains.argmax(axis=1)
        self._gains = gains.max(axis=1)
        self._contrasts = sums[self._chosen] / masks.squares[self._chosen, None]
        self._names, self._sure = self._named()
        full = _COLOURS[self._names] - _BACKGROUNDS[self._back]
        #: How much of the contrast between colour and background there is: 1 is all.
        self._strengths = (self._contrasts * full).sum(axis=1) / (full**2).sum(axis=1)

    def _named(self) -> tuple[NDArray[np.int64], Array]:
        """Each colour's name and margin: as it stands, or less the background's shift."""
        shift = self._ground - _BACKGROUNDS[self._back]
        names, sure = _name(self._ground + self._contrasts, _COLOURS)
        others, as_sure = _name(self._ground + self._contrasts - shift, _COLOURS)
        better = as_sure > sure
        return np.where(better, others, names), np.where(better, as_sure, sure)

    def nearest(self) -> tuple[Scene, list[int]]:
        """The scene with the least squared difference, and the numbers of its groups."""
        best, found = float(self._gains.max()), [int(self._gains.argmax())]
        # What is fainter than half is nearer to nothing.
        present = np.flatnonzero(self._strengths > 0.5).tolist()
        for places in PAIRS:
            first, second = (
                [kind for kind in present if _masks().groups[kind].place == place]
                for place in places
            )
            for one, other in product(first, second):
                both = float(self._gains[one] + self._gains[other])
                if both > best and self._may_pair(one, other):
                    best, found = both, [one, other]
        groups = tuple(self._group(kind) for kind in found)
        return Scene(groups, BACKGROUNDS[self._back]), found

    def _group(self, kind: int) -> Group:
        plain = _masks().groups[kind]
        colour = COLOURS[self._names[kind]]
        return Group(plain.shape, colour, plain.count, plain.place, plain.size)

    def _may_pair(self, one: int, other: int) -> bool:
        first, second = self._group(one), self._group(other)
        differ = (first.shape, first.colour) != (second.shape, second.colour)
        return differ and first.count + second.count <= MOST_OBJECTS

    def group_margins(self, scene: Scene, number: int, kind: int) -> dict[tuple[int, str], float]:
        """Of each attribute of a group, against its absence too."""
        apart = self._apart(kind)
        margins = np.full(len(apart), np.inf)
        others = apart > 0
        if len(scene.groups) == 2:  # elsewhere is another pair
            others &= _codes("place") == _codes("place")[kind]
        others[kind] = False
        margins[others] = (self._gains[kind] - self._gains[others]) / apart[others]
        absent = 2 * float(self._strengths[kind]) - 1
        found = {(number, "colour"): min(absent, float(self._sure[kind]))}
        for name in GROUP_VALUES:
            if name != "colour":
                differs = _codes(name) != _codes(name)[kind]
                found[number, name] = min(absent, float(margins[differs].min()))
        return found

    def _apart(self, kind: int) -> NDArray[np.float32]:
        """Squared distance of each group, in its best mask and colour, to one of them."""
        masks, chosen = _masks(), self._chosen
        shared = masks.values[chosen] @ masks.values[chosen[kind]]
        sizes = (self._contrasts**2).sum(axis=1) * masks.squares[chosen]
        mixed = (self._contrasts @ self._contrasts[kind]) * shared
        return np.asarray(sizes + sizes[kind] - 2 * mixed, dtype=np.float32)

    def left_over(self, kinds: list[int]) -> float:
        """The greatest local mean that the drawing of some groups does not explain, relative."""
        masks = _masks()
        rest = self._rest.copy()
        for kind in kinds:
            rest -= masks.values[self._chosen[kind]][:, None] * self._contrasts[kind]
        means = _local_means(rest.reshape(SIDE, SIDE, 3))
        contrast = np.sqrt((self._contrasts[kinds] ** 2).sum(axis=1)).min()
        greatest = float(np.sqrt((means**2).sum(axis=2)).max())
        return greatest / max(1.0, min(float(contrast), _MOST_CONTRAST))


def _name(colours: Array, known: Array) -> tuple[NDArray[np.int64], Array]:
    """The nearest of the known colours to each, and the margin to the others.

    Args:
        colours: float32 (n, 3).
        known: float32 (k, 3).

    Returns:
        Numbers, int64 (n,), and margins, float32 (n,).
    """
    steps = colours[:, None] - known
    apart = (steps**2).sum(axis=2)
    nearest = apart.argmin(axis=1)
    ways = known[None] - known[nearest][:, None]
    lengths = (ways**2).sum(axis=2)
    rows = np.arange(len(colours))
    along = (ways * steps[rows, nearest][:, None]).sum(axis=2)
    margins = np.where(lengths > 0, 1 - 2 * along / np.maximum(lengths, 1), np.inf).min(axis=1)
    # Far from all of them it has no name.
    off = 1 - (1 - MARGIN) * np.sqrt(apart[rows, nearest]) / OFF_COLOUR
    return nearest, np.minimum(margins, off)


def _local_means(values: Array) -> Array:
    """Means over windows, with zeros beyond the edge; float32 (SIDE, SIDE, 3)."""
    reach = _WINDOW // 2
    sums = np.pad(values, ((reach + 1, reach), (reach + 1, reach), (0, 0)))
    for axis in (0, 1):
        sums = np.cumsum(sums, axis=axis)
    inner, outer = slice(None, -_WINDOW), slice(_WINDOW, None)
    total = sums[outer, outer] - sums[inner, outer] - sums[outer, inner] + sums[inner, inner]
    return np.asarray(total / _WINDOW**2, dtype=np.float32)
