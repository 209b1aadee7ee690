"""Between pictures and tokens: patches, padding with learned tokens, packing of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generator.s3dit.config import SEQUENCE_MULTIPLE


@dataclass(frozen=True)
class Packed:
    """Tokens of a batch without fillers between the items.

    Args:
        tokens: (batch, length, dim) where all items have one length, else (1, all tokens, dim).
        rope: Their rotary table, (1 or batch, length, head_dim / 2) or (1, all tokens, ...).
        lengths: Tokens of each item.
    """

    tokens: Tensor
    rope: Tensor
    lengths: tuple[int, ...]

    def items(self) -> list[Tensor]:
        """The tokens of each item, (length, dim)."""
        return list(self.tokens.flatten(0, 1).split(list(self.lengths)))

    def tables(self) -> list[Tensor]:
        """The rotary table of each item."""
        if self.rope.shape[0] == 1 and is_even(self.lengths):
            return [self.rope[0]] * len(self.lengths)
        return list(self.rope.flatten(0, 1).split(list(self.lengths)))

    def heads(self, counts: Sequence[int], firsts: Sequence[int] | None = None) -> Packed:
        """Some tokens of each item: ``counts`` from ``firsts`` on, or from the start."""
        firsts = firsts or [0] * len(counts)
        if is_even(counts) and is_even(firsts) and is_even(self.lengths):
            span = slice(firsts[0], firsts[0] + counts[0])
            return Packed(self.tokens[:, span], self.rope[:, span], tuple(counts))
        spans = [slice(first, first + count) for first, count in zip(firsts, counts, strict=True)]
        tokens = torch.cat([item[span] for item, span in zip(self.items(), spans, strict=True)])
        tables = [table[span] for table, span in zip(self.tables(), spans, strict=True)]
        return pack(tokens, tables, counts)


def is_even(lengths: Sequence[int]) -> bool:
    """Whether all items have one length."""
    return len(set(lengths)) == 1


def padding(count: int) -> int:
    """Tokens that fill ``count`` up to a multiple of 32."""
    return -count % SEQUENCE_MULTIPLE


def pack(tokens: Tensor, tables: Sequence[Tensor], lengths: Sequence[int]) -> Packed:
    """Put tokens and rotary tables into their common shape.

    Args:
        tokens: (all tokens, dim).
        tables: One for each item; the same object for items at the same positions.
        lengths: Tokens of each item.
    """
    shared = all(table is tables[0] for table in tables)
    if not is_even(lengths):
        return Packed(tokens.unsqueeze(0), torch.cat(list(tables)).unsqueeze(0), tuple(lengths))
    rope = tables[0].unsqueeze(0) if shared else torch.stack(list(tables))
    return Packed(tokens.unflatten(0, (len(lengths), lengths[0])), rope, tuple(lengths))


def fill(tokens: Tensor, lengths: Sequence[int], fillers: Sequence[int], token: Tensor) -> Tensor:
    """Add a learned token behind each item.

    Args:
        tokens: (all tokens, dim).
        lengths: Tokens of each item.
        fillers: How many to add to each.
        token: (1, dim).

    Returns:
        (all tokens and fillers, dim).
    """
    if not any(fillers):
        return tokens
    pieces: list[Tensor] = []
    for item, count in zip(tokens.split(list(lengths)), fillers, strict=True):
        pieces += [item, token.expand(count, -1)] if count else [item]
    return torch.cat(pieces)


def interleave(*kinds: Packed) -> Packed:
    """One sequence an item: its tokens of the first kind, of the second, and so on."""
    lengths = tuple(map(sum, zip(*(kind.lengths for kind in kinds), strict=True)))
    if all(is_even(kind.lengths) for kind in kinds):
        batch = len(lengths)
        shared = all(kind.rope.shape[0] == 1 for kind in kinds)
        ropes = [kind.rope if shared else kind.rope.expand(batch, -1, -1) for kind in kinds]
        tokens = torch.cat([kind.tokens for kind in kinds], dim=1)
        return Packed(tokens, torch.cat(ropes, dim=1), lengths)
    tokens = torch.cat(
        [part for item in zip(*map(Packed.items, kinds), strict=True) for part in item]
    )
    tables = [torch.cat(item) for item in zip(*map(Packed.tables, kinds), strict=True)]
    return pack(tokens, tables, lengths)


def rows_of(lengths: Sequence[int], condition: Tensor) -> Tensor | None:
    """The item of every token, int64 (all tokens,).

    ``None`` where all items have one length and one row of the condition each: rows of the
    condition and items then go together as they are.
    """
    if is_even(lengths) and len(condition) == len(lengths):
        return None
    counts = torch.tensor(lengths, device=condition.device)
    items = torch.arange(len(lengths), device=condition.device)
    return items.repeat_interleave(counts, output_size=sum(lengths))


def patchify(latent: Tensor, side: int, frames: int) -> tuple[Tensor, tuple[int, int, int]]:
    """Cut a latent into patches.

    Args:
        latent: (channels, F, H, W).
        side: Rows and columns of a patch.
        frames: Frames of a patch.

    Returns:
        (tokens, frames * side * side * channels), channel fastest; and the grid's frames, rows
        and columns.

    Raises:
        ValueError: If the latent is not made of whole patches.
    """
    channels, depth, height, width = latent.shape
    if depth % frames or height % side or width % side:
        raise ValueError(
            f"a latent of {depth} x {height} x {width} is not made of patches of "
            f"{frames} x {side} x {side}"
        )
    grid = (depth // frames, height // side, width // side)
    cut = latent.reshape(channels, grid[0], frames, grid[1], side, grid[2], side)
    return cut.permute(1, 3, 5, 2, 4, 6, 0).flatten(3).flatten(0, 2), grid


def unpatchify(patches: Tensor, grid: tuple[int, int, int], side: int, frames: int) -> Tensor:
    """Undo :func:`patchify`: (tokens, values) to (channels, F, H, W)."""
    cut = patches.view(*grid, frames, side, side, -1).permute(6, 0, 3, 1, 4, 2, 5)
    return cut.flatten(5, 6).flatten(3, 4).flatten(1, 2)
