"""A few new codes against the codes of their cells, where those lie.

A batch brings a dozen rows to a cell of a thousand. Products of such a shape are all memory
traffic: every code, or the head of every code, is read once, in the order of its file, without
being copied together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import njit

from dedup.arrays import Floats, Ints
from dedup.cells.assign import Cells
from dedup.cells.codes import Bytes, Codes
from dedup.cells.dots import AT_ONCE, grouped, packed, sixteen_reach
from dedup.cells.heads import Heads, heads_of
from dedup.cells.memory import addresses, lying_at
from dedup.cells.pairs import reaching

#: Heads by lane, the first cell, where each cell's lanes start, the new row of each lane, bounds,
#: and room for pairs.
_Sieved: TypeAlias = tuple[Bytes, int, Ints, Ints, Floats, Floats, Ints, Ints]

#: New rows of a cell from which blocked products are faster.
MANY = 64


@dataclass(frozen=True)
class Piece:
    """Rows that lie in one place, such as a mapped file.

    Args:
        cell: Of each row, int32 (n,), ascending.
        codes: Of the rows.
        heads: Of the rows, where they are kept.
    """

    cell: Cells
    codes: Codes
    heads: Heads | None = None

    def __len__(self) -> int:
        return len(self.cell)


class NewCodes:
    """Codes of new rows, by cell, ready to be held against those of others.

    Args:
        codes: Of the new rows.
        first: The first cell that ``bounds`` speaks of.
        bounds: Where the new rows of each cell start, and where the last end, int64 (c + 1,).
    """

    def __init__(self, codes: Codes, first: int, bounds: Ints) -> None:
        self._codes, self._first, self._bounds = codes, first, bounds
        self._many = np.flatnonzero(np.diff(bounds) >= MANY).tolist()
        self._sieves: dict[int, _Sieve] = {}

    def reached(self, pieces: Sequence[Piece], floor: float) -> tuple[Ints, Ints]:
        """Pairs of a new row and a row of the same cell whose cosine may reach a floor.

        Args:
            pieces: Rows of no cell before the first. Where all pieces have heads, most codes are
                not read.
            floor: Lowest similarity wanted.

        Returns:
            New rows and rows, the latter numbered from piece to piece and ascending, int64 (p,)
            each: all pairs at or above the floor, and a few below.
        """
        if not len(self._codes) or not any(len(piece) for piece in pieces):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        found = [self._walked(pieces, floor)]
        before = 0
        for piece in pieces if self._many else ():
            for number in self._many:
                left, right = self._in_blocks(number, piece, floor)
                found.append((left, before + right))
            before += len(piece)
        left, right = (np.concatenate(each) for each in zip(*found, strict=True))
        order = np.argsort(right, kind="stable") if self._many else slice(None)
        return left[order], right[order]

    def _in_blocks(self, number: int, piece: Piece, floor: float) -> tuple[Ints, Ints]:
        """Pairs in a cell of many new rows."""
        cell = self._first + number
        start, stop = np.searchsorted(piece.cell, [cell, cell + 1])
        if start == stop:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        begin, end = self._bounds[number], self._bounds[number + 1]
        # A copy: PyTorch warns of what is mapped and read-only.
        theirs = piece.codes.take(np.arange(start, stop))
        one, other = reaching(self._codes.take(slice(begin, end)), theirs, floor)
        return begin + one, start + other

    def _walked(self, pieces: Sequence[Piece], floor: float) -> tuple[Ints, Ints]:
        """Pairs in the other cells."""
        heads = _heads(pieces)
        sieve = self._sieve(heads[0].values.shape[1])
        new = self._codes.values, self._codes.scale, self._codes.error
        sizes, where = _places(pieces, heads)
        known = sizes, where, *new, *sieve.columns, self._first, floor
        met: Any = _met
        room = 4 * len(self._codes) + int(sizes.sum()) // 4 + 1024
        while True:
            left, right = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
            count, needed = met(*known, left, right)
            if needed <= room:
                return left[:count], right[:count]
            room = 2 * needed

    def _sieve(self, width: int) -> _Sieve:
        if width not in self._sieves:
            self._sieves[width] = _Sieve(self._codes, self._bounds, width)
        return self._sieves[width]


class _Sieve:
    """The first numbers of new codes, in lanes, as compiled loops want them.

    The new rows of a cell have lanes of their own, a multiple of ``AT_ONCE``; cells of many new
    rows have none.

    Args:
        codes: Of the new rows.
        bounds: Where the new rows of each cell start, and where the last end, int64 (c + 1,).
        width: How many numbers.
    """

    def __init__(self, codes: Codes, bounds: Ints, width: int) -> None:
        heads, sizes = heads_of(codes, width), np.diff(bounds)
        lanes = -(-np.where(sizes < MANY, sizes, 0) // AT_ONCE) * AT_ONCE
        starts = np.concatenate([[0], np.cumsum(lanes)])
        rows = np.flatnonzero(np.repeat(sizes < MANY, sizes))
        cell = np.repeat(np.arange(len(sizes)), sizes)[rows]
        lane = starts[cell] + rows - bounds[cell]
        who = np.full(starts[-1], -1, dtype=np.int64)
        who[lane] = rows
        values = np.zeros((starts[-1], width), dtype=np.int8)
        values[lane] = heads.values[rows]
        shift = None
        if grouped(width):
            # What the other code is moved by, to be without a sign, shows in the sums.
            shift = values.sum(axis=1, dtype=np.int32) * np.int32(128)
            values = packed(values)
        self.columns = values, shift, heads.tail, starts, who


def _heads(pieces: Sequence[Piece]) -> list[Heads]:
    """Of all pieces, or, where one has none, whole codes with nothing behind them."""
    heads = [piece.heads for piece in pieces if piece.heads is not None]
    if len(heads) == len(pieces):
        return heads
    nothing = np.zeros(max(map(len, pieces)), dtype=np.float32)
    return [Heads(piece.codes.values, nothing) for piece in pieces]


def _places(pieces: Sequence[Piece], heads: Sequence[Heads]) -> tuple[Ints, Ints]:
    """How many rows each piece has, int64 (p,), and where its columns lie, int64 (6, p)."""
    columns = (
        [piece.cell for piece in pieces],
        [head.values for head in heads],
        [head.tail for head in heads],
        [piece.codes.scale for piece in pieces],
        [piece.codes.error for piece in pieces],
        [piece.codes.values for piece in pieces],
    )
    sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
    return sizes, np.stack([addresses(column) for column in columns])


@njit(cache=True, nogil=True)
def _met(
    sizes: Ints,
    where: Ints,
    new_values: Bytes,
    new_scale: Floats,
    new_error: Floats,
    lanes: Bytes,
    shift: Cells | None,
    new_tail: Floats,
    starts: Ints,
    who: Ints,
    first: int,
    floor: float,
    left: Ints,
    right: Ints,
) -> tuple[int, int]:
    """Write the pairs that may reach the floor: how many, and how much room it takes at least.

    With too little room what is written is of no use.
    """
    low, tails = np.empty(len(who), np.float32), np.empty(len(who), np.float32)
    width, whole = lanes.shape[1], new_values.shape[1]
    new = new_values, new_scale, new_error
    count, needed, before = 0, 0, 0
    for piece in range(len(sizes)):
        rows = sizes[piece]
        cell = lying_at(where[0, piece], (rows,), np.int32)
        values = lying_at(where[1, piece], (rows, width), np.int8)
        tail = lying_at(where[2, piece], (rows,), np.float32)
        scale = lying_at(where[3, piece], (rows,), np.float32)
        error = lying_at(where[4, piece], (rows,), np.float32)
        codes = lying_at(where[5, piece], (rows, whole), np.int8)
        _bounds(new_scale, new_error, new_tail, who, error, floor, low, tails)
        ours, theirs = left[count:], right[count:]
        sieve = lanes, first, starts, who, low, tails, ours, theirs
        if shift is None:
            through = _walk(cell, values, tail, scale, sieve)
        else:
            through = _walk_together(cell, values, tail, scale, sieve, shift)
        needed = max(needed, count + through)
        if needed <= len(left):
            ours, theirs = ours[:through], theirs[:through]
            sure = _confirmed(codes, scale, error, new, np.float32(floor), ours, theirs)
            theirs[:sure] += before
            count += sure
        before += rows
    return count, needed


@njit(cache=True, nogil=True)
def _bounds(
    scale: Floats,
    error: Floats,
    tail: Floats,
    who: Ints,
    others: Floats,
    floor: float,
    low: Floats,
    tails: Floats,
) -> None:
    """What the product with the new row of each lane, times the other's scale, has to reach.

    ``low`` is the bound for rows without a tail, ``tails`` what it falls by for a tail of
    length 1; ``others`` are the errors of the rows.
    """
    worst = 0.0
    for row in range(len(others)):
        worst = max(worst, np.float64(others[row]))
    for lane in range(len(who)):
        new, tails[lane] = who[lane], np.float32(0)
        if new < 0 or scale[new] <= 0:
            low[lane] = np.inf if new < 0 else -np.inf
            continue
        own = np.float64(scale[new])
        margin = error[new] * (1.0 + worst) + worst + 1e-5
        bound, more = (floor - margin) / own, tail[new] / own
        # Float32 loses a few last bits of either; no tail is longer than 2.
        low[lane] = bound - (abs(bound) + 2.0 * more) * 1e-5
        tails[lane] = more


@njit(cache=True, nogil=True)
def _walk(cell: Cells, values: Bytes, tail: Floats, scale: Floats, sieve: _Sieved) -> int:
    """Write the pairs that come through the sieve; how many there are, room or not."""
    lanes, first, starts, who, low, tails, left, right = sieve
    count, width = 0, values.shape[1]
    for row in range(len(cell)):
        for lane in range(starts[cell[row] - first], starts[cell[row] - first + 1]):
            if who[lane] < 0:
                break
            total = _product(values, row, lanes, lane, width)
            if np.float32(total) * scale[row] + tail[row] * tails[lane] >= low[lane]:
                if count < len(left):
                    left[count], right[count] = who[lane], row
                count += 1
    return count


@njit(cache=True, nogil=True)
def _walk_together(
    cell: Cells, values: Bytes, tail: Floats, scale: Floats, sieve: _Sieved, shift: Cells
) -> int:
    """The same, sixteen lanes at a time; see ``sixteen_reach``."""
    lanes, first, starts, who, low, tails, left, right = sieve
    count, width = 0, values.shape[1]
    codes, others = values.ctypes.data, lanes.ctypes.data
    shifts, lows, behind = shift.ctypes.data, low.ctypes.data, tails.ctypes.data
    for row in range(len(cell)):
        code = codes + row * width
        begin, end = starts[cell[row] - first], starts[cell[row] - first + 1]
        for start in range(begin, end, AT_ONCE):
            at = start * 4  # bytes of an int32, and of a float32
            near: int = sixteen_reach(  # type: ignore[call-arg]
                *(code, others + start * width, width),
                *(shifts + at, lows + at, behind + at, scale[row], tail[row]),
            )
            lane = start
            while near:
                if near & 1:
                    if count < len(left):
                        left[count], right[count] = who[lane], row
                    count += 1
                near, lane = near >> 1, lane + 1
    return count


@njit(cache=True, nogil=True)
def _confirmed(
    values: Bytes,
    scale: Floats,
    error: Floats,
    new: tuple[Bytes, Floats, Floats],
    floor: np.float32,
    left: Ints,
    right: Ints,
) -> int:
    """Keep the pairs whose whole codes may reach the floor, in place; how many there are."""
    new_values, new_scale, new_error = new
    count, width = 0, values.shape[1]
    for pair in range(len(left)):
        one, row = left[pair], right[pair]
        total = np.float32(_product(values, row, new_values, one, width))
        margin = error[row] + new_error[one] + error[row] * new_error[one] + np.float32(1e-6)
        if total * scale[row] * new_scale[one] >= floor - margin:
            left[count], right[count] = one, row
            count += 1
    return count


@njit(cache=True, nogil=True, inline="always")
def _product(one: Bytes, row: int, other: Bytes, new: int, width: int) -> np.int32:
    total = np.int32(0)
    for j in range(width):
        # A product of two bytes fits 16 bits: twice as many at a time.
        product = np.int16(np.int16(one[row, j]) * np.int16(other[new, j]))
        total = np.int32(total + np.int32(product))
    return total
