"""The recall audit: what an exact search of a sample finds, and how much of it the graph has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from dedup.arrays import Bools, Floats, Hashes, Ints
from dedup.cells.codes import Codes, encode
from dedup.cells.graph import Mapper
from dedup.cells.pairs import reaching
from dedup.cells.source import Source, per_block
from dedup.intervals import wilson
from dedup.units import as_units, cosine, hash_rows

_SLICE = 1024


@dataclass(frozen=True)
class Recall:
    """How much of the truth the graph holds.

    Args:
        sampled: Items searched exactly against all others.
        pairs: True pairs of those items at or above the threshold.
        found: How many of them the graph has.
    """

    sampled: int
    pairs: int
    found: int

    @property
    def share(self) -> float:
        """Share of the true pairs found, in [0, 1]; 1 where there are none."""
        return self.found / self.pairs if self.pairs else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson).

        Pairs of one item are not independent of each other: the true interval is wider.
        """
        if not self.pairs:
            return 0.0, 1.0
        low, high = wilson(np.array([self.share]), np.array([float(self.pairs)]))
        return float(low[0]), float(high[0])


@dataclass(frozen=True)
class Sample:
    """Rows that are searched exactly.

    Args:
        ids: int64 (s,).
        units: Unit rows, float32 (s, d).
        codes: Of the units.
    """

    ids: Ints
    units: Floats
    codes: Codes


def draw_sample(source: Source, wanted: Bools, count: int, mapper: Mapper) -> Sample:
    """Choose rows by their content, so that the order of the input does not matter.

    Args:
        source: Of vectors.
        wanted: Rows that may be chosen, bool (n,).
        count: Rows wanted.
        mapper: Where the blocks are read.
    """
    share = min(1.0, 2.0 * count / max(1, int(wanted.sum())))
    parts = list(mapper(partial(_draw, source, share), list(enumerate(per_block(source, wanted)))))
    if not parts:
        nothing = np.zeros((0, source.width), dtype=np.float32)
        return Sample(np.zeros(0, dtype=np.int64), nothing, encode(nothing))
    ids, hashes, units = (np.concatenate(each) for each in zip(*parts, strict=True))
    chosen = np.argsort(hashes, kind="stable")[:count]
    return Sample(ids[chosen], units[chosen], encode(units[chosen]))


def _draw(source: Source, share: float, task: tuple[int, Bools]) -> tuple[Ints, Hashes, Floats]:
    block, wanted = task
    ids, vectors = source.read(block)
    # Another multiplier than that of the k-means' sample, whose rows are found more easily.
    hashes = hash_rows(vectors) * np.uint64(0xD1B54A32D192ED03)
    rows = np.flatnonzero(wanted & (hashes <= np.uint64(share * (2**64 - 1025))))
    return ids[rows], hashes[rows], as_units(vectors[rows])[0]


def exact_pairs(
    source: Source, wanted: Bools, sample: Sample, floor: float, mapper: Mapper
) -> tuple[Ints, Ints, Floats]:
    """All pairs of sampled rows with any wanted row.

    Args:
        source: Of vectors.
        wanted: Rows that take part, bool (n,).
        sample: Rows that are compared with all.
        floor: Lowest similarity wanted.
        mapper: Where the blocks are compared.

    Returns:
        Ids of the sampled rows and of their neighbours, int64 (p,), and float32 (p,). A pair
        of two sampled rows stands twice.
    """
    task = partial(_exact, source, sample, floor)
    parts = list(mapper(task, list(enumerate(per_block(source, wanted)))))
    nothing = np.zeros(0, dtype=np.int64)
    empty = (nothing, nothing, np.zeros(0, dtype=np.float32))
    left, right, similarity = (np.concatenate(each) for each in zip(empty, *parts, strict=True))
    return left, right, similarity


def _exact(
    source: Source, sample: Sample, floor: float, task: tuple[int, Bools]
) -> tuple[Ints, Ints, Floats]:
    block, wanted = task
    ids, vectors = source.read(block)
    rows = np.flatnonzero(wanted)
    lefts, rights, scores = [], [], []
    for start in range(0, len(rows), _SLICE):
        part = rows[start : start + _SLICE]
        units, _ = as_units(vectors[part])
        left, right = reaching(sample.codes, encode(units), floor)
        other = sample.ids[left] != ids[part][right]
        left, right = left[other], right[other]
        both = np.concatenate([sample.units[left], units[right]])
        pairs = np.arange(len(left))
        similarity = cosine(both, pairs, len(left) + pairs)
        good = similarity >= np.float64(floor)
        lefts.append(sample.ids[left[good]])
        rights.append(ids[part][right[good]])
        scores.append(similarity[good])
    nothing = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([nothing, *lefts]),
        np.concatenate([nothing, *rights]),
        np.concatenate([np.zeros(0, dtype=np.float32), *scores]),
    )
