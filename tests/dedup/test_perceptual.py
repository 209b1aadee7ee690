from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.perceptual import close_hashes, hamming, hash_column
from tests.dedup.planted import Array


def slow_pairs(hashes: Array, known: Array, distance: int) -> list[tuple[int, int]]:
    rows = range(len(hashes))
    return [
        (src, dst)
        for src in rows
        for dst in rows
        if src < dst
        and known[src]
        and known[dst]
        and (int(hashes[src]) ^ int(hashes[dst])).bit_count() <= distance
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 4, 7, 8, 20, 32]))
def test_pairs_equal_those_of_a_double_loop(seed: int, distance: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, 12, dtype=np.uint64)
    flips = np.array(
        [
            sum(1 << int(bit) for bit in rng.permutation(64)[: rng.integers(0, 10)])
            for _ in range(50)
        ],
        dtype=np.uint64,
    )
    hashes = np.concatenate([base[rng.integers(0, 12, 50)] ^ flips, base])
    known = rng.random(62) > 0.1

    found = close_hashes(hashes, known, distance)

    assert found.crowded == 0
    assert list(zip(found.src, found.dst, strict=True)) == slow_pairs(hashes, known, distance)


def test_a_crowd_of_blank_images_costs_no_square() -> None:
    hashes = np.zeros(20_000, dtype=np.uint64)
    hashes[10_000:] = 1

    found = close_hashes(hashes, np.ones(20_000, dtype=bool), 4, partners=8)

    assert found.crowded == 2
    assert len(found.src) < 2 * 20_000 * 8
    paired = np.union1d(found.src, found.dst)
    assert len(paired) == 20_000


def test_hamming_counts_bits() -> None:
    left = np.array([0, 2**64 - 1, 5], dtype=np.uint64)
    assert hamming(left, np.array([0, 0, 6], dtype=np.uint64)).tolist() == [0, 64, 2]


def test_null_hashes_are_unknown_and_large_ones_exact() -> None:
    hashes, known = hash_column(pa.chunked_array([pa.array([2**64 - 1, None, 7], pa.uint64())]))
    assert hashes.tolist() == [2**64 - 1, 0, 7]
    assert known.tolist() == [True, False, True]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_have_no_pairs(count: int) -> None:
    found = close_hashes(np.zeros(count, np.uint64), np.ones(count, bool), 4)
    assert (len(found.src), found.crowded) == (0, 0)
