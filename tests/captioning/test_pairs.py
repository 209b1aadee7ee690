"""Which pairs are chosen, over sets whose groups are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.pairs import (
    Chosen,
    CommunityPairs,
    Members,
    PairOptions,
    choose_from_groups,
    without_repeats,
)


def members(count: int, **columns: list[int]) -> Members:
    ids = np.arange(count, dtype=np.int64) * 3
    given = {name: np.array(values) for name, values in columns.items()}
    return Members(
        ids=ids,
        cluster=given.get("cluster", ids).astype(np.int64),
        subject=given.get("subject", ids).astype(np.int64),
        keep=given.get("keep", np.ones(count)).astype(bool),
        content=given.get("content", np.arange(count)).astype(np.uint64),
    )


def cosine(value: float):
    return lambda a, b: np.full(len(a), value, np.float32)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 7), min_size=1, max_size=5))
def test_a_source_and_n_edits_make_n_times_n_plus_one_pairs(sizes: dict[str, int]) -> None:
    groups, start = {}, 0
    for name, edits in sizes.items():
        groups[name] = [3 * number for number in range(start, start + edits + 1)]
        start += edits + 1
    chosen = choose_from_groups("edit", groups, members(start), cosine(0.999), PairOptions())
    ways = [(one.group, *way) for one in chosen for way in one.both_ways()]
    assert len(set(ways)) == len(ways)
    for name, edits in sizes.items():
        mine = [way for way in ways if way[0] == name]
        assert len(mine) == edits * (edits + 1)
        assert {i for _, *way in mine for i in way} == set(groups[name])


def test_edits_need_no_vector_and_no_similarity_but_take_part() -> None:
    groups = {"g": [0, 3, 6, 7]}  # 7 was filtered out
    chosen = choose_from_groups("edit", groups, members(3), cosine(float("nan")), PairOptions())
    assert [(one.first, one.second) for one in chosen] == [(0, 3), (0, 6), (3, 6)]
    assert {one.similarity for one in chosen} == {None}
    same = members(3, content=[5, 5, 6])
    chosen = choose_from_groups("edit", groups, same, cosine(0.9), PairOptions())
    assert [(one.first, one.second) for one in chosen] == [(0, 6)]


def test_frames_are_taken_within_the_band_and_up_to_the_limit() -> None:
    clips = {"a": [0, 3, 6, 9], "b": [12, 15]}
    options = PairOptions(video_low=0.6, high=0.98, per_group=4, seed=1)
    for value, expected in [(0.5, 0), (0.6, 5), (0.97, 5), (0.98, 0), (float("nan"), 0)]:
        chosen = choose_from_groups("video", clips, members(6), cosine(value), options)
        assert len(chosen) == expected, value
        assert all({one.first, one.second} <= set(clips[one.group]) for one in chosen)
    again = choose_from_groups("video", clips, members(6), cosine(0.7), options)
    assert again == choose_from_groups("video", clips, members(6), cosine(0.7), options)
    several = [PairOptions(seed=seed, per_group=2) for seed in range(8)]
    seeds = {tuple(choose_from_groups("video", clips, members(6), cosine(0.7), o)) for o in several}
    assert len(seeds) > 1
    none = PairOptions(kinds=("edit",))
    assert choose_from_groups("video", clips, members(6), cosine(0.7), none) == []


def truth(count: int, rng: np.random.Generator) -> tuple[Members, list[tuple[int, int, float]]]:
    """Items in random communities, with edges between some of them and of others."""
    subject = rng.integers(0, 5, count)
    cluster = subject * 10 + rng.integers(0, 3, count)
    known = members(
        count,
        cluster=list(cluster),
        subject=list(subject),
        keep=list(rng.random(count) < 0.6),
        content=list(rng.integers(0, count, count)),
    )
    pairs = [pair for pair in combinations(range(count), 2) if rng.random() < 0.7]
    return known, [(a, b, float(rng.uniform(0.5, 1.0))) for a, b in pairs]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 50))
def test_community_pairs_are_right_whatever_the_order_of_edges(
    seed: int, limit: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    known, edges = truth(24, rng)
    options = PairOptions(copy_low=0.8, subject_low=0.6, high=0.97, per_group=limit, seed=seed)

    def choose(order: list[tuple[int, int, float]]) -> list[Chosen]:
        chooser = CommunityPairs(known, options)
        for start in range(0, len(order), block):
            piece = order[start : start + block]
            src, dst = (known.ids[[edge[i] for edge in piece]] for i in range(2))
            chooser.add(src, dst, np.array([edge[2] for edge in piece], np.float32))
        return chooser.chosen()

    chosen = choose(edges)
    turned = [(b, a, s) for a, b, s in edges]
    assert choose([edges[i] for i in rng.permutation(len(edges))]) == chosen
    assert choose(turned[::-1]) == chosen
    place = {int(identifier): number for number, identifier in enumerate(known.ids)}
    expected: dict[str, set[tuple[int, int]]] = {}
    for a, b, similarity in edges:
        value = np.float32(similarity)
        if known.content[a] == known.content[b] or value >= np.float32(0.97):
            continue
        copies = known.cluster[a] == known.cluster[b]
        related = known.subject[a] == known.subject[b] and known.keep[a] and known.keep[b]
        if copies and value >= np.float32(0.8):
            expected.setdefault(f"copy:{known.cluster[a]}", set()).add((a, b))
        if not copies and related and value >= np.float32(0.6):
            expected.setdefault(f"subject:{known.subject[a]}", set()).add((a, b))
    found: dict[str, set[tuple[int, int]]] = {}
    for one in chosen:
        assert one.group.startswith(one.kind)
        found.setdefault(one.group, set()).add((place[one.first], place[one.second]))
    assert {name: min(limit, len(pairs)) for name, pairs in expected.items()} == {
        name: len(pairs) for name, pairs in found.items()
    }
    assert all(found[name] <= expected[name] for name in found)


def test_edges_of_items_that_do_not_take_part_are_left_out() -> None:
    chooser = CommunityPairs(members(2, cluster=[0, 0]), PairOptions())
    chooser.add(np.array([0, 1, 0]), np.array([3, 3, 99]), np.array([0.9, 0.9, 0.9], np.float32))
    assert [(one.first, one.second) for one in chooser.chosen()] == [(0, 3)]
    empty = CommunityPairs(members(0), PairOptions())
    empty.add(np.array([0]), np.array([3]), np.array([0.9], np.float32))
    assert empty.chosen() == []


def test_two_images_are_one_pair_of_the_kind_that_says_most() -> None:
    copy = Chosen(0, 3, "copy", "copy:0", 0.9)
    video = Chosen(0, 3, "video", "video:a", 0.9)
    edit = Chosen(0, 3, "edit", "edit:s#1", 0.9)
    subject = Chosen(3, 6, "subject", "subject:0", 0.7)
    assert without_repeats([subject, copy, video]) == [video, subject]
    assert without_repeats([copy, edit, video, subject]) == [edit, subject]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_groups_of_edits_can_be_limited(most: int) -> None:
    options = PairOptions(per_edit_group=most)
    groups = {"g": [0, 3, 6, 9]}
    chosen = choose_from_groups("edit", groups, members(4), cosine(0.9), options)
    assert len(chosen) == most
