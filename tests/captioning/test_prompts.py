"""Prompts are versioned files."""

import pytest

from captioning.caption import CAPTION_NAMES
from captioning.prompts import load_prompt


def test_the_prompt_has_the_places_that_are_filled_in() -> None:
    assert set(load_prompt("caption.en").get_identifiers()) == {"lines", "metadata", "keys"}


def test_every_level_is_explained() -> None:
    text = load_prompt("caption.en", "v1").template
    for level in {name[3:] for name in CAPTION_NAMES}:
        assert f"- {level}: " in text


def test_an_unknown_version_names_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match=r"caption\.v1\.en\.txt"):
        load_prompt("caption.en", "v99")
