"""Scenes: what is one, the space of all, the split, and withheld concepts."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.world import Group, Scene, all_scenes, is_withheld, sample_scenes, split
from generator.world.scene import BACKGROUNDS, GROUP_VALUES, attributes_right

RED = Group("circle", "red", 1, "left", "large")
BLUE = Group("star", "blue", 2, "right", "small")
SINGLES = list(all_scenes(1))
TRIPLE = ("shape", "colour", "place")


def test_the_space_is_what_it_says() -> None:
    assert len(SINGLES) == len(set(SINGLES)) == 2_400
    assert sum(1 for _ in all_scenes(2)) == 55_680


def test_groups_have_one_order_whatever_they_came_in() -> None:
    scene = Scene((BLUE, RED), "white")
    assert scene == Scene((RED, BLUE), "white")
    assert scene.groups == (RED, BLUE)
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Group("heart", "red", 1, "left", "large"), "shape must be one of circle"),
        (lambda: Group("star", "red", 4, "left", "small"), "count must be one of 1, 2, 3, got 4"),
        (lambda: Group("star", "red", 2, "left", "large"), "2 objects must be small"),
        (lambda: Scene((), "white"), "1 or 2 groups, got 0"),
        (lambda: Scene((RED,), "pink"), "background must be one of white"),
        (lambda: Scene((RED, Group("star", "blue", 1, "top", "small")), "white"), "opposite|left"),
        (lambda: Scene((RED, Group("circle", "red", 1, "right", "small")), "white"), "differ"),
        (lambda: Scene((BLUE, Group("star", "red", 2, "left", "small")), "white"), "at most 3"),
        (lambda: Scene.from_dict({"groups": []}), "no scene"),
        (lambda: Scene.from_dict({"groups": [{"shape": "star"}], "background": "white"}), "no sc"),
    ],
)
def test_what_is_no_scene_is_told(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_value_and_every_two_occur_in_training_but_not_every_three() -> None:
    seen: dict[tuple[str, ...], set[tuple[object, ...]]] = {}
    out: set[tuple[object, ...]] = set()
    for scene in SINGLES:
        group = scene.groups[0]
        if split(scene) == "train":
            for size in (1, 2, 3):
                for names in combinations(TRIPLE, size):
                    values = tuple(getattr(group, name) for name in names)
                    seen.setdefault(names, set()).add(values)
        else:
            out.add(tuple(getattr(group, name) for name in TRIPLE))
    for names in combinations(TRIPLE, 2):
        assert len(seen[names]) == len(GROUP_VALUES[names[0]]) * len(GROUP_VALUES[names[1]])
    assert len(out) == 16
    assert not out & seen[TRIPLE]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SINGLES))
def test_the_split_goes_by_each_group(scene: Scene) -> None:
    group = scene.groups[0]
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    if group.place == "centre":
        return
    shape = "star" if group.shape != "star" else "cross"
    if group.count == 3:
        return
    other = Group(shape, group.colour, 1, opposite[group.place], "small")
    sides = {split(scene), split(Scene((other,), scene.background))}
    both = split(Scene((group, other), scene.background))
    assert (both == "held_out") == ("held_out" in sides)


def test_a_split_by_scene_takes_a_tenth_and_does_not_change() -> None:
    out = [scene for scene in SINGLES if split(scene, "scene") == "held_out"]
    assert len(out) == 236
    with pytest.raises(ValueError, match="by must be"):
        split(SINGLES[0], "colour")  # type: ignore[arg-type]


def test_scenes_are_drawn_by_lot_without_repeats() -> None:
    scenes = sample_scenes(300, 5, side="train")
    assert scenes == sample_scenes(300, 5, side="train") != sample_scenes(300, 6, side="train")
    assert len(set(scenes)) == 300
    assert {split(scene) for scene in scenes} == {"train"}
    assert Counter(len(scene.groups) for scene in scenes) == {1: 150, 2: 150}
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    for name, values in GROUP_VALUES.items():
        found = {getattr(group, name) for scene in scenes for group in scene.groups}
        assert found == set(values)


def test_more_scenes_than_there_are_is_an_error() -> None:
    assert len(sample_scenes(2_400, groups=1)) == 2_400
    with pytest.raises(ValueError, match="count must be at most 2400"):
        sample_scenes(2_401, groups=1)


def test_concepts_are_withheld() -> None:
    without = {"shape": ["star"], "colour+shape": [("red", "circle")]}
    scenes = sample_scenes(400, 1, without=without)
    shown = {(group.colour, group.shape) for scene in scenes for group in scene.groups}
    assert not [pair for pair in shown if pair[1] == "star" or pair == ("red", "circle")]
    assert ("red", "square") in shown
    assert ("blue", "circle") in shown
    assert is_withheld(Scene((RED, BLUE), "white"), {"background+colour": [("white", "blue")]})
    # The values of a concept are those of one group, not of one here and one there.
    assert not is_withheld(Scene((RED, BLUE), "white"), {"colour+shape": [("blue", "circle")]})


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ({"form": ["star"]}, "an attribute must be one of shape"),
        ({"shape": ["heart"]}, "shape must be one of circle"),
        ({"shape": "star"}, "must be a list"),
        ({"colour+shape": [("red",)]}, "needs 2 values"),
    ],
)
def test_unknown_concepts_are_told(without, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_scenes(1, without=without)


def test_attributes_are_compared_one_by_one() -> None:
    scene = Scene((RED,), "white")
    assert attributes_right(scene, scene) == 1
    assert attributes_right(scene, Scene((RED,), "black")) == pytest.approx(5 / 6)
    small = Group("circle", "red", 1, "left", "small")
    assert attributes_right(scene, Scene((small,), "white")) == pytest.approx(5 / 6)
    # A group too many, or too few, agrees in nothing.
    assert attributes_right(scene, Scene((RED, BLUE), "white")) == pytest.approx(6 / 11)
    assert attributes_right(Scene((RED, BLUE), "white"), scene) == pytest.approx(6 / 11)
    assert attributes_right(scene, scene, frozenset({(0, "shape")})) == pytest.approx(1 / 6)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SINGLES), st.sampled_from(SINGLES))
def test_agreement_is_mutual(one: Scene, other: Scene) -> None:
    share = attributes_right(one, other)
    assert share == attributes_right(other, one)
    assert (share == 1) == (one == other)
