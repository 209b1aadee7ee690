"""Embeddings with planted near-copies for the benchmarks, written to disk block by block.

Three kinds of data:

- ``planted``: items sit under a two-level tree of concepts; two of one concept have a cosine of
  about 0.5, two of one topic about 0.25.
- ``chains``: the same, but most of the families are chains.
- ``spectrum``: no concepts. A Gaussian of 256 latent dimensions whose variances fall like 1/i,
  turned into a random basis; the noise of near-copies is drawn half from the same spectrum and
  half evenly. Clean clusters flatter every method that works by cells; here there are none.

On top of that are planted families, in about these shares of all rows (``SHARES``):

- groups of near-copies of heavy-tailed size (Pareto, at most ``MOST``), whose members lie at a
  cosine between 0.85 and 0.995 from their centre, evenly;
- near misses: pairs at a cosine between 0.80 and 0.90;
- chains of 3 to 9 items, each at 0.93 from the one before: ends far apart, links close.

The rest are single items. Everything follows from the seed; rows are in random order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Kind = Literal["planted", "chains", "spectrum"]

KINDS: tuple[Kind, ...] = ("planted", "chains", "spectrum")
TOPICS, CONCEPTS = 40, 50
LATENT = 256
SHARES = {"group": 0.35, "miss": 0.10, "chain": 0.05}
CHAIN_SHARES = {"group": 0.15, "miss": 0.05, "chain": 0.60}
MOST = 1000
_MEAN_SIZE = {"group": 4.2, "miss": 2.0, "chain": 6.0}
_BLOCK = 65_536
_DRAWN = 4096


@dataclass(frozen=True)
class Truth:
    """What was planted, by row.

    Args:
        kind: 0 single, 1 group, 2 near miss, 3 chain; uint8 (n,).
        group: Planted family of each row, int64 (n,); singles have one of their own.
    """

    kind: NDArray[np.uint8]
    group: NDArray[np.int64]


class _Space(Protocol):
    """Where items lie before near-copies are planted."""

    def items(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Unrelated items: unit rows, float32 (count, width)."""
        ...

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Directions in which copies move: unit rows, float32 (count, width)."""
        ...


@dataclass(frozen=True)
class _Concepts:
    """Items of a concept share its direction and that of its topic; noise is even."""

    topics: torch.Tensor
    concepts: torch.Tensor

    def items(self, count: int, generator: torch.Generator) -> torch.Tensor:
        concept = torch.randint(len(self.concepts), (count,), generator=generator)
        own = _directions(count, self.topics.shape[1], generator)
        topic = self.topics[concept // CONCEPTS]
        return _unit(0.5 * topic + 0.5 * self.concepts[concept] + 0.7071 * own)

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return _directions(count, self.topics.shape[1], generator)


@dataclass(frozen=True)
class _Spectrum:
    """A Gaussian whose axes are the rows of ``axes``, as long as its standard deviations."""

    axes: torch.Tensor

    def items(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return _unit(torch.randn(count, len(self.axes), generator=generator) @ self.axes)

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        alike = self.items(count, generator)
        return _unit(alike + _directions(count, self.axes.shape[1], generator))


def plant(path: Path, count: int, width: int = 512, seed: int = 0, kind: Kind = "planted") -> Truth:
    """Write ``count`` unit vectors as float16 to an .npy file.

    Args:
        path: Where to; left alone where it already holds this many vectors.
        count: Rows, at least 1.
        width: Dimensions, at least 2.
        seed: Of everything.
        kind: Of data, see the module.

    Returns:
        The truth.
    """
    rng = np.random.default_rng(seed)
    shares = CHAIN_SHARES if kind == "chains" else SHARES
    kinds, group, first = _families(rng, count, shares)
    order = rng.permutation(count)
    truth = Truth(np.empty_like(kinds), np.empty_like(group))
    truth.kind[order], truth.group[order] = kinds, group
    if path.exists() and np.load(path, mmap_mode="r").shape == (count, width):
        return truth
    unfinished = path.with_suffix(".tmp")
    rows = np.lib.format.open_memmap(unfinished, "w+", np.float16, (count, width))
    generator = torch.Generator().manual_seed(seed)
    space = _space(kind, width, generator)
    start = 0
    while start < count:
        # A block ends where a family does.
        stop = int(first[start + _BLOCK - 1]) if start + _BLOCK < count else count
        block = _block(space, kinds[start:stop], first[start:stop] - start, generator)
        rows[order[start:stop]] = block.half().numpy()
        start = stop
    rows.flush()
    unfinished.replace(path)
    return truth


def _space(kind: Kind, width: int, generator: torch.Generator) -> _Space:
    if kind != "spectrum":
        topics = _directions(TOPICS, width, generator)
        return _Concepts(topics, _directions(TOPICS * CONCEPTS, width, generator))
    latent = min(LATENT, width)
    basis, _ = torch.linalg.qr(torch.randn(width, latent, generator=generator))
    deviation = torch.arange(1, latent + 1).float() ** -0.5
    return _Spectrum(deviation[:, None] * basis.T)


def _families(
    rng: np.random.Generator, count: int, shares: dict[str, float]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Kind, family and first row of the family for every row; families are contiguous."""
    kinds, sizes, total = [], [], 0
    while total < count:
        kind, size = _drawn(rng, shares)
        kinds.append(kind)
        sizes.append(size)
        total += int(size.sum())
    kind, size = np.concatenate(kinds), np.concatenate(sizes)
    starts = np.cumsum(size) - size
    group = np.repeat(np.arange(len(size)), size)[:count]
    return np.repeat(kind, size)[:count], group, np.repeat(starts, size)[:count]


def _drawn(
    rng: np.random.Generator, shares: dict[str, float]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Kind and size of some families, each kind drawn with its share over its mean size."""
    draw = rng.random(_DRAWN)
    kind = np.zeros(_DRAWN, dtype=np.uint8)
    weights = {name: share / _MEAN_SIZE[name] for name, share in shares.items()}
    whole = 1 - sum(shares.values()) + sum(weights.values())
    edge = 0.0
    for code, weight in enumerate(weights.values(), 1):
        kind[(draw >= edge) & (draw < edge + weight / whole)] = code
        edge += weight / whole
    pareto = np.ceil(2 * rng.random(_DRAWN) ** (-1 / 1.6))
    size = np.where(kind == 1, np.minimum(MOST, pareto), 1).astype(np.int64)
    size = np.where(kind == 2, 2, size)
    return kind, np.where(kind == 3, rng.integers(3, 10, _DRAWN), size)


def _block(
    space: _Space, kind: NDArray[np.uint8], first: NDArray[np.int64], generator: torch.Generator
) -> torch.Tensor:
    """Unit vectors of whole families; ``first`` is the place of each one's first row."""
    count = len(kind)
    base = space.items(count, generator)
    place = torch.from_numpy(np.arange(count) - first)
    kinds = torch.from_numpy(kind)
    draw = torch.rand(count, generator=generator)
    similarity = torch.where(kinds == 2, 0.80 + 0.10 * draw, 0.85 + 0.145 * draw)
    similarity[place == 0] = 1.0
    noise = space.noise(count, generator)
    moved = _towards(base[torch.from_numpy(first)], noise, similarity)
    result = torch.where((kinds > 0)[:, None], moved, base)
    for step in range(1, 9):  # a link starts from the one before, which is settled by then
        link = torch.nonzero((kinds == 3) & (place == step)).flatten()
        near = torch.full((len(link),), 0.93)
        result[link] = _towards(result[link - 1], noise[link], near)
    return result


def _towards(centre: torch.Tensor, noise: torch.Tensor, similarity: torch.Tensor) -> torch.Tensor:
    """Unit vectors at the given cosine from their centres."""
    across = _unit(noise - (noise * centre).sum(1, keepdim=True) * centre)
    return similarity[:, None] * centre + (1 - similarity[:, None] ** 2).sqrt() * across


def _directions(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    return _unit(torch.randn(count, width, generator=generator))


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=1)
