"""S3-DiT, the single-stream diffusion transformer of Z-Image (arXiv 2511.22699).

Image and text tokens go through refiners of their own and then, as one sequence, through the
layers. Names of parameters are the published ones, so official checkpoints load strictly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from generator.s3dit.config import S3DiTConfig
from generator.s3dit.layers import Block, FinalLayer, RMSNorm, TimestepEmbedder
from generator.s3dit.omni import OmniBatch, Reference, Strip
from generator.s3dit.packing import (
    Packed,
    fill,
    interleave,
    pack,
    padding,
    patchify,
    rows_of,
    unpatchify,
)
from generator.s3dit.rope import Rope

#: Spread of the padding tokens of a new model. The published modules leave them at zero.
_PAD_SPREAD = 0.02

Grid = tuple[int, int, int]


class Captions:
    """Captions after the context refiner.

    They depend neither on the time nor on the image, so a sampler makes them once for all its
    steps: see :meth:`S3DiT.encode_captions`.
    """

    def __init__(self, packed: Packed) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed.lengths)

    def first(self, count: int) -> Captions:
        """The first ``count`` of them."""
        packed = self.packed
        lengths = packed.lengths[:count]
        return Captions(pack(torch.cat(packed.items()[:count]), packed.tables()[:count], lengths))


class S3DiT(nn.Module):
    """The model.

    Args:
        config: Its shape.

    Attributes:
        gradient_checkpointing: Recompute the blocks in the backward pass instead of keeping
            what they made.
    """

    def __init__(self, config: S3DiTConfig | None = None) -> None:
        super().__init__()
        config = config or S3DiTConfig()
        self.config = config
        self.gradient_checkpointing = False
        self.all_x_embedder = nn.ModuleDict()
        self.all_final_layer = nn.ModuleDict()
        for side, frames in config.patches:
            values = frames * side * side * config.in_channels
            self.all_x_embedder[f"{side}-{frames}"] = nn.Linear(values, config.dim)
            self.all_final_layer[f"{side}-{frames}"] = FinalLayer(config, values)
        self.noise_refiner = _blocks(config, config.n_refiner_layers, modulation=True)
        self.context_refiner = _blocks(config, config.n_refiner_layers, modulation=False)
        self.t_embedder = TimestepEmbedder(config.condition_dim)
        self.cap_embedder = _feature_embedder(config, config.cap_feat_dim)
        if config.siglip_feat_dim is not None:
            self.siglip_embedder = _feature_embedder(config, config.siglip_feat_dim)
            self.siglip_refiner = _blocks(config, config.n_refiner_layers, modulation=False)
            self.siglip_pad_token = nn.Parameter(torch.randn(1, config.dim) * _PAD_SPREAD)
        self.x_pad_token = nn.Parameter(torch.randn(1, config.dim) * _PAD_SPREAD)
        self.cap_pad_token = nn.Parameter(torch.randn(1, config.dim) * _PAD_SPREAD)
        self.layers = _blocks(config, config.n_layers, modulation=True)
        self._rope = Rope(config)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> S3DiT:  # noqa: ANN401
        """Load a checkpoint: see :func:`generator.checkpoints.load_model` for the options."""
        from generator.checkpoints import load_model

        return load_model(folder, **options)

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:  # noqa: ANN401
        """Write a checkpoint: see :func:`generator.checkpoints.save_model` for the options."""
        from generator.checkpoints import save_model

        save_model(self, folder, **options)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.x_pad_token.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return self.x_pad_token.dtype

    def forward(
        self,
        latents: Sequence[Tensor],
        times: Tensor,
        captions: Sequence[Tensor] | Captions | Sequence[Sequence[Tensor]],
        references: Sequence[Sequence[Reference]] | None = None,
        patch: tuple[int, int] | None = None,
    ) -> list[Tensor]:
        """Predict velocities, data - noise.

        Args:
            latents: One for each item, (in_channels, F, H, W), of any sizes; float.
            times: (batch,), in [0, 1]: 0 is noise alone, 1 is clean.
            captions: One for each item, (L, cap_feat_dim), L at least 1; or what
                :meth:`encode_captions` made of them. With references: a list of segments for
                each item.
            references: Images that each item follows; ``None``: no item has any.
            patch: Side and frames of a patch; ``None``: the configuration's first.

        Returns:
            One for each latent, of its shape and the model's type.

        Raises:
            ValueError: If the lists differ in length, or a shape does not fit the model.
        """
        patch = patch or self.config.patches[0]
        self._check(latents, times, captions, patch)
        if references is not None:
            if isinstance(captions, Captions):
                raise ValueError("captions must be lists of segments where references are given")
            return self._with_references(latents, times, captions, references, patch)
        if not isinstance(captions, Captions):
            captions = self.encode_captions(cast("Sequence[Tensor]", captions))
        condition = self._condition(times)
        image, grids = self._embed_images(latents, captions.packed.lengths, patch)
        image = self._run(self.noise_refiner, image, condition, rows_of(image.lengths, condition))
        whole = interleave(image, captions.packed)
        counts = [grid[0] * grid[1] * grid[2] for grid in grids]
        rows = rows_of(whole.lengths, condition)
        kept = self._run_layers(whole, condition, rows, counts)
        return self._finish(kept, condition, grids, patch)

    def encode_captions(self, captions: Sequence[Tensor]) -> Captions:
        """Embed captions and run the context refiner.

        Args:
            captions: (L, cap_feat_dim) each.

        Returns:
            What :meth:`forward` takes in the captions' place, any number of times.

        Raises:
            ValueError: If a caption is empty or of another width.
        """
        counts = [self._caption_rows(caption) for caption in captions]
        fillers = [padding(count) for count in counts]
        lengths = [count + more for count, more in zip(counts, fillers, strict=True)]
        tokens = self._embed(self.cap_embedder, list(captions))
        tokens = fill(tokens, counts, fillers, self.cap_pad_token)
        tables = {
            length: self._rope.grid(1, (length, 1, 1), self.device) for length in set(lengths)
        }
        packed = pack(tokens, [tables[length] for length in lengths], lengths)
        return Captions(self._run(self.context_refiner, packed))

    def compile_blocks(self, **options: Any) -> None:  # noqa: ANN401 - of torch.compile
        """Compile every block in place; names of parameters stay."""
        for block in self.blocks():
            block.compile(**options)

    def blocks(self) -> list[Block]:
        """All blocks, refiners first."""
        return [module for module in self.modules() if isinstance(module, Block)]

    def _check(
        self,
        latents: Sequence[Tensor],
        times: Tensor,
        captions: Sized,
        patch: tuple[int, int],
    ) -> None:
        if not len(latents) == len(captions) or times.shape != (len(latents),):
            raise ValueError(
                f"latents, times and captions must have one entry for each item, got "
                f"{len(latents)}, {tuple(times.shape)} and {len(captions)}"
            )
        if not len(latents):
            raise ValueError("latents must have at least one item")
        if patch not in self.config.patches:
            raise ValueError(f"patch must be one of {self.config.patches}, got {patch}")
        for latent in latents:
            if latent.ndim != 4 or latent.shape[0] != self.config.in_channels:
                raise ValueError(
                    f"a latent must have shape ({self.config.in_channels}, F, H, W), "
                    f"got {tuple(latent.shape)}"
                )

    def _caption_rows(self, caption: Tensor) -> int:
        width = self.config.cap_feat_dim
        if caption.ndim != 2 or caption.shape[1] != width or not caption.shape[0]:
            raise ValueError(
                f"a caption must have shape (L, {width}), L at least 1, got {tuple(caption.shape)}"
            )
        return caption.shape[0]

    def _condition(self, times: Tensor) -> Tensor:
        return self.t_embedder(times * self.config.t_scale)

    def _embed(self, embedder: nn.Module, parts: list[Tensor]) -> Tensor:
        """Embed the rows of all items at once, (all tokens, dim), in the parameters' type."""
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        return embedder(joined.to(self.dtype)).to(self.dtype)

    def _embed_images(
        self, latents: Sequence[Tensor], starts: Sequence[int], patch: tuple[int, int]
    ) -> tuple[Packed, list[Grid]]:
        cuts = [patchify(latent, *patch) for latent in latents]
        counts = [len(patches) for patches, _ in cuts]
        fillers = [padding(count) for count in counts]
        tokens = self._embed(self.all_x_embedder[_name(patch)], [patches for patches, _ in cuts])
        tokens = fill(tokens, counts, fillers, self.x_pad_token)
        tables: dict[tuple[int, Grid], Tensor] = {}
        for start, (_, grid), still in zip(starts, cuts, fillers, strict=True):
            if (start, grid) not in tables:
                tables[start, grid] = self._rope.grid(start + 1, grid, self.device, still)
        order = [tables[start, grid] for start, (_, grid) in zip(starts, cuts, strict=True)]
        lengths = [count + more for count, more in zip(counts, fillers, strict=True)]
        return pack(tokens, order, lengths), [grid for _, grid in cuts]

    def _run(
        self,
        blocks: Iterable[nn.Module],
        packed: Packed,
        condition: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Packed:
        tokens = packed.tokens
        for block in blocks:
            tokens = self._call(block, tokens, packed.rope, packed.lengths, condition, rows)
        return Packed(tokens, packed.rope, packed.lengths)

    def _run_layers(
        self,
        packed: Packed,
        condition: Tensor,
        rows: Tensor | None,
        counts: Sequence[int],
        firsts: Sequence[int] | None = None,
    ) -> Packed:
        """The layers; ``counts`` tokens from ``firsts`` (or the start) on are kept of each item.

        Nothing else is read from the last layer, so it works out nothing else.
        """
        layers = list(self.layers)
        packed = self._run(layers[:-1], packed, condition, rows)
        kept = packed.heads(counts, firsts)
        if not layers:
            return kept
        # The tokens kept are noisy, and the first rows of the condition are the noisy ones.
        asked_rows = rows_of(kept.lengths, condition)
        asked = (kept.tokens, kept.rope, kept.lengths, asked_rows)
        tokens = self._call(
            layers[-1], packed.tokens, packed.rope, packed.lengths, condition, rows, asked
        )
        return Packed(tokens, kept.rope, kept.lengths)

    def _call(self, block: nn.Module, *arguments: Any) -> Tensor:  # noqa: ANN401 - of a block
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)
        return block(*arguments)

    def _finish(
        self, kept: Packed, condition: Tensor, grids: Sequence[Grid], patch: tuple[int, int]
    ) -> list[Tensor]:
        """Velocities from the tokens of the images alone."""
        rows = rows_of(kept.lengths, condition)
        patches = self.all_final_layer[_name(patch)](kept.tokens, condition, rows)
        return [
            unpatchify(part, grid, *patch)
            for part, grid in zip(
                patches.flatten(0, 1).split(list(kept.lengths)), grids, strict=True
            )
        ]

    def _with_references(
        self,
        latents: Sequence[Tensor],
        times: Tensor,
        captions: Any,  # noqa: ANN401 - lists of segments
        references: Sequence[Sequence[Reference]],
        patch: tuple[int, int],
    ) -> list[Tensor]:
        """The forward pass over [text, images, features]; references stand at time 1."""
        noisy, clean = self._condition(times), self._condition(torch.ones_like(times))
        condition = torch.cat([noisy, clean])
        batch = OmniBatch(self.config, latents, captions, references, patch)
        text = self._embed(self.cap_embedder, batch.segments)
        whole = [self._run(self.context_refiner, self._pack(batch.text, text, self.cap_pad_token))]
        image = self._embed(self.all_x_embedder[_name(patch)], batch.patches)
        rows = batch.rows(batch.images).to(self.device)
        packed = self._pack(batch.images, image, self.x_pad_token)
        whole.append(self._run(self.noise_refiner, packed, condition, rows))
        if batch.features is not None:
            seen = self._embed(self.siglip_embedder, batch.flat_features)
            packed = self._pack(batch.features, seen, self.siglip_pad_token)
            whole.append(self._run(self.siglip_refiner, packed))
        rows = batch.rows(*batch.kinds).to(self.device)
        joined = interleave(*whole)
        kept = self._run_layers(joined, condition, rows, batch.target_counts, batch.target_firsts)
        return self._finish(kept, noisy, batch.grids, patch)

    def _pack(self, strips: Sequence[Strip], tokens: Tensor, token: Tensor) -> Packed:
        counts = [count for strip in strips for count in strip.counts]
        fillers = [filler for strip in strips for filler in strip.fillers]
        tables = [self._rope.points(strip.points.to(self.device)) for strip in strips]
        filled = fill(tokens, counts, fillers, token)
        return pack(filled, tables, [strip.length for strip in strips])


def _name(patch: tuple[int, int]) -> str:
    return f"{patch[0]}-{patch[1]}"


def _blocks(config: S3DiTConfig, count: int, modulation: bool) -> nn.ModuleList:
    return nn.ModuleList(Block(config, modulation) for _ in range(count))


def _feature_embedder(config: S3DiTConfig, width: int) -> nn.Sequential:
    return nn.Sequential(RMSNorm(width, config.norm_eps), nn.Linear(width, config.dim))
