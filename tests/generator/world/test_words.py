"""Captions say all of a scene, and are read back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.world import KINDS, LANGUAGES, Group, Scene, all_scenes, caption, parse
from generator.world.words import Kind, Language

SCENES = list(all_scenes(1)) + list(all_scenes(2))[::7]
PAIR = Scene(
    (Group("cross", "red", 2, "top", "small"), Group("star", "cyan", 1, "bottom", "large")), "grey"
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SCENES), st.sampled_from(LANGUAGES), st.sampled_from(KINDS))
def test_captions_are_read_back(scene: Scene, language: Language, kind: Kind) -> None:
    text = caption(scene, language, kind)
    assert parse(text) == scene
    assert parse(text.upper()) == scene


def test_no_two_scenes_share_a_caption() -> None:
    for language in LANGUAGES:
        texts = {caption(scene, language, kind) for scene in SCENES for kind in KINDS}
        assert len(texts) == len(SCENES) * len(KINDS)
        # Longer ones would be cut where captions are composed.
        assert max(map(len, texts)) <= {"en": 115, "zh": 45}[language]


def test_the_words() -> None:
    assert caption(PAIR, "en", "plain") == (
        "two red crosses at the top and a large cyan star at the bottom, grey background"
    )
    assert caption(PAIR, "zh", "background") == (
        "灰色背景上，上方是两个红色十字形，下方是一个大的青色五角星。"
    )


def test_the_seed_chooses_the_kind() -> None:
    texts = {caption(PAIR, "en", seed=seed) for seed in range(40)}
    assert texts == {caption(PAIR, "en", kind) for kind in KINDS}
    assert caption(PAIR, "zh", seed=3) == caption(PAIR, "zh", seed=3)


def test_what_follows_does_not_disturb() -> None:
    assert parse(f"{caption(PAIR, 'en', 'plain')}, white and red tones") == PAIR
    assert parse(f"{caption(PAIR, 'zh', 'plain')}，以灰色为主") == PAIR


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name a shape"),
        ("a dog on the left, white background", "must name a shape"),
        ("a large red star on the left", "one background"),
        ("a large red star on the left, white background, black background", "one background"),
        ("a red star on the left, white background", "large or small"),
        ("two large red stars on the left, white background", "must be small"),
        ("左边有一个大的红色五角星", "one background"),
    ],
)
def test_what_describes_no_scene_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_unknown_languages_and_kinds_are_told() -> None:
    with pytest.raises(ValueError, match="language must be one of en, zh"):
        caption(PAIR, "fr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind must be one of plain"):
        caption(PAIR, "en", "poem")  # type: ignore[arg-type]
