"""Between pixels and latents: the Flux autoencoder, and a fixed transform that needs no weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from generator.checkpoints import refuse_partial, whole_or_error


class ImageCodec(Protocol):
    """What a codec does. Pixels are float32 (3, H, W) in [-1, 1], RGB."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""

    @property
    def factor(self) -> int:
        """Pixels along the side of one latent pixel."""

    def encode(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Latents, float32 (channels, 1, H / factor, W / factor); sides must divide evenly."""

    def decode(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Pixels, not clipped."""


class BlockDct:
    """A fixed, orthonormal transform: opponent colours, then a cosine transform of each block.

    Nothing is learned and nothing need be loaded. The strongest coefficients are kept, in a
    fixed order, each divided by its usual spread in photographs, so that latents are near unit
    variance. With all 3 block^2 channels it loses nothing.

    Args:
        block: Pixels along the side of a block, 1 to 16.
        channels: Coefficients kept, 1 to 3 block^2.

    Raises:
        ValueError: If either is out of range.
    """

    def __init__(self, block: int = 4, channels: int = 16) -> None:
        if not 1 <= block <= 16:
            raise ValueError(f"block must be in [1, 16], got {block}")
        if not 1 <= channels <= 3 * block * block:
            raise ValueError(f"channels must be in [1, {3 * block * block}], got {channels}")
        self.block = block
        self._channels = channels

    @property
    def channels(self) -> int:
        """See :class:`ImageCodec`."""
        return self._channels

    @property
    def factor(self) -> int:
        """See :class:`ImageCodec`."""
        return self.block

    def encode(self, images: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`ImageCodec`."""
        return [self._encode(_checked(image, self.block)) for image in images]

    def decode(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`ImageCodec`."""
        return [self._decode(latent) for latent in latents]

    def _encode(self, image: Tensor) -> Tensor:
        rows, columns = (side // self.block for side in image.shape[1:])
        cut = image.float().reshape(3, rows, self.block, columns, self.block)
        flat = cut.permute(0, 2, 4, 1, 3).flatten(0, 2).flatten(1)
        found = self._basis.to(image.device) @ flat
        return found.view(self.channels, 1, rows, columns)

    def _decode(self, latent: Tensor) -> Tensor:
        _, _, rows, columns = latent.shape
        flat = self._inverse.to(latent.device) @ latent.float().flatten(1)
        cut = flat.view(3, self.block, self.block, rows, columns)
        return cut.permute(0, 3, 1, 4, 2).reshape(3, rows * self.block, columns * self.block)

    @cached_property
    def _spreads(self) -> Tensor:
        """Usual spread of each coefficient, (3 block^2,), in order colour, row, column.

        Of 150 photographs at 128 pixels: 0.77, 0.27 and 0.14 a pixel for the means of the three
        colours, and about 0.17 / (row + column) of that for the rest.
        """
        steps = torch.arange(self.block)
        order = (steps[:, None] + steps[None, :]).float()
        fall = torch.where(order > 0, 0.17 / order.clamp(min=1), torch.ones(()))
        colours = torch.tensor([0.77, 0.27, 0.14]) * self.block
        return (colours[:, None, None] * fall).flatten()

    @cached_property
    def _kept(self) -> Tensor:
        return torch.argsort(self._spreads, descending=True, stable=True)[: self.channels]

    @cached_property
    def _orthonormal(self) -> Tensor:
        """(3 block^2, 3 block^2), rows are coefficients, columns are colour, row, column."""
        steps = torch.arange(self.block, dtype=torch.float64)
        waves = torch.cos(math.pi * (2 * steps[None] + 1) * steps[:, None] / (2 * self.block))
        waves *= torch.where(steps > 0, 2.0, 1.0)[:, None].sqrt() / math.sqrt(self.block)
        opponents = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
        opponents /= torch.linalg.vector_norm(opponents, dim=1, keepdim=True)
        return torch.kron(opponents, torch.kron(waves, waves))

    @cached_property
    def _basis(self) -> Tensor:
        rows = self._orthonormal[self._kept]
        return (rows / self._spreads[self._kept, None].double()).float()

    @cached_property
    def _inverse(self) -> Tensor:
        rows = self._orthonormal[self._kept]
        return (rows * self._spreads[self._kept, None].double()).T.float().contiguous()


class FluxAutoencoder:
    """The autoencoder of Flux and Z-Image, or any ``AutoencoderKL``, through diffusers.

    Args:
        model: A ``diffusers.AutoencoderKL``, in evaluation mode.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - diffusers is optional
        self.model = model

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> FluxAutoencoder:
        """Load from a folder as diffusers writes it; nothing is fetched, no pickle is read.

        Args:
            folder: With ``config.json`` and safetensors.
            device: Where the weights go.
            dtype: Of the arithmetic; the published code decodes in float32.

        Raises:
            ImportError: If diffusers is not installed.
            CheckpointError: If the folder lacks a file or a weight.
        """
        try:
            from diffusers import AutoencoderKL
        except ImportError as error:
            raise ImportError(
                "the Flux autoencoder needs diffusers: pip install 'winnow[generator]'"
            ) from error
        with whole_or_error(folder):
            model, notes = AutoencoderKL.from_pretrained(
                str(folder),
                torch_dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        refuse_partial(folder, notes, ("missing_keys", "unexpected_keys"))
        return cls(model.to(device).eval())

    @property
    def channels(self) -> int:
        """See :class:`ImageCodec`."""
        return int(self.model.config.latent_channels)

    @property
    def factor(self) -> int:
        """See :class:`ImageCodec`."""
        return int(2 ** (len(self.model.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, images: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`ImageCodec`; the mode of the posterior, (z - shift) x scale."""
        config = self.model.config
        found = []
        for image in images:
            pixels = _checked(image, self.factor).to(self.model.device, self.model.dtype)
            mode = self.model.encode(pixels.unsqueeze(0)).latent_dist.mode()
            latent = (mode - (config.shift_factor or 0.0)) * config.scaling_factor
            found.append(latent.float().transpose(0, 1))
        return found

    @torch.no_grad()
    def decode(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`ImageCodec`."""
        config = self.model.config
        found = []
        for latent in latents:
            values = latent.transpose(0, 1).to(self.model.device, self.model.dtype)
            values = values / config.scaling_factor + (config.shift_factor or 0.0)
            found.append(self.model.decode(values, return_dict=False)[0].squeeze(0).float())
        return found


def to_pixels(image: Image.Image | NDArray[np.uint8]) -> Tensor:
    """An image as codecs take it.

    Args:
        image: Of any mode, or uint8 (H, W, 3) RGB.

    Returns:
        Float32 (3, H, W) in [-1, 1].
    """
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"an image must be uint8 (H, W, 3), got {image.dtype} {tuple(image.shape)}"
        )
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1


def to_array(pixels: Tensor) -> NDArray[np.uint8]:
    """Float (3, H, W) to uint8 (H, W, 3); values outside [-1, 1] are clipped."""
    levels = ((pixels.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _checked(image: Tensor, factor: int) -> Tensor:
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"an image must have shape (3, H, W), got {tuple(image.shape)}")
    if image.shape[1] % factor or image.shape[2] % factor:
        raise ValueError(
            f"the sides of an image must be multiples of {factor}, got {tuple(image.shape[1:])}"
        )
    return image
