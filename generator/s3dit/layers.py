"""The block of the S3-DiT and its parts.

Tokens come packed without fillers for a batch's sake: (batch, length, dim) where all items have
the same length, else (1, all tokens, dim) and the lengths beside them. Attention is then run
over each item alone and no mask is needed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from generator.s3dit.config import S3DiTConfig
from generator.s3dit.rope import rotate

#: Of the norms of queries and keys, whatever the configuration says of the others.
QK_NORM_EPS = 1e-5


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, the mean square in float32.

    Args:
        width: Length of the last axis.
        eps: Added to the mean square.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, values: Tensor, scale: Tensor | None = None) -> Tensor:
        """Norm the last axis; ``scale``, where given, stands for the weight."""
        scale = self.weight if scale is None else scale
        if values.dtype == scale.dtype == torch.float32 and not torch.compiler.is_compiling():
            return _ScaledNorm.apply(values, scale, self.eps)
        inverse = _inverse_length(values, self.eps)
        return (values * inverse).to(values.dtype) * scale


def _inverse_length(values: Tensor, eps: float) -> Tensor:
    # One reading of the values, where a mean of squares would write them out first.
    length = torch.linalg.vector_norm(values, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(length.square() / values.shape[-1] + eps)


class _ScaledNorm(torch.autograd.Function):
    """RMSNorm in float32, its gradient in closed form: half the time of what autograd derives.

    With n = x / r the normed values and g the gradient times the scale, x receives
    (g - n mean(g n)) / r; eps is part of r alone.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, scale: Tensor, eps: float) -> Tensor:
        inverse = _inverse_length(values, eps)
        normed = values * inverse
        ctx.save_for_backward(normed, inverse, scale)
        return normed * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        normed, inverse, scale = ctx.saved_tensors
        inner = gradient * scale
        along = torch.linalg.vecdot(inner, normed).unsqueeze(-1) / normed.shape[-1]
        return (
            torch.addcmul(inner, normed, along, value=-1).mul_(inverse),
            (gradient * normed).sum_to_size(scale.shape),
            None,
        )


class Attention(nn.Module):
    """Full attention of each item over itself, with rotary positions."""

    def __init__(self, config: S3DiTConfig) -> None:
        super().__init__()
        dim, head = config.dim, config.head_dim
        self.head_dim = head
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim, bias=False)])
        self.norm_q = RMSNorm(head, QK_NORM_EPS) if config.qk_norm else nn.Identity()
        self.norm_k = RMSNorm(head, QK_NORM_EPS) if config.qk_norm else nn.Identity()

    def forward(
        self,
        tokens: Tensor,
        rope: Tensor,
        lengths: tuple[int, ...],
        asked: tuple[Tensor, Tensor, tuple[int, ...]] | None = None,
    ) -> Tensor:
        """Attend; ``asked`` are the tokens, table and lengths of the queries where not all ask."""
        asking, turns, counts = asked or (tokens, rope, lengths)
        heads = (-1, self.head_dim)
        query = rotate(self.norm_q(self.to_q(asking).unflatten(-1, heads)), turns)
        key = rotate(self.norm_k(self.to_k(tokens).unflatten(-1, heads)), rope)
        value = self.to_v(tokens).unflatten(-1, heads)
        # Under autocast the norms give float32.
        query, key = query.type_as(value), key.type_as(value)
        return self.to_out[0](_attend(query, key, value, counts, lengths))


def _attend(
    query: Tensor, key: Tensor, value: Tensor, counts: tuple[int, ...], lengths: tuple[int, ...]
) -> Tensor:
    """Attention inside each item: (batch, tokens, heads, head_dim) to (batch, tokens, dim)."""
    if query.shape[0] == key.shape[0] == len(lengths):
        return _dense(query, key, value)
    runs = _runs(counts, lengths)
    asked = query.flatten(0, 1).split([many * count for count, _, many in runs])
    sizes = [many * length for _, length, many in runs]
    keys, values = (each.flatten(0, 1).split(sizes) for each in (key, value))
    done = [
        _dense(
            asked[run].unflatten(0, (many, count)),
            keys[run].unflatten(0, (many, length)),
            values[run].unflatten(0, (many, length)),
        ).flatten(0, 1)
        for run, (count, length, many) in enumerate(runs)
    ]
    return torch.cat(done).view(*query.shape[:2], -1)


def _runs(counts: tuple[int, ...], lengths: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Items one after the other that agree: queries and keys of each, and how many items."""
    runs: list[tuple[int, int, int]] = []
    for count, length in zip(counts, lengths, strict=True):
        if runs and runs[-1][:2] == (count, length):
            runs[-1] = (count, length, runs[-1][2] + 1)
        else:
            runs.append((count, length, 1))
    return runs


def _dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    )
    return attended.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), hidden width int(dim / 3 * 8)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = int(dim / 3 * 8)
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply to the last axis."""
        return self.w2(F.silu(self.w1(tokens)) * self.w3(tokens))


class Block(nn.Module):
    """Attention and feed-forward, each with a norm before and one after (sandwich).

    x + tanh(g1) norm2(attention((1 + s1) norm1(x))), then the same with the feed-forward, where
    s1, g1, s2, g2 are linear in the conditioning vector. Without modulation s = 0 and tanh(g)
    is 1.

    Args:
        config: The model's shape.
        modulation: Whether the block is conditioned.
    """

    def __init__(self, config: S3DiTConfig, modulation: bool = True) -> None:
        super().__init__()
        dim, eps = config.dim, config.norm_eps
        self.attention = Attention(config)
        self.feed_forward = FeedForward(dim)
        self.attention_norm1 = RMSNorm(dim, eps)
        self.ffn_norm1 = RMSNorm(dim, eps)
        self.attention_norm2 = RMSNorm(dim, eps)
        self.ffn_norm2 = RMSNorm(dim, eps)
        if modulation:
            self.adaLN_modulation = nn.Sequential(nn.Linear(config.condition_dim, 4 * dim))
        self.modulation = modulation

    def forward(
        self,
        tokens: Tensor,
        rope: Tensor,
        lengths: tuple[int, ...],
        condition: Tensor | None = None,
        rows: Tensor | None = None,
        asked: tuple[Tensor, Tensor, tuple[int, ...], Tensor | None] | None = None,
    ) -> Tensor:
        """Run the block.

        Args:
            tokens: (batch, length, dim), or (1, all tokens, dim).
            rope: (1 or batch, length, head_dim / 2), complex64.
            lengths: Tokens of each item.
            condition: (rows, condition_dim); left out by a block without modulation.
            rows: The row of ``condition`` for every token, int64 (all tokens,); ``None``: one
                row for each item of a batch of one length.
            asked: Some of the tokens, with their table, lengths and rows: the others are seen
                by these, and not worked out themselves.

        Returns:
            As ``tokens``, or as the tokens asked for.
        """
        scales = self._scales(condition)
        normed = self.attention_norm1(tokens, spread(scales[0], rows))
        if asked is None:
            attended = self.attention(normed, rope, lengths)
        else:
            tokens, turns, counts, rows = asked
            asking = self.attention_norm1(tokens, spread(scales[0], rows))
            attended = self.attention(normed, rope, lengths, (asking, turns, counts))
        tokens = tokens + self.attention_norm2(attended, spread(scales[1], rows))
        fed = self.feed_forward(self.ffn_norm1(tokens, spread(scales[2], rows)))
        return tokens + self.ffn_norm2(fed, spread(scales[3], rows))

    def _scales(self, condition: Tensor | None) -> list[Tensor]:
        """What the four norms multiply by: their weights with scale or gate taken in."""
        norms = (self.attention_norm1, self.attention_norm2, self.ffn_norm1, self.ffn_norm2)
        if not self.modulation:
            return [norm.weight for norm in norms]
        if condition is None:
            raise ValueError("a block with modulation needs a condition")
        before, gate, before_ffn, gate_ffn = self.adaLN_modulation(condition).chunk(4, dim=-1)
        factors = (1 + before, gate.tanh(), 1 + before_ffn, gate_ffn.tanh())
        return [norm.weight * factor for norm, factor in zip(norms, factors, strict=True)]


class FinalLayer(nn.Module):
    """LayerNorm without weights, times 1 + Linear(silu(condition)), then to a patch."""

    def __init__(self, config: S3DiTConfig, out: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(config.dim, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(config.dim, out)
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(config.condition_dim, config.dim)
        )

    def forward(self, tokens: Tensor, condition: Tensor, rows: Tensor | None = None) -> Tensor:
        """Arguments as :meth:`Block.forward`; gives (..., values of a patch)."""
        return self.linear(
            self.norm_final(tokens) * spread(1 + self.adaLN_modulation(condition), rows)
        )


class TimestepEmbedder(nn.Module):
    """Cosines, then sines, of 128 frequencies, through two linear layers."""

    def __init__(self, out: int, hidden: int = 1024, frequencies: int = 128) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * frequencies, hidden), nn.SiLU(), nn.Linear(hidden, out)
        )
        self.frequencies = frequencies

    def forward(self, times: Tensor) -> Tensor:
        """Embed scaled times, float (batch,), into (batch, out)."""
        steps = torch.arange(self.frequencies, dtype=torch.float32, device=times.device)
        # In this order: times are near 1000, so a rounding here shows in the fourth digit.
        frequencies = torch.exp(-math.log(10000.0) * steps / self.frequencies)
        angles = times[:, None].float() * frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))


def spread(values: Tensor, rows: Tensor | None) -> Tensor:
    """Values (rows, dim) shaped to multiply tokens; (dim,) stays."""
    if values.ndim == 1:
        return values
    return values.unsqueeze(1) if rows is None else values[rows].unsqueeze(0)
