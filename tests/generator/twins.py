"""The same tiny model twice: ours, and diffusers' with the same random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generator.s3dit import S3DiT, S3DiTConfig

TINY = S3DiTConfig(
    dim=64,
    n_layers=3,
    n_refiner_layers=2,
    n_heads=2,
    n_kv_heads=2,
    cap_feat_dim=48,
    axes_dims=(8, 12, 12),
    axes_lens=(256, 64, 64),
)


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Give every parameter, norms and padding tokens too, a value that shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name and parameter.ndim == 1
            is_norm |= "embedder.0.weight" in name and parameter.ndim == 1
            spread = 0.3 if is_norm else 1.0 if "pad_token" in name else parameter.shape[-1] ** -0.5
            parameter.copy_(noise * spread + (1.0 if is_norm else 0.0))


def diffusers_model(config: S3DiTConfig) -> Any:
    """Their model of this shape; the test is skipped where diffusers is not installed."""
    diffusers = pytest.importorskip("diffusers", reason="parity is with diffusers: extra generator")
    return diffusers.ZImageTransformer2DModel(**config.to_dict()).eval()


def make_twins(config: S3DiTConfig = TINY, seed: int = 0) -> tuple[S3DiT, Any]:
    """Ours and theirs, loaded strictly from ours."""
    ours = S3DiT(config).eval()
    randomise(ours, seed)
    theirs = diffusers_model(config)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def draw(
    shapes: Sequence[tuple[int, int]],
    lengths: Sequence[int],
    config: S3DiTConfig = TINY,
    seed: int = 0,
    frames: int = 1,
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Random latents, times and captions."""
    generator = torch.Generator().manual_seed(seed)
    latents = [
        torch.randn(config.in_channels, frames, height, width, generator=generator)
        for height, width in shapes
    ]
    times = torch.rand(len(shapes), generator=generator)
    captions = [torch.randn(length, config.cap_feat_dim, generator=generator) for length in lengths]
    return latents, times, captions


def distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Largest difference anywhere; shapes must agree."""
    assert [each.shape for each in one] == [each.shape for each in other]
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))
