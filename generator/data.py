"""Training data: what a data set must do, and how its items are put into batches.

Batches are planned from sizes alone, before an image is read. Items of one batch have the same
size in pixels, and a batch holds about the same number of tokens whatever that size is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from generator.codecs import ImageCodec, to_pixels
from generator.s3dit.packing import padding

Size = tuple[int, int]
Picture = NDArray[np.uint8] | Tensor

#: No bucket is longer than this many times its width, or wider.
_LONGEST = 2.5


class DataSet(Protocol):
    """Items by number. What is asked of an item twice must be answered alike."""

    def __len__(self) -> int:
        """How many."""

    def size(self, index: int) -> Size:
        """Height and width in pixels, upright, without reading the image where possible."""

    def weight(self, index: int) -> float:
        """How much the item counts, above 0 or 0; only the ratios matter."""

    def load(self, index: int, draw: np.random.Generator) -> tuple[Picture, str]:
        """The image, uint8 (H, W, 3) RGB, or its latent (C, F, h, w); and a caption.

        Where there are several captions, ``draw`` is to choose.
        """


class CaptionedData(DataSet, Protocol):
    """Items whose captions can be listed."""

    def captions(self, index: int) -> Sequence[str]:
        """All captions that :meth:`DataSet.load` chooses from."""


class Listed:
    """A data set in memory.

    Args:
        samples: Image or latent, caption and weight of each.
        factor: Pixels along a latent pixel, for the sizes of latents.
    """

    def __init__(self, samples: Iterable[tuple[Picture, str, float]], factor: int = 1) -> None:
        self._samples = list(samples)
        self._factor = factor

    def __len__(self) -> int:
        return len(self._samples)

    def size(self, index: int) -> Size:
        """See :class:`DataSet`."""
        picture = self._samples[index][0]
        if isinstance(picture, Tensor):
            return (picture.shape[-2] * self._factor, picture.shape[-1] * self._factor)
        return (picture.shape[0], picture.shape[1])

    def weight(self, index: int) -> float:
        """See :class:`DataSet`."""
        return self._samples[index][2]

    def load(self, index: int, draw: np.random.Generator) -> tuple[Picture, str]:
        """See :class:`DataSet`."""
        del draw
        return self._samples[index][:2]


class Remembered:
    """Latents in memory, each with several captions of which one is chosen when it is its turn.

    For data that fits: an image is read, shrunk and encoded once, not once an epoch.

    Args:
        samples: Latent, captions and weight of each.
        factor: Pixels along a latent pixel.

    Raises:
        ValueError: If an item has no caption.
    """

    def __init__(self, samples: Iterable[tuple[Tensor, Sequence[str], float]], factor: int) -> None:
        self._samples = [(latent, tuple(texts), weight) for latent, texts, weight in samples]
        self._factor = factor
        for index, (_, texts, _) in enumerate(self._samples):
            if not texts:
                raise ValueError(f"item {index} has no caption; give it an empty one")

    def __len__(self) -> int:
        return len(self._samples)

    def size(self, index: int) -> Size:
        """See :class:`DataSet`."""
        shape = self._samples[index][0].shape
        return (shape[-2] * self._factor, shape[-1] * self._factor)

    def weight(self, index: int) -> float:
        """See :class:`DataSet`."""
        return self._samples[index][2]

    def load(self, index: int, draw: np.random.Generator) -> tuple[Picture, str]:
        """See :class:`DataSet`."""
        latent, texts, _ = self._samples[index]
        return latent, texts[int(draw.integers(len(texts)))]


def remember(data: CaptionedData, codec: ImageCodec, size: Size) -> Remembered:
    """Read every item once and keep its latent.

    Args:
        data: The items, such as :class:`generator.shards.Shards`.
        codec: For their images.
        size: Height and width in pixels that every image is brought to, see :func:`fit`.

    Raises:
        ValueError: If the size does not divide by the codec's factor, or an item has no caption.
    """
    draw = np.random.default_rng(0)

    def items() -> Iterator[tuple[Tensor, Sequence[str], float]]:
        for index in range(len(data)):
            picture, _ = data.load(index, draw)
            if not isinstance(picture, Tensor):
                picture = codec.encode([to_pixels(fit(picture, size))])[0]
            yield picture, data.captions(index), data.weight(index)

    return Remembered(items(), codec.factor)


@dataclass(frozen=True)
class BatchOptions:
    """How items become batches.

    Args:
        tokens: Image tokens in a batch, padding included, at least 1; one item is a batch even
            where it has more.
        most: Items in a batch at most, at least 1.
        areas: Pixels of the buckets, e.g. ``(256 * 256, 512 * 512)``: an item goes to the
            largest that does not enlarge it, or to the smallest. Empty: every item keeps its
            size, cut to whole patches.
        weighting: ``sample``: an item comes as often as its weight says; ``loss``: it comes once
            an epoch, and its loss is multiplied.
    """

    tokens: int = 4096
    most: int = 256
    areas: tuple[int, ...] = ()
    weighting: Literal["sample", "loss"] = "sample"

    def __post_init__(self) -> None:
        object.__setattr__(self, "areas", tuple(self.areas))
        for name in ("tokens", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.weighting not in ("sample", "loss"):
            raise ValueError(f"weighting must be sample or loss, got {self.weighting!r}")


@dataclass(frozen=True)
class Planned:
    """A batch before it is read.

    Args:
        size: Height and width in pixels of every item.
        items: Their numbers.
        draws: A number for each item that nothing else in the run has, for its caption.
    """

    size: Size
    items: list[int]
    draws: list[int]


class BatchPlan:
    """The batches of each epoch, from a seed alone.

    Args:
        data: The items.
        step: Pixels along the side of a patch: sides are multiples of it.
        options: How.
        seed: Of the order.

    Raises:
        ValueError: If there are no items, a weight is not a finite number of 0 or more, or all
            are 0, or an item is smaller than one patch and nothing enlarges it.
    """

    def __init__(self, data: DataSet, step: int, options: BatchOptions, seed: int = 0) -> None:
        if not len(data):
            raise ValueError("the data set is empty")
        weights = np.array([data.weight(index) for index in range(len(data))], dtype=np.float64)
        if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
            raise ValueError("weights must be finite, 0 or more, and not all 0")
        #: Weight of every item, 1 on average.
        self.weights: NDArray[np.float64] = weights / weights.mean()
        self._options = options
        self._seed = seed
        self._step = step
        shapes = buckets(step, options.areas)
        self._sizes = [self._place(data.size(index), shapes, index) for index in range(len(data))]

    def epoch(self, number: int) -> list[Planned]:
        """The batches of an epoch, the same whenever they are asked for."""
        draw = np.random.default_rng((self._seed, number, 0x57494E))
        items = draw.permutation(self._chosen(draw))
        open_batches: dict[Size, list[int]] = {}
        done: list[tuple[Size, list[int]]] = []
        for item in items.tolist():
            size = self._sizes[item]
            waiting = open_batches.setdefault(size, [])
            waiting.append(item)
            if len(waiting) == self.batch_size(size):
                done.append((size, open_batches.pop(size)))
        done += open_batches.items()
        order = draw.permutation(len(done)).tolist()
        planned, first = [], number << 40
        for size, members in (done[place] for place in order):
            planned.append(Planned(size, members, list(range(first, first + len(members)))))
            first += len(members)
        return planned

    def fingerprint(self) -> str:
        """Of sizes and weights: two runs over the same plan see the same items."""
        digest = hashlib.sha256(np.array(self._sizes, dtype=np.int64).tobytes())
        digest.update(self.weights.tobytes())
        return digest.hexdigest()[:16]

    def batch_size(self, size: Size) -> int:
        """Items of this size in a full batch."""
        tokens = (size[0] // self._step) * (size[1] // self._step)
        fit = self._options.tokens // (tokens + padding(tokens))
        return max(1, min(fit, self._options.most))

    def _chosen(self, draw: np.random.Generator) -> NDArray[np.int64]:
        count = len(self.weights)
        if self._options.weighting == "loss":
            return np.flatnonzero(self.weights)
        # One offset for all: an item comes its expected number of times, rounded up or down.
        points = np.arange(count) + draw.random()
        ends = np.cumsum(self.weights)
        ends[-1] = count
        return np.searchsorted(ends, points, side="right")

    def _place(self, size: Size, shapes: dict[int, list[Size]], index: int) -> Size:
        height, width = size
        if shapes:
            fitting = [area for area in shapes if area <= height * width]
            area = max(fitting) if fitting else min(shapes)
            aspect = math.log(height / width)
            return min(shapes[area], key=lambda each: abs(math.log(each[0] / each[1]) - aspect))
        cut = (height - height % self._step, width - width % self._step)
        if min(cut) < 1:
            raise ValueError(
                f"item {index} is {height} x {width} pixels, smaller than one patch of "
                f"{self._step}. Leave it out, or give areas"
            )
        return cut


def buckets(step: int, areas: Sequence[int]) -> dict[int, list[Size]]:
    """Sizes for each area: for each height the width that goes with it, and turned; up to 2.5 : 1.

    Args:
        step: Sides are multiples of it.
        areas: In pixels.

    Raises:
        ValueError: If an area is smaller than one patch.
    """
    found: dict[int, list[Size]] = {}
    for area in areas:
        if area < step * step:
            raise ValueError(f"an area must be at least {step * step} pixels, got {area}")
        shapes = []
        for height in range(step, int(math.sqrt(area * _LONGEST)) + 1, step):
            width = max(step, round(area / height / step) * step)
            if max(height / width, width / height) <= _LONGEST:
                shapes += [(height, width), (width, height)]
        found[area] = sorted(set(shapes)) or [(step, step)]
    return found


def fit(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Shrink or enlarge an image until it covers a size, and cut the middle out.

    Args:
        image: uint8 (H, W, 3).
        size: Height and width wanted.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    scale = min(height / size[0], width / size[1])
    high, wide = size[0] * scale, size[1] * scale
    top, left = (height - high) / 2, (width - wide) / 2
    box = (left, top, left + wide, top + high)
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC, box)
    return np.asarray(resized)
