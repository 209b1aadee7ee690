"""QR codes: a search for their corner marks, and a reader where there are three."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_STEP = 6  # rows between two scans; the core of a mark is three modules tall
_BLOCK = 64  # side of the blocks whose means make the local threshold
# The lowest bit of each of eight bytes; multiplied by the other, they are the highest byte.
_LOWEST, _GATHER = np.uint64(0x0101_0101_0101_0101), np.uint64(0x0102_0408_1020_4080)
_ONE = np.uint64(1)
# Every six bits in a row of this number are different: they tell which bit is set.
_SEQUENCE = 0x03F7_9D71_B4CB_0A89
_PLACES = np.zeros(64, dtype=np.int64)
for _place in range(64):
    _PLACES[((_SEQUENCE << _place) & (2**64 - 1)) >> 58] = _place
_MARGIN = 20  # grey levels around the threshold that change nothing
_MOST_MARKS = 64
_SHORTEST = 9  # pixels across a mark


def qr_code(grey: NDArray[np.uint8]) -> bool:
    """Whether a QR code is in the image.

    True where three corner marks (dark and light in the proportions 1:1:3:1:1, along a row and
    a column) of about one size lie about a right angle, and the reader then reads a code, by
    its error correction, or finds one too damaged to read. Found at any angle, dark on light and
    light on dark, where a module is about two pixels or more of the working copy. Source:
    ISO/IEC 18004, finder pattern; reader: zxing-cpp.

    Args:
        grey: (height, width), 0..255, of the working copy.
    """
    return corners(finder_marks(grey)) and readable(grey)


def readable(grey: NDArray[np.uint8]) -> bool:
    """Whether the reader finds a QR code, read or too damaged to read; see ``qr_code``."""
    import zxingcpp

    codes = zxingcpp.read_barcodes(
        grey,
        formats=zxingcpp.BarcodeFormat.QRCode,  # type: ignore[arg-type]
        return_errors=True,
    )
    return len(codes) > 0


@njit(cache=True, nogil=True)
def corners(marks: NDArray[np.int32]) -> bool:
    """Whether three of the marks can be the corners of one code.

    All are dark or all light; the largest is at most 1.5 times the smallest; two legs, of
    which the longer is at most 1.5 times the other, enclose an angle of 60 to 120 degrees and
    are 1.5 to 28 marks long.

    Args:
        marks: (n, 4), of ``finder_marks``.
    """
    for i in range(marks.shape[0]):
        for j in range(marks.shape[0]):
            for k in range(j + 1, marks.shape[0]):
                if i not in (j, k) and _corner(marks[i], marks[j], marks[k]):
                    return True
    return False


@njit(cache=True, nogil=True)
def _corner(at: NDArray[np.int32], one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    smallest = min(at[2], one[2], other[2])
    largest = max(at[2], one[2], other[2])
    if 2 * largest > 3 * smallest or not at[3] == one[3] == other[3]:
        return False
    one_x, one_y = np.int64(one[0] - at[0]), np.int64(one[1] - at[1])
    other_x, other_y = np.int64(other[0] - at[0]), np.int64(other[1] - at[1])
    short, long = one_x**2 + one_y**2, other_x**2 + other_y**2
    short, long = min(short, long), max(short, long)
    if 4 * long > 9 * short or 4 * short < 9 * smallest**2 or long > 784 * largest**2:
        return False
    return bool(4 * (one_x * other_x + one_y * other_y) ** 2 <= short * long)


@njit(cache=True, nogil=True)
def finder_marks(grey: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Corner marks of QR codes, at most 64.

    Args:
        grey: (height, width), 0..255.

    Returns:
        (n, 4): x and y of the middle, pixels across, and 1 where the core is dark.
    """
    marks = np.empty((_MOST_MARKS, 4), dtype=np.int32)
    count = _find_marks(grey, _thresholds(grey), marks)
    return marks[:count]


@njit(cache=True, nogil=True)
def _thresholds(grey: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Means of the scanned rows over 3 x 3 blocks of 64 x 64 pixels: (blocks, blocks)."""
    height, width = grey.shape
    down, across = -(-height // _BLOCK), -(-width // _BLOCK)
    sums = np.zeros((down, across), dtype=np.int64)
    counts = np.zeros((down, across), dtype=np.int64)
    columns = np.zeros((down, width), dtype=np.uint16)
    for y in range(0, height, _STEP):
        block, row = columns[y // _BLOCK], grey[y]
        for x in range(width):
            block[x] = np.uint16(block[x] + np.uint16(row[x]))
        counts[y // _BLOCK] += 1
    for i in range(down):
        for x in range(width):
            sums[i, x // _BLOCK] += columns[i, x]
    for j in range(across):
        counts[:, j] *= min(width, (j + 1) * _BLOCK) - j * _BLOCK
    means = np.empty((down, across), dtype=np.int32)
    for i in range(down):
        for j in range(across):
            total, count = 0, 0
            for near in range(max(0, i - 1), min(down, i + 2)):
                for beside in range(max(0, j - 1), min(across, j + 2)):
                    total += sums[near, beside]
                    count += counts[near, beside]
            # Where nearly all is white or black, what differs is still beyond the margin.
            means[i, j] = min(255 - 2 * _MARGIN, max(2 * _MARGIN, total // count))
    return means


@njit(cache=True, nogil=True)
def _find_marks(
    grey: NDArray[np.uint8], thresholds: NDArray[np.int32], marks: NDArray[np.int32]
) -> int:
    """Scan rows for the proportions, confirm each find along its column; their number."""
    count, width = 0, grey.shape[1]
    turns = np.zeros(6, dtype=np.int64)
    blocks = -(-width // _BLOCK)
    sides = np.zeros(blocks * _BLOCK, dtype=np.uint8)
    light, darker = np.empty(blocks, dtype=np.uint64), np.empty(blocks, dtype=np.uint64)
    for y in range(0, grey.shape[0], _STEP):
        _mark_sides(grey[y], thresholds[y // _BLOCK], sides)
        _pack_sides(sides, light.view(np.uint8), darker.view(np.uint8))
        first = second = third = fourth = fifth = last = -10_000
        dark = False
        for block in range(blocks):
            rest = ~np.uint64(0)
            while True:
                # The next pixel on the other side: most are on one for long.
                found = (light[block] if dark else darker[block]) & rest
                if found == 0:
                    break
                lowest = found & (~found + _ONE)
                rest = ~(lowest | (lowest - _ONE))
                x = block * _BLOCK + _PLACES[(lowest * np.uint64(_SEQUENCE)) >> np.uint64(58)]
                first, second, third, fourth, fifth, last = second, third, fourth, fifth, last, x
                # The run that ends here was of the colour that is left behind.
                size = last - first
                if (
                    first >= 0
                    and size >= _SHORTEST
                    and abs(14 * (fourth - third) - 6 * size) <= 3 * size
                ):
                    turns[0], turns[1], turns[2] = first, second, third
                    turns[3], turns[4], turns[5] = fourth, fifth, last
                    if _proportions(turns):
                        mean = thresholds[y // _BLOCK, x // _BLOCK]
                        count = _confirm(grey, turns, y, dark, mean, marks, count)
                        if count == marks.shape[0]:
                            return count
                dark = not dark
    return count


@njit(cache=True, nogil=True)
def _mark_sides(
    line: NDArray[np.uint8], means: NDArray[np.int32], sides: NDArray[np.uint8]
) -> None:
    """1 where a pixel is light and 2 where it is dark, beyond the threshold's doubt; else 0."""
    for block in range(means.shape[0]):
        start, stop = block * _BLOCK, min((block + 1) * _BLOCK, line.shape[0])
        high, low = np.uint8(means[block] + _MARGIN), np.uint8(means[block] - _MARGIN)
        values, marked = line[start:stop], sides[start:stop]
        for x in range(values.shape[0]):
            light, dark = values[x] > high, values[x] < low
            marked[x] = np.uint8(np.uint8(light) | np.uint8(np.uint8(dark) << np.uint8(1)))


@njit(cache=True, nogil=True)
def _pack_sides(
    sides: NDArray[np.uint8], light: NDArray[np.uint8], dark: NDArray[np.uint8]
) -> None:
    """Which pixels are light and which are dark: one bit each, the leftmost the lowest."""
    words = sides.view(np.uint64)
    bits = np.uint64(56)
    for place in range(words.shape[0]):
        word = words[place]
        light[place] = np.uint8(((word & _LOWEST) * _GATHER) >> bits)
        dark[place] = np.uint8((((word >> _ONE) & _LOWEST) * _GATHER) >> bits)


@njit(cache=True, nogil=True)
def _confirm(
    grey: NDArray[np.uint8],
    turns: NDArray[np.int64],
    y: int,
    dark: bool,
    threshold: int,
    marks: NDArray[np.int32],
    count: int,
) -> int:
    """Add a mark that was crossed along row ``y``, if it is one and new; the number of marks."""
    middle, size = (turns[2] + turns[3]) // 2, turns[5] - turns[0]
    row = _mark_middle(grey, middle, y, dark, threshold, size)
    if row < 0 or _known(marks, count, middle, row):
        return count
    marks[count, 0], marks[count, 1] = middle, row
    marks[count, 2], marks[count, 3] = size, dark
    return count + 1


@njit(cache=True, nogil=True)
def _proportions(turns: NDArray[np.int64]) -> bool:
    """Whether five runs between six turns are as 1:1:3:1:1, each within half of its due."""
    size = turns[5] - turns[0]
    if size < _SHORTEST or turns[0] < 0:
        return False
    if abs(14 * (turns[3] - turns[2]) - 6 * size) > 3 * size:
        return False
    for i in (0, 1, 3, 4):  # noqa: SIM110 - numba has no all()
        # Half of a module, and half a pixel for the grid.
        if abs(14 * (turns[i + 1] - turns[i]) - 2 * size) > size + 7:
            return False
    return True


@njit(cache=True, nogil=True)
def _mark_middle(
    grey: NDArray[np.uint8], x: int, y: int, dark: bool, threshold: int, size: int
) -> int:
    """The middle row of a mark that crosses (x, y), or -1 where there is none.

    A mark has its proportions along the column, and along both diagonals through its middle.
    """
    first, last = _crossing(grey, x, y, 0, dark, threshold, size)
    tall = first + last
    if tall == 0 or 5 * tall > 8 * size or 5 * size > 8 * tall:
        return -1
    middle = y + (last - first) // 2
    for slant in (-1, 1):
        first, last = _crossing(grey, x, middle, slant, dark, threshold, size)
        if first + last == 0:
            return -1
    return middle


@njit(cache=True, nogil=True)
def _crossing(
    grey: NDArray[np.uint8], x: int, y: int, slant: int, dark: bool, threshold: int, size: int
) -> tuple[int, int]:
    """Steps up and down from (x, y) to the ends of a mark, 0 and 0 where there is none.

    Args:
        grey: (height, width).
        x: Of a pixel in the core.
        y: Of the same.
        slant: Columns to the right for each row down.
        dark: Whether the core is.
        threshold: Dark is below.
        size: No run is longer.
    """
    turns = np.zeros(6, dtype=np.int64)
    height, width = grey.shape
    for direction in (-1, 1):
        steps, inside = 0, dark
        for run in range(3):
            start = steps
            while True:
                row, column = y + direction * steps, x + direction * steps * slant
                if not (0 <= row < height and 0 <= column < width):
                    break
                if (grey[row, column] < threshold) != inside or steps - start > size:
                    break
                steps += 1
            # The start belongs to both directions, and is counted in the one downwards.
            turns[2 - run if direction < 0 else 3 + run] = 1 - steps if direction < 0 else steps
            inside = not inside
    base = turns[0]
    for i in range(6):
        turns[i] -= base
    if not _proportions(turns):
        return 0, 0
    return -base, turns[5] + base


@njit(cache=True, nogil=True)
def _known(marks: NDArray[np.int32], count: int, x: int, y: int) -> bool:
    """Whether (x, y) lies in a mark already found."""
    for i in range(count):
        half = marks[i, 2] // 2
        if abs(marks[i, 0] - x) <= half and abs(marks[i, 1] - y) <= half:
            return True
    return False
