"""Reference images: where their tokens stand, as diffusers 0.42 has it.

An item is text segment, image, segment, image, ..., the last image being the target; a segment
may follow. Positions run along time: a segment of n tokens takes n steps, the image behind it
stands at the step after, its SigLIP features one further, the next segment one further still.
(The report says that images differ by one step; the published code does this.)

Two oddities of the published code are kept while ``omni_quirks`` holds, since weights trained
with it expect them: the padding of a text segment is counted twice, which shifts the positions
of the segments behind it; and a grid of SigLIP features is read channels first, which mixes
rows of different places. A model trained from the start does better without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from generator.s3dit.config import SEQUENCE_MULTIPLE, S3DiTConfig
from generator.s3dit.packing import padding, patchify

Size = tuple[int, int, int]

_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Reference:
    """An image that an item follows.

    Args:
        latent: (in_channels, F, H, W), clean; ``None``: the model sees the features alone.
        features: SigLIP features, (rows, columns, siglip_feat_dim); ``None``: latent alone.
    """

    latent: Tensor | None = None
    features: Tensor | None = None


@dataclass(frozen=True)
class Strip:
    """All pieces of one kind (text, images or features) of one item.

    Args:
        counts: Tokens of each piece.
        fillers: Padding tokens behind each.
        clean: Whether each piece belongs to a reference, and so to time 1.
        points: Positions of all of them, int64 (tokens, 3).
    """

    counts: list[int]
    fillers: list[int]
    clean: list[bool]
    points: Tensor

    @property
    def length(self) -> int:
        """Tokens in all, padding included."""
        return sum(self.counts) + sum(self.fillers)

    def clean_tokens(self) -> Tensor:
        """Which tokens belong to time 1, bool (tokens,)."""
        sizes = torch.tensor([a + b for a, b in zip(self.counts, self.fillers, strict=True)])
        return torch.tensor(self.clean).repeat_interleave(sizes)


def text_strip(lengths: Sequence[int], images: int, quirks: bool) -> tuple[Strip, list[int]]:
    """Lay out text segments.

    Args:
        lengths: Tokens of each segment.
        images: Images of the item, target included.
        quirks: Whether padding is counted twice.

    Returns:
        The strip, and the time of the image behind each segment.

    Raises:
        ValueError: If there are fewer segments than images.
    """
    if len(lengths) < images:
        raise ValueError(
            f"an item of {images} images (target included) needs as many text segments at "
            f"least, got {len(lengths)}"
        )
    fillers = [padding(length) for length in lengths]
    points, ends, start = [], [], 1
    for length, filler in zip(lengths, fillers, strict=True):
        points.append(_line(start, length + filler))
        if quirks:
            points.append(torch.zeros(filler, 3, dtype=torch.int64))
        ends.append(start + length)
        start += length + 2
    clean = [number < images - 1 for number in range(len(lengths))]
    total = sum(lengths) + sum(fillers)
    return Strip(list(lengths), fillers, clean, torch.cat(points)[:total]), ends


def image_strip(grids: Sequence[Size | None], ends: Sequence[int]) -> Strip:
    """Lay out images.

    Args:
        grids: Frames, rows and columns of each in tokens, the target last; ``None``: a
            reference without a latent, which is padding alone.
        ends: Their times.
    """
    return _strip([None if grid is None else _grid(grid, end) for grid, end in _pairs(grids, ends)])


def feature_strip(
    sizes: Sequence[tuple[int, int] | None], latents: Sequence[Size | None], ends: Sequence[int]
) -> Strip:
    """Lay out SigLIP features, their grid stretched over the latent's rows and columns.

    Args:
        sizes: Rows and columns of each image's features; ``None``: it has none.
        latents: Frames, rows and columns of each image's latent.
        ends: Times of the images.
    """
    points: list[Tensor | None] = []
    for (size, end), latent in zip(_pairs(sizes, ends), latents, strict=True):
        grid = None if size is None else _grid((1, *size), end + 1)
        if grid is not None and size is not None and latent is not None:
            for axis in (1, 2):
                steps = max(size[axis - 1] - 1, 1)
                stretched = grid[:, axis].float() / steps * (latent[axis] - 1)
                grid[:, axis] = stretched.to(torch.int64)
        points.append(grid)
    return _strip(points)


def flatten_features(features: Tensor, quirks: bool) -> Tensor:
    """(rows, columns, width) to (rows * columns, width)."""
    rows, columns, width = features.shape
    if quirks:
        return features.permute(2, 0, 1).reshape(rows * columns, width)
    return features.reshape(rows * columns, width)


def _strip(pieces: Sequence[Tensor | None]) -> Strip:
    counts = [0 if piece is None else len(piece) for piece in pieces]
    fillers = [padding(count) if count else SEQUENCE_MULTIPLE for count in counts]
    points = []
    for piece, filler in zip(pieces, fillers, strict=True):
        points += [] if piece is None else [piece]
        points.append(torch.zeros(filler, 3, dtype=torch.int64))
    clean = [number < len(pieces) - 1 for number in range(len(pieces))]
    return Strip(counts, fillers, clean, torch.cat(points))


def _pairs(things: Sequence[_Thing], ends: Sequence[int]) -> list[tuple[_Thing, int]]:
    return list(zip(things, ends[: len(things)], strict=True))


def _line(start: int, count: int) -> Tensor:
    points = torch.zeros(count, 3, dtype=torch.int64)
    points[:, 0] = torch.arange(start, start + count)
    return points


def _grid(size: Size, start: int) -> Tensor:
    axes = [
        torch.arange(begin, begin + span) for begin, span in zip((start, 0, 0), size, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)


class OmniBatch:
    """A batch with references, cut into pieces and laid out.

    Args:
        config: The model's shape.
        latents: The targets, (in_channels, F, H, W) each.
        captions: Text segments of each item, (L, cap_feat_dim) each.
        references: References of each item, in the order of the segments before them.
        patch: Side and frames of a patch.

    Raises:
        ValueError: If the lists do not fit together, or the model takes no features.
    """

    def __init__(
        self,
        config: S3DiTConfig,
        latents: Sequence[Tensor],
        captions: Sequence[Sequence[Tensor]],
        references: Sequence[Sequence[Reference]],
        patch: tuple[int, int],
    ) -> None:
        if len(references) != len(latents):
            raise ValueError(
                f"references must have one list for each item ({len(latents)}), "
                f"got {len(references)}"
            )
        shows = any(each.features is not None for item in references for each in item)
        if shows and config.siglip_feat_dim is None:
            raise ValueError("a model with siglip_feat_dim = None takes no SigLIP features")
        self.segments: list[Tensor] = []
        self.patches: list[Tensor] = []
        self.flat_features: list[Tensor] = []
        self.grids: list[Size] = []
        self.text: list[Strip] = []
        self.images: list[Strip] = []
        self.features: list[Strip] | None = [] if shows else None
        for target, segments, given in zip(latents, captions, references, strict=True):
            self._add(config, [*given, Reference(target)], list(segments), patch)

    def _add(
        self,
        config: S3DiTConfig,
        images: list[Reference],
        segments: list[Tensor],
        patch: tuple[int, int],
    ) -> None:
        self.segments += segments
        lengths = [len(segment) for segment in segments]
        text, ends = text_strip(lengths, len(images), config.omni_quirks)
        self.text.append(text)
        cuts = [None if each.latent is None else patchify(each.latent, *patch) for each in images]
        self.patches += [cut[0] for cut in cuts if cut is not None]
        grids = [None if cut is None else cut[1] for cut in cuts]
        self.images.append(image_strip(grids, ends))
        target = grids[-1]
        assert target is not None  # noqa: S101 - the target always has a latent
        self.grids.append(target)
        if self.features is None:
            return
        shown = [each.features for each in images]
        sizes = [None if each is None else (each.shape[0], each.shape[1]) for each in shown]
        spans = [None if each.latent is None else _span(each.latent) for each in images]
        self.features.append(feature_strip(sizes, spans, ends))
        self.flat_features += [
            flatten_features(each, config.omni_quirks) for each in shown if each is not None
        ]

    @property
    def kinds(self) -> list[list[Strip]]:
        """Strips of text, images and, where there are any, features."""
        return [self.text, self.images, *([] if self.features is None else [self.features])]

    @property
    def target_counts(self) -> list[int]:
        """Tokens of each item's target."""
        return [strip.counts[-1] for strip in self.images]

    @property
    def target_firsts(self) -> list[int]:
        """Where each item's target starts in its sequence."""
        return [
            text.length + image.length - image.counts[-1] - image.fillers[-1]
            for text, image in zip(self.text, self.images, strict=True)
        ]

    def rows(self, *kinds: list[Strip]) -> Tensor:
        """Row of the condition for each token: the item, or batch + item where it is clean."""
        batch = len(self.text)
        return torch.cat(
            [
                item + batch * strip.clean_tokens().long()
                for item, strips in enumerate(zip(*kinds, strict=True))
                for strip in strips
            ]
        )


def _span(latent: Tensor) -> Size:
    return (latent.shape[1], latent.shape[2], latent.shape[3])
