"""Which images make an editing pair.

A pair is two images that are alike and yet differ: near-copies, pictures of one subject,
frames of one clip, and versions of one image. Of a source and its N edits every ordered pair
is one, N(N+1) in all: the N edits, their N inverses, whose target is not edited, and N(N-1)
edits of edits (Z-Image, arXiv:2511.22699, section 2.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["copy", "subject", "video", "edit"]
KINDS: tuple[Kind, ...] = ("copy", "subject", "video", "edit")

Ids = npt.NDArray[np.int64]
Similarity = Callable[[Ids, Ids], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class PairOptions:
    """Which pairs are wanted.

    Args:
        kinds: Of pairs.
        copy_low: Least similarity of near-copies, in [-1, 1].
        subject_low: Least similarity of pictures of one subject.
        video_low: Least similarity of two frames of a clip.
        high: From this similarity on two images are taken for the same; edits are exempt.
        per_group: Most pairs of images of one group; edits are exempt.
        per_edit_group: Most pairs of images of one group of edits; ``None`` for all.
        seed: Decides which pairs of a group are taken where there are more.
    """

    kinds: Sequence[Kind] = KINDS
    copy_low: float = 0.85
    subject_low: float = 0.65
    video_low: float = 0.65
    high: float = 0.985
    per_group: int = 6
    per_edit_group: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Chosen:
    """Two images that make a pair, one way and the other.

    Args:
        first: The lower item id.
        second: The higher one.
        kind: What makes them a pair.
        group: The group both are from.
        similarity: Cosine in [-1, 1]; ``None`` where one of them has no vector.
    """

    first: int
    second: int
    kind: Kind
    group: str
    similarity: float | None

    def both_ways(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Source and target, and the other way round."""
        return (self.first, self.second), (self.second, self.first)


@dataclass(frozen=True)
class Members:
    """What is known of all items, in arrays of one length.

    Args:
        ids: int64, ascending.
        cluster: int64, the near-copy community.
        subject: int64, the loosest community.
        keep: bool, whether deduplication kept it.
        content: uint64, a hash of the bytes: equal for byte-equal images.
    """

    ids: Ids
    cluster: Ids
    subject: Ids
    keep: npt.NDArray[np.bool_]
    content: npt.NDArray[np.uint64]

    def places(self, ids: Ids) -> npt.NDArray[np.intp]:
        """Where items stand; every one must be there."""
        return np.searchsorted(self.ids, ids)

    def known(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Whether items are there."""
        places = np.minimum(np.searchsorted(self.ids, ids), max(0, len(self.ids) - 1))
        return self.ids[places] == ids if len(self.ids) else np.zeros(len(ids), bool)


class CommunityPairs:
    """Chooses pairs of near-copies and of one subject from edges, a block at a time.

    Two images of one near-copy community are a ``copy`` pair; two of one subject, but of two
    near-copy communities and both kept, a ``subject`` pair. Memory grows with the number of
    groups, not of edges.

    Args:
        members: All items that take part.
        options: Which pairs are wanted.
    """

    def __init__(self, members: Members, options: PairOptions) -> None:
        self._members = members
        self._options = options
        self._taken = _Rows.empty()
        self._unsorted = 0

    def add(self, src: Ids, dst: Ids, similarity: npt.NDArray[np.float32]) -> None:
        """Take a block of edges: int64, int64, float32, one length."""
        rows = self._candidates(src, dst, similarity)
        if not len(rows.first):
            return
        self._taken = _Rows.joined(self._taken, rows)
        self._unsorted += len(rows.first)
        # Not after each block: sorting what is kept anew costs as much as the block.
        if self._unsorted > max(1_000_000, len(self._taken.first) // 2):
            self._shrink()

    def chosen(self) -> list[Chosen]:
        """The pairs, by group and then by ids."""
        self._shrink()
        rows = self._taken
        return [
            Chosen(
                int(rows.first[i]),
                int(rows.second[i]),
                "copy" if rows.copy[i] else "subject",
                f"{'copy' if rows.copy[i] else 'subject'}:{rows.group[i]}",
                float(rows.similarity[i]),
            )
            for i in np.lexsort((rows.second, rows.first, rows.group, ~rows.copy))
        ]

    def _candidates(self, src: Ids, dst: Ids, similarity: npt.NDArray[np.float32]) -> _Rows:
        options, members = self._options, self._members
        known = members.known(src) & members.known(dst) & (similarity < options.high)
        first, second = np.minimum(src, dst)[known], np.maximum(src, dst)[known]
        similarity = similarity[known]
        a, b = members.places(first), members.places(second)
        copy = members.cluster[a] == members.cluster[b]
        subject = ~copy & (members.subject[a] == members.subject[b])
        subject &= members.keep[a] & members.keep[b]
        wanted = (copy & ("copy" in options.kinds) & (similarity >= options.copy_low)) | (
            subject & ("subject" in options.kinds) & (similarity >= options.subject_low)
        )
        wanted &= members.content[a] != members.content[b]
        group = np.where(copy, members.cluster[a], members.subject[a])
        lot = _lots(first, second, options.seed)
        columns = (first, second, similarity, copy, group, lot)
        return _Rows(*(column[wanted] for column in columns))

    def _shrink(self) -> None:
        """Of each group the pairs with the lowest lots."""
        rows = self._taken
        order = np.lexsort((rows.second, rows.first, rows.lot, rows.group, rows.copy))
        rows = rows.take(order)
        if len(rows.first):
            same = (rows.first[1:] == rows.first[:-1]) & (rows.second[1:] == rows.second[:-1])
            rows = rows.take(np.flatnonzero(np.r_[True, ~same]))
            new = (rows.group[1:] != rows.group[:-1]) | (rows.copy[1:] != rows.copy[:-1])
            starts = np.flatnonzero(np.r_[True, new])
            rank = np.arange(len(rows.first)) - np.repeat(
                starts, np.diff(np.r_[starts, len(rows.first)])
            )
            rows = rows.take(np.flatnonzero(rank < self._options.per_group))
        self._taken, self._unsorted = rows, 0


@dataclass(frozen=True)
class _Rows:
    """Candidate pairs, in arrays of one length."""

    first: Ids
    second: Ids
    similarity: npt.NDArray[np.float32]
    copy: npt.NDArray[np.bool_]
    group: Ids
    lot: npt.NDArray[np.uint64]

    @classmethod
    def empty(cls) -> _Rows:
        ids = np.empty(0, np.int64)
        return cls(
            ids, ids, np.empty(0, np.float32), np.empty(0, bool), ids, np.empty(0, np.uint64)
        )

    @classmethod
    def joined(cls, one: _Rows, other: _Rows) -> _Rows:
        pairs = zip(vars(one).values(), vars(other).values(), strict=True)
        return cls(*(np.concatenate(columns) for columns in pairs))

    def take(self, places: npt.NDArray[np.intp]) -> _Rows:
        return _Rows(*(column[places] for column in vars(self).values()))


def choose_from_groups(
    kind: Kind,
    groups: Mapping[str, Sequence[int]],
    members: Members,
    similarity: Similarity,
    options: PairOptions,
) -> list[Chosen]:
    """Pairs inside groups that are known: frames of a clip, or versions of an image.

    Items with the same bytes as one before them in the group are left out. Of frames only
    pairs within the band of similarity are taken; of versions of an image all, since what the
    group says is certain.

    Args:
        kind: ``video`` or ``edit``.
        groups: Item ids by name of the group.
        members: All items that take part; others are left out.
        similarity: Cosine of two lists of items; NaN where one has no vector.
        options: Which pairs are wanted.

    Returns:
        The pairs, by group and then by ids.
    """
    found: list[Chosen] = []
    if kind not in options.kinds:
        return found
    most = options.per_edit_group if kind == "edit" else options.per_group
    for name, identifiers in sorted(groups.items()):
        ids = _distinct(np.array(sorted(set(identifiers)), np.int64), members)
        pairs = np.array(list(combinations(ids.tolist(), 2)), np.int64).reshape(-1, 2)
        if not len(pairs):
            continue
        close = similarity(pairs[:, 0], pairs[:, 1])
        if kind == "video":
            within = (close >= options.video_low) & (close < options.high)
            pairs, close = pairs[within], close[within]
        order = np.lexsort(
            (pairs[:, 1], pairs[:, 0], _lots(pairs[:, 0], pairs[:, 1], options.seed))
        )
        taken = np.sort(order[:most])
        found += [
            Chosen(int(a), int(b), kind, name, None if np.isnan(c) else float(c))
            for (a, b), c in zip(pairs[taken], close[taken], strict=True)
        ]
    return found


def without_repeats(chosen: Iterable[Chosen]) -> list[Chosen]:
    """Each two images once: as the kind that says most, edit, video, copy, subject."""
    rank = {kind: place for place, kind in enumerate(("edit", "video", "copy", "subject"))}
    best: dict[tuple[int, int], Chosen] = {}
    for one in chosen:
        key = one.first, one.second
        if key not in best or rank[one.kind] < rank[best[key].kind]:
            best[key] = one
    return sorted(best.values(), key=lambda one: (rank[one.kind], one.group, one.first, one.second))


def _distinct(ids: Ids, members: Members) -> Ids:
    """Those that take part, of byte-equal ones the first."""
    ids = ids[members.known(ids)]
    _, first = np.unique(members.content[members.places(ids)], return_index=True)
    return ids[np.sort(first)]


def _lots(first: Ids, second: Ids, seed: int) -> npt.NDArray[np.uint64]:
    """A number per pair that looks random and depends on the pair and the seed alone."""
    mixed = _mix(first.astype(np.uint64) + np.uint64(seed))
    return _mix(mixed ^ second.astype(np.uint64))


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
