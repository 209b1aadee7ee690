"""Flow matching: x_t = t data + (1 - t) noise, and the model learns the velocity data - noise.

Times run from 0, noise alone, to 1, clean. Sources: arXiv 2511.22699 for the path and the
logit-normal times, arXiv 2403.03206 for their form, Flux for the shift by resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generator.s3dit import S3DiTConfig
from generator.s3dit.packing import padding


@dataclass(frozen=True)
class FlowOptions:
    """How noise is put on and captions are left out.

    Args:
        mean: Location of the normal whose sigmoid is the noise level 1 - t; above 0 means more
            noise.
        std: Its spread, above 0.
        shift: Noise levels move towards 1 by this factor, above 0; ``None``: by the number of
            image tokens, see :func:`resolution_shift`.
        caption_dropout: Share of captions put aside for the empty one, in [0, 1], so that
            guidance has something to guide away from.
    """

    mean: float = 0.0
    std: float = 1.0
    shift: float | None = None
    caption_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        if self.shift is not None and self.shift <= 0:
            raise ValueError(f"shift must be above 0, got {self.shift}")
        if not 0 <= self.caption_dropout <= 1:
            raise ValueError(f"caption_dropout must be in [0, 1], got {self.caption_dropout}")


@dataclass(frozen=True)
class FlowBatch:
    """What a training step needs.

    Args:
        noised: Latents with noise, (C, F, H, W) each.
        times: (batch,), in (0, 1).
        captions: Captions, some of them replaced by the empty one.
        targets: Velocities, data - noise.
    """

    noised: list[Tensor]
    times: Tensor
    captions: list[Tensor]
    targets: list[Tensor]

    def some(self, items: list[int]) -> FlowBatch:
        """The items of these numbers."""
        lists = (self.noised, self.captions, self.targets)
        noised, captions, targets = ([each[item] for item in items] for each in lists)
        return FlowBatch(noised, self.times[items], captions, targets)

    def lengths(self, config: S3DiTConfig) -> list[int]:
        """Tokens that a model works on for each item, padding included."""
        return [
            sum(count + padding(count) for count in (image_tokens(noised, config), len(caption)))
            for noised, caption in zip(self.noised, self.captions, strict=True)
        ]


def shifted(sigma: Tensor, shift: float | Tensor) -> Tensor:
    """Noise levels in [0, 1] moved towards 1: s sigma / (1 + (s - 1) sigma)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def resolution_shift(tokens: int) -> float:
    """The shift for an image of so many tokens: e^mu, mu linear, 0.5 at 256 and 1.15 at 4096.

    More pixels need more noise to be destroyed as far. Constants of Flux and of Z-Image's
    inference code; not clipped outside that range.
    """
    slope = (1.15 - 0.5) / (4096 - 256)
    return math.exp(0.5 + slope * (tokens - 256))


def image_tokens(latent: Tensor, config: S3DiTConfig) -> int:
    """Tokens of a latent (C, F, H, W), without padding."""
    side, frames = config.patches[0]
    return math.prod(latent.shape[1:]) // (side * side * frames)


def draw_times(
    tokens: Sequence[int], options: FlowOptions, generator: torch.Generator | None = None
) -> Tensor:
    """Times for items of so many image tokens.

    Returns:
        Float32 (items,), in (0, 1), on the CPU.
    """
    normal = torch.randn(len(tokens), generator=generator)
    sigma = torch.sigmoid(options.mean + options.std * normal)
    shifts = [options.shift or resolution_shift(count) for count in tokens]
    return 1 - shifted(sigma, torch.tensor(shifts))


def make_batch(
    latents: Sequence[Tensor],
    captions: Sequence[Tensor],
    empty: Tensor,
    config: S3DiTConfig,
    options: FlowOptions,
    generator: torch.Generator | None = None,
) -> FlowBatch:
    """Put noise on latents and leave captions out.

    All randomness is drawn on the CPU, so a seed means the same on any device.

    Args:
        latents: Clean, (C, F, H, W) each, float.
        captions: (L, width) each.
        empty: The caption of an empty text, (L, width).
        config: The model's shape, for the number of tokens.
        options: How.
        generator: On the CPU; ``None``: torch's own.

    Returns:
        The batch, on the latents' devices.
    """
    times = draw_times([image_tokens(each, config) for each in latents], options, generator)
    dropped = torch.rand(len(captions), generator=generator) < options.caption_dropout
    noised, targets = [], []
    for latent, time in zip(latents, times.tolist(), strict=True):
        noise = torch.randn(latent.shape, generator=generator).to(latent.device)
        noised.append(torch.lerp(noise, latent.float(), time))
        targets.append(latent.float() - noise)
    kept = [
        empty if is_out else caption
        for caption, is_out in zip(captions, dropped.tolist(), strict=True)
    ]
    return FlowBatch(noised, times.to(latents[0].device), kept, targets)


def flow_losses(velocities: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean squared error of each item, float32 (batch,)."""
    return torch.stack(
        [
            (velocity.float() - target).square().mean()
            for velocity, target in zip(velocities, targets, strict=True)
        ]
    )
