"""Codecs: what goes in comes out, and the Flux autoencoder's numbers are diffusers'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from generator.codecs import BlockDct, FluxAutoencoder, to_array, to_pixels
from tests.generator.twins import distance


def noise(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4))
def test_all_channels_lose_nothing(block: int, rows: int, columns: int) -> None:
    codec = BlockDct(block, 3 * block * block)
    image = noise(rows * block, columns * block)
    latent = codec.encode([image])
    assert latent[0].shape == (3 * block * block, 1, rows, columns)
    assert distance(codec.decode(latent), [image]) < 1e-4


def test_more_channels_are_never_worse(photos: Path) -> None:
    for path in sorted(photos.rglob("*.jpg"))[:3]:
        image = to_pixels(Image.open(path).resize((128, 96)))
        errors = []
        for channels in (3, 16, 32, 48):
            codec = BlockDct(4, channels)
            latent = codec.encode([image])
            assert latent[0].shape == (channels, 1, 24, 32)
            errors.append(float((codec.decode(latent)[0] - image).square().mean()))
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 1e-10


def test_latents_of_photographs_are_near_unit_variance(photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))[:20]
    images = [to_pixels(Image.open(path).resize((128, 128))) for path in paths]
    latents = torch.cat([each.flatten(1) for each in BlockDct().encode(images)], dim=1)
    spread = latents.std(dim=1)
    assert float(spread.min()) > 0.3
    assert float(spread.max()) < 3


def test_a_flat_image_is_one_number_a_colour() -> None:
    latent = BlockDct().encode([torch.full((3, 8, 8), 0.5)])[0]
    assert int((latent.abs() > 1e-6).sum()) == 4
    assert BlockDct().factor == 4


def test_pixels_go_there_and_back() -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(to_array(to_pixels(array)), array)
    assert np.array_equal(to_array(to_pixels(Image.fromarray(array))), array)
    assert to_pixels(Image.new("L", (4, 4), 255)).max() == 1
    assert to_array(torch.full((3, 1, 1), 9.0)).tolist() == [[[255] * 3]]
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), got float64"):
        to_pixels(np.zeros((2, 2, 3)))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 4, got \(8, 6\)"):
        BlockDct().encode([torch.zeros(3, 8, 6)])
    with pytest.raises(ValueError, match=r"shape \(3, H, W\), got \(1, 8, 8\)"):
        BlockDct().encode([torch.zeros(1, 8, 8)])
    with pytest.raises(ValueError, match=r"block must be in \[1, 16\], got 0"):
        BlockDct(0)
    with pytest.raises(ValueError, match=r"channels must be in \[1, 48\], got 49"):
        BlockDct(4, 49)


def test_flux_autoencoder_from_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the autoencoder is diffusers': extra generator")
    from tests.generator.official import make_autoencoder

    model = make_autoencoder()
    model.save_pretrained(tmp_path)
    codec = FluxAutoencoder.from_pretrained(tmp_path)
    assert (codec.channels, codec.factor) == (16, 8)
    image = noise(32, 48)
    latent = codec.encode([image, noise(16, 16)])
    assert [each.shape for each in latent] == [(16, 1, 4, 6), (16, 1, 2, 2)]
    with torch.no_grad():
        mean = model.encode(image[None]).latent_dist.mean
        decoded = model.decode(mean).sample
    assert distance([latent[0][:, 0]], [((mean - 0.1159) * 0.3611)[0]]) < 1e-5
    assert distance(codec.decode(latent[:1]), [decoded[0]]) < 1e-4
    with pytest.raises(ValueError, match="multiples of 8"):
        codec.encode([noise(12, 16)])
