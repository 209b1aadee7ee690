"""Which of many strings may be among a few, at the price of a glance at each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numba import njit

from dedup.arrays import Bools, Hashes, Ints
from dedup.units import MIX

#: Bits of the sieve per string wanted.
_SPARSE = 32
_END = 8
_OFFSETS = {
    pa.string(): np.int32,
    pa.binary(): np.int32,
    pa.large_string(): np.int64,
    pa.large_binary(): np.int64,
}


def perhaps_among(values: pa.Array | pa.ChunkedArray, wanted: pa.Array) -> Ints:
    """Places of all values that are wanted, and of a few that are not.

    Of a string its length, its first and its last eight bytes are looked at, which tell
    digests apart. Values of other types, and nulls, may be wanted for all that is known here.

    Args:
        values: n of them.
        wanted: Of the same type, without nulls.

    Returns:
        int64 (p,), ascending.
    """
    if values.type not in _OFFSETS:
        return np.arange(len(values))
    bits = max(10, int(len(wanted) * _SPARSE).bit_length())
    sieve, shift = np.zeros(1 << bits, dtype=np.bool_), np.uint64(64 - bits)
    for keys in _keys(wanted):
        sieve[keys >> shift] = True
    found, start = [np.zeros(0, dtype=np.int64)], 0
    for keys in _keys(values):
        found.append(start + np.flatnonzero(_passing(sieve, shift, keys)))
        start += len(keys)
    return np.concatenate(found)


def _keys(values: pa.Array | pa.ChunkedArray) -> Iterator[Hashes]:
    """A number for each string, equal for equal strings, chunk by chunk."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    for chunk in chunks:
        _, offsets, text = chunk.buffers()
        starts = np.frombuffer(offsets, dtype=_OFFSETS[chunk.type])
        starts = starts[chunk.offset : chunk.offset + len(chunk) + 1]
        letters = np.zeros(0, np.uint8) if text is None else np.frombuffer(text, dtype=np.uint8)
        words = letters[: len(letters) // _END * _END].view("<u8")
        yield _ends(starts, letters, words)


@njit(cache=True, nogil=True)
def _ends(starts: np.ndarray, letters: np.ndarray, words: Hashes) -> Hashes:
    keys = np.empty(max(len(starts) - 1, 0), np.uint64)
    for row in range(len(keys)):
        first, last = np.int64(starts[row]), np.int64(starts[row + 1])
        head, tail = np.uint64(0), np.uint64(0)
        if first % _END == 0 and last % _END == 0 and last > first:
            head, tail = words[first // _END], words[last // _END - 1]
        else:
            for at in range(first, min(first + _END, last)):
                head |= np.uint64(letters[at]) << np.uint64(8 * (at - first))
            begin = max(first, last - _END)
            for at in range(begin, last):
                tail |= np.uint64(letters[at]) << np.uint64(8 * (at - begin))
        key = (head * MIX) ^ tail ^ np.uint64(last - first)
        keys[row] = (key ^ (key >> np.uint64(29))) * MIX
    return keys


@njit(cache=True, nogil=True)
def _passing(sieve: Bools, shift: np.uint64, keys: Hashes) -> Bools:
    passed = np.empty(len(keys), np.bool_)
    for row in range(len(keys)):
        passed[row] = sieve[keys[row] >> shift]
    return passed
