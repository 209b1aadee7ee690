"""Prompts are versioned files."""

import pytest

from captioning.caption import CAPTION_NAMES
from captioning.prompts import load_prompt


def test_the_prompt_has_the_places_that_are_filled_in() -> None:
    assert set(load_prompt("caption.en").get_identifiers()) == {"lines", "metadata", "keys"}


def test_what_is_asked_again_has_places_too() -> None:
    places = {"incomplete", "missing", "foreign", "keys"}
    for version in ("v1", "v2"):
        assert set(load_prompt("revise.en", version).get_identifiers()) == places


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_level_is_explained(version: str) -> None:
    text = load_prompt("caption.en", version).template
    for level in {name[3:] for name in CAPTION_NAMES}:
        assert f"- {level}: " in text


def test_an_unknown_version_names_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match=r"caption\.v1\.en\.txt"):
        load_prompt("caption.en", "v99")
