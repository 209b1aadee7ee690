"""Pairs as a person has judged them, matched with the stored ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dedup.arrays import Bools, Doubles, Ints, name_rows
from dedup.restore import Searchable

#: What a label may say.
LABELS = ("yes", "no", "unsure")


@dataclass(frozen=True)
class Judged:
    """Labels that count, a pair each.

    Args:
        similarity: In [-1, 1], float64 (n,).
        yes: Whether it is a pair of duplicates, bool (n,).
        unsure: Pairs nobody could decide; they are left out.
        equal: Pairs of equal items; they are left out, as no threshold parts them.
    """

    similarity: Doubles
    yes: Bools
    unsure: int
    equal: int


def match_labels(labels: pa.Table, searched: Searchable, ids: Ints) -> Judged:
    """Look up the similarity of labelled pairs.

    A pair may be named in either order, and more than once as long as its labels agree; a copy
    may stand for the item that it equals.

    Args:
        labels: src, dst (int64, ids), label (string: yes, no or unsure).
        searched: Nodes and graph.
        ids: Of its rows, int64 (n,), ascending.

    Returns:
        The labels, ascending by pair.

    Raises:
        ValueError: For a label that is none of the three, a pair that was not stored, or one
            with both yes and no; names the first.
    """
    said = _said(labels)
    src, dst = (_nodes(labels.column(name).to_numpy(), searched, ids) for name in ("src", "dst"))
    equal = (src == dst) & (src >= 0)
    equal &= labels.column("src").to_numpy() != labels.column("dst").to_numpy()
    place = np.where(equal, 0, _places(searched, np.minimum(src, dst), np.maximum(src, dst)))
    _check_known(labels, place)
    sure = ~equal & (said != "unsure")
    _check_agreement(labels, np.where(sure, place, -1), said)
    places, at = np.unique(place[sure], return_index=True)
    unsure = np.unique(place[~equal & (said == "unsure")])
    return Judged(
        similarity=searched.graph.similarity[places].astype(np.float64),
        yes=said[sure][at] == "yes",
        unsure=len(np.setdiff1d(unsure, places)),
        equal=int(np.count_nonzero(equal)),
    )


def _said(labels: pa.Table) -> np.ndarray:
    """The labels in lower case, as an array of str."""
    said = [str(each).strip().lower() for each in labels.column("label").to_pylist()]
    for row, each in enumerate(said):
        if each not in LABELS:
            raise ValueError(f"label {row + 1} must be one of {', '.join(LABELS)}, got {each!r}")
    return np.array(said, dtype=str)


def _nodes(wanted: Ints, searched: Searchable, ids: Ints) -> Ints:
    """The node of each item; -1 where there is no such item."""
    rows = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    known = ids[rows] == wanted if len(ids) else np.zeros(len(wanted), dtype=np.bool_)
    return np.where(known, searched.nodes.of_row[rows] if len(ids) else -1, -1)


def _places(searched: Searchable, src: Ints, dst: Ints) -> Ints:
    """The place of each pair of nodes in the graph, which is sorted; -1 where there is none."""
    graph = searched.graph
    keys = graph.src * graph.count + graph.dst
    wanted = src * graph.count + dst
    place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    return np.where((keys[place] == wanted) & (src >= 0), place, -1)


def _check_known(labels: pa.Table, place: Ints) -> None:
    unknown = np.flatnonzero(place < 0)
    if len(unknown):
        pair = labels.slice(int(unknown[0]), 1).to_pylist()[0]
        raise ValueError(
            f"{len(unknown)} of {len(place)} labelled pairs are not among the stored ones, such as "
            f"{pair['src']} and {pair['dst']}: label pairs that the explorer shows of this corpus"
        )


def _check_agreement(labels: pa.Table, place: Ints, said: np.ndarray) -> None:
    yes, no = (np.unique(place[(place >= 0) & (said == each)]) for each in ("yes", "no"))
    both = np.intersect1d(yes, no)
    if len(both):
        rows = np.flatnonzero(place == both[0])
        pair = labels.slice(int(rows[0]), 1).to_pylist()[0]
        raise ValueError(
            f"{len(both)} pairs are labelled both yes and no, such as {pair['src']} and "
            f"{pair['dst']} (labels {name_rows(rows + 1)}): keep one of them"
        )
