"""How a reading is compared with a transcript, whatever the lines were cut into.

Texts are compared with white space gone and full and half width folded (NFKC), by case.

- Characters: a transcribed and a read line that share the most characters in order (longest
  common subsequence) are matched, those characters are taken out of both, and so on down to
  half the shorter of what is left. A line read in two pieces, or two as one, loses nothing, and
  order does not count. Recall is the matched characters over the transcript's, precision over
  those read; precision is only known where the transcript is complete.
- Lines: the share of transcribed lines read as one line without an error.
- Order is right when all matched characters lie in order: a longest common subsequence of the
  whole texts has as many. It counts for images with two or more matched lines.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Score:
    """What was counted, of one image or of many.

    Args:
        matched: Characters of the transcripts that were read.
        truth: Characters of the transcripts.
        precise: Matched characters of images with a complete transcript.
        read: Characters read in those.
        lines: Lines read without an error.
        all_lines: Transcribed lines.
        ordered: Images in order.
        orderly: Images whose order counts.
        images: Images.
    """

    matched: int = 0
    truth: int = 0
    precise: int = 0
    read: int = 0
    lines: int = 0
    all_lines: int = 0
    ordered: int = 0
    orderly: int = 0
    images: int = 0

    def __add__(self, other: Score) -> Score:
        mine, theirs = vars(self), vars(other)
        return Score(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def recall(self) -> float:
        """Matched over transcribed characters, 0..1."""
        return self.matched / self.truth if self.truth else 1.0

    @property
    def precision(self) -> float | None:
        """Matched over read characters, 0..1; ``None`` where no transcript is complete."""
        return self.precise / self.read if self.read else None

    @property
    def line_recall(self) -> float:
        """Lines without an error over transcribed lines, 0..1."""
        return self.lines / self.all_lines if self.all_lines else 1.0


@dataclass
class Table:
    """Scores by name."""

    rows: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))

    def add(self, names: Sequence[str], score: Score) -> None:
        """Count an image under several names."""
        for name in names:
            self.rows[name] += score

    def text(self) -> str:
        """As lines of a table."""
        lines = [f"{'':24}{'images':>7}{'recall':>8}{'precision':>10}{'lines':>7}{'order':>9}"]
        for name, one in self.rows.items():
            precision = "" if one.precision is None else f"{one.precision:.3f}"
            order = f"{one.ordered}/{one.orderly}" if one.orderly else ""
            lines.append(
                f"{name:24}{one.images:7}{one.recall:8.3f}{precision:>10}"
                f"{one.line_recall:7.3f}{order:>9}"
            )
        return "\n".join(lines)


def score(truth: Sequence[str], read: Sequence[str], *, complete: bool) -> Score:
    """Compare the normalised lines of one image, both in reading order.

    Args:
        truth: What it says.
        read: What was read.
        complete: Whether the transcript holds all there is to read.
    """
    matched, met = match(truth, read)
    left = Counter(read)
    right = 0
    for line in truth:
        right += left[line] > 0
        left[line] -= 1
    whole, length = "".join(truth), "".join(read)
    return Score(
        matched=matched,
        truth=len(whole),
        precise=matched if complete else 0,
        read=len(length) if complete else 0,
        lines=right,
        all_lines=len(truth),
        ordered=int(met > 1 and common(whole, length) >= matched),
        orderly=int(met > 1),
        images=1,
    )


def match(truth: Sequence[str], read: Sequence[str]) -> tuple[int, int]:
    """The characters that line by line occur in both, and how many lines of truth have any."""
    left, right = list(truth), list(read)

    def ranked(i: int, j: int) -> tuple[int, int, int, int]:
        # Of equal matches the one at about the same place of the page.
        return -common(left[i], right[j]), abs(i * len(read) - j * len(truth)), i, j

    best = [ranked(i, j) for i in range(len(left)) for j in range(len(right))]
    heapq.heapify(best)
    matched, met = 0, set()
    while best:
        known = heapq.heappop(best)
        i, j = known[2:]
        now = ranked(i, j)
        count, shorter = -now[0], min(len(left[i]), len(right[j]))
        if not count or 2 * count < shorter or (count == 1 and len(truth[i]) > 1):
            continue  # what is taken out of lines hardly brings such a pair back
        if now != known:
            heapq.heappush(best, now)
            continue
        matched += count
        met.add(i)
        left[i], right[j] = without_common(left[i], right[j])
    return matched, len(met)


def common(one: str, other: str) -> int:
    """The length of a longest common subsequence, bit by bit (Hyyrö 2004)."""
    places: dict[str, int] = defaultdict(int)
    for index, character in enumerate(one):
        places[character] |= 1 << index
    everything = (1 << len(one)) - 1
    row = everything
    for character in other:
        hits = row & places.get(character, 0)
        row = ((row + hits) | (row - hits)) & everything
    return len(one) - row.bit_count()


def without_common(one: str, other: str) -> tuple[str, str]:
    """Both texts without the characters of a longest common subsequence."""
    rest_one, rest_other = [], []
    while one and other:
        if one[0] == other[0]:
            one, other = one[1:], other[1:]
        elif common(one[1:], other) == common(one, other):
            rest_one.append(one[0])
            one = one[1:]
        else:
            rest_other.append(other[0])
            other = other[1:]
    return "".join(rest_one) + one, "".join(rest_other) + other
