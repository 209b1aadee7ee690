"""Sampling: Euler steps along the flow, with guidance.

Conventions of Z-Image's inference code: the noise level sigma = 1 - t goes from 1 to 0,
shifted; guidance g is added to what is usually called the scale 1, so g = 0 is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from generator.flow import shifted
from generator.s3dit import Captions, S3DiT


@dataclass(frozen=True)
class SamplerOptions:
    """How to sample.

    Args:
        steps: Evaluations of the model along the path, at least 1.
        shift: Noise levels are moved towards 1 by this factor, above 0.
        guidance: g in v = positive + g (positive - negative), 0 or more; 0 needs no negative.
        normalisation: The guided velocity's norm stays within this factor of the positive
            one's; 0: it is left alone.
        truncation: Guidance stops once the time is above this; 1: it never does.
        sigmas: Noise levels to step from, falling, in (0, 1], already shifted; they stand in
            for ``steps`` and ``shift``.
    """

    steps: int = 8
    shift: float = 3.0
    guidance: float = 0.0
    normalisation: float = 0.0
    truncation: float = 1.0
    sigmas: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.shift <= 0:
            raise ValueError(f"shift must be above 0, got {self.shift}")
        for name in ("guidance", "normalisation", "truncation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.sigmas is not None:
            object.__setattr__(self, "sigmas", tuple(self.sigmas))
            self._check_sigmas(self.sigmas)

    def _check_sigmas(self, sigmas: tuple[float, ...]) -> None:
        falling = all(a > b for a, b in pairwise(sigmas))
        if not sigmas or not falling or not 0 < sigmas[-1] <= sigmas[0] <= 1:
            raise ValueError(f"sigmas must fall and be in (0, 1], got {sigmas}")

    def schedule(self) -> Tensor:
        """Noise levels, float32 (steps + 1,): falling from the first to 0.

        Unshifted they are 1, 1 - 1/N, ..., 1/N, 0. Eight steps at shift 3 are 1, .9545, .9,
        .8333, .75, .6429, .5, .3, 0.
        """
        if self.sigmas is not None:
            levels = torch.tensor(self.sigmas, dtype=torch.float32)
        else:
            levels = shifted(torch.linspace(1, 1 / self.steps, self.steps), self.shift)
        return torch.cat([levels, torch.zeros(1)])


#: The distilled model: eight steps, no guidance.
TURBO = SamplerOptions()
#: The foundation model; shift 6 and guidance 3 to 5 as its users have it.
BASE = SamplerOptions(steps=50, shift=6.0, guidance=4.0)
#: The same in the fewest steps that are recommended.
BASE_28 = replace(BASE, steps=28)

PRESETS = {"turbo": TURBO, "base": BASE, "base-28": BASE_28}


def draw_noise(seeds: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Noise that depends on each item's own seed alone, float32 on the CPU."""
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        for seed, shape in zip(seeds, shapes, strict=True)
    ]


@torch.no_grad()
def sample(
    model: S3DiT,
    noise: Sequence[Tensor],
    captions: Sequence[Tensor],
    options: SamplerOptions = TURBO,
    negatives: Sequence[Tensor] | None = None,
    on_step: Callable[[int, list[Tensor]], None] | None = None,
) -> list[Tensor]:
    """Draw latents.

    An item's outcome depends on its own noise and captions, not on its batch, but for rounding.

    Args:
        model: On any device; called once a step, with items twice where they are guided.
        noise: Where each item starts, (C, F, H, W), of any sizes: see :func:`draw_noise`.
        captions: (L, cap_feat_dim) each.
        options: How.
        negatives: What guidance leads away from, one for each item.
        on_step: Called after each step with its number and the latents.

    Returns:
        Latents, float32, on the model's device.

    Raises:
        ValueError: If guidance is asked for and negatives are not one for each item.
    """
    if options.guidance and (negatives is None or len(negatives) != len(captions)):
        given = "none" if negatives is None else len(negatives)
        raise ValueError(
            f"guidance {options.guidance:g} needs a negative for each of {len(captions)} "
            f"captions, got {given}"
        )
    device = model.device
    latents = [each.to(device, torch.float32) for each in noise]
    wanted = [*captions, *(negatives or ())] if options.guidance else list(captions)
    # Captions do not change along the path: they are refined once.
    both = model.encode_captions([each.to(device) for each in wanted])
    alone = both.first(len(captions))
    levels = options.schedule().tolist()
    for step, (level, following) in enumerate(pairwise(levels)):
        is_guided = options.guidance > 0 and 1 - level <= options.truncation
        velocities = _velocities(model, latents, 1 - level, both if is_guided else alone, options)
        latents = [
            latent + (level - following) * velocity
            for latent, velocity in zip(latents, velocities, strict=True)
        ]
        if on_step is not None:
            on_step(step, latents)
    return latents


def _velocities(
    model: S3DiT, latents: list[Tensor], time: float, captions: Captions, options: SamplerOptions
) -> list[Tensor]:
    count = len(latents)
    times = torch.full((len(captions),), time, device=model.device)
    found = [each.float() for each in model(latents * (len(captions) // count), times, captions)]
    if len(found) == count:
        return found
    return [
        guide(positive, negative, options.guidance, options.normalisation)
        for positive, negative in zip(found[:count], found[count:], strict=True)
    ]


def guide(
    positive: Tensor, negative: Tensor, guidance: float, normalisation: float = 0.0
) -> Tensor:
    """Classifier-free guidance for one item.

    Args:
        positive: Velocity under the caption, any shape.
        negative: Velocity under the negative caption.
        guidance: How far to go beyond the positive.
        normalisation: See :class:`SamplerOptions`.
    """
    guided = positive + guidance * (positive - negative)
    if not normalisation:
        return guided
    most = torch.linalg.vector_norm(positive) * normalisation
    factor = (most / torch.linalg.vector_norm(guided)).clamp(max=1.0)
    # A zero velocity has no direction to shorten.
    return guided * factor.nan_to_num(nan=1.0)
