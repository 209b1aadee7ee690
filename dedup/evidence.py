"""What tells one kind of removal from another: bytes and perceptual hashes, by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from dedup.arrays import Bools, Codes, Hashes, Ints
from dedup.exact import first_of_equal, first_of_equal_added
from dedup.perceptual import hamming, hash_column

#: Why a row went, by code; the first is for rows that stay.
REASONS = (None, "exact", "perceptual", "semantic")


@dataclass(frozen=True)
class Evidence:
    """Bytes and hashes of the rows.

    Args:
        same_bytes: First row with the same bytes, int64 (n,).
        hashes: Perceptual hashes, uint64 (n,).
        known: Which rows have one, bool (n,).
    """

    same_bytes: Ints
    hashes: Hashes
    known: Bools

    def take(self, rows: Ints) -> Evidence:
        """The same of some rows, int64 (m,), ascending, by place among them.

        With a row they hold all others of the same bytes.
        """
        same = np.searchsorted(rows, self.same_bytes[rows])
        return Evidence(same, self.hashes[rows], self.known[rows])

    def reasons(self, witness: Ints, distance: int) -> Codes:
        """Why each row went, as a place in ``REASONS``, uint8 (n,).

        Args:
            witness: Row that each names, int64 (n,); -1 where it stays.
            distance: Bits in which the hashes of a perceptual match may differ.
        """
        rows = np.arange(len(witness))
        exact = self.same_bytes[rows] == self.same_bytes[witness]
        perceptual = self.known[rows] & self.known[witness]
        perceptual &= hamming(self.hashes[rows], self.hashes[witness]) <= distance
        reason = np.where(exact, 1, np.where(perceptual, 2, 3))
        return np.where(witness < 0, 0, reason).astype(np.uint8)


def weigh(items: pa.Table, before: Ints | None = None) -> Evidence:
    """The evidence of a table.

    Args:
        items: ``sha256``, and perhaps ``phash`` (uint64, nullable).
        before: ``same_bytes`` of the first rows, where it is known.
    """
    count, shas = items.num_rows, items.column("sha256")
    hashes, known = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.bool_)
    if "phash" in items.column_names:
        hashes, known = hash_column(items.column("phash"))
    same = first_of_equal(shas) if before is None else first_of_equal_added(shas, before)
    return Evidence(same, hashes, known)


def named(reasons: Codes) -> pa.Array:
    """Reasons by name; null where a row stays."""
    words = [(reason or "").encode() for reason in REASONS]
    lengths = np.array([len(word) for word in words], dtype=np.int32)
    letters = np.zeros((len(words), lengths.max()), dtype=np.uint8)
    for row, word in zip(letters, words, strict=True):
        row[: len(word)] = list(word)
    if len(reasons) * int(lengths.max()) >= 2**31:  # more than the offsets of one array can say
        return pa.array(REASONS, pa.string()).take(pa.array(reasons))
    ends, text = _spelled(reasons, lengths, letters)
    buffers = [_bits(reasons != 0), pa.py_buffer(ends), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(reasons), buffers)


@njit(cache=True, nogil=True)
def _spelled(codes: Codes, lengths: np.ndarray, letters: Codes) -> tuple[np.ndarray, Codes]:
    """Words one after the other, and where each of them ends, behind a zero."""
    ends = np.zeros(len(codes) + 1, np.int32)
    for row in range(len(codes)):
        ends[row + 1] = ends[row] + lengths[codes[row]]
    text = np.empty(ends[len(codes)], np.uint8)
    for row in range(len(codes)):
        start = ends[row]
        for at in range(lengths[codes[row]]):
            text[start + at] = letters[codes[row], at]
    return ends, text


def masked(values: np.ndarray, known: Bools) -> pa.Array:
    """Numbers as an array that shares their memory, null where they are not known."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [_bits(known), pa.py_buffer(values)])


def _bits(known: Bools) -> pa.Buffer:
    return pa.py_buffer(np.packbits(known, bitorder="little"))
