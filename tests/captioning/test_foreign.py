"""English is told from other languages that are written in the same letters."""

import pytest

from captioning.checks import in_other_language
from captioning.foreign import looks_foreign
from captioning.metadata import read_metadata

ENGLISH = (
    "A man walks his dog along the beach in the evening.",
    "Blue plaque of Octavia Hill, London",
    "A poster for the film Les enfants du paradis, on a wall of the Cinema de la Paix.",
    "dog, grass, park, Rio de Janeiro",
    "The landscape-format image is mainly brown and blue with some orange.",
    "",
)
FOREIGN = (
    "Un chien dort sur le canape dans une grande piece avec des fleurs.",
    "Ein Hund liegt auf dem Sofa und schaut aus dem Fenster.",
    "Un perro duerme en el sofa con una manta y las flores.",
    "Un cane dorme sul divano con la coperta e il gatto della casa.",
    "Um cachorro dorme no sofá com uma manta e as flores da casa.",
    "Een hond ligt op de bank met een deken en het raam is open.",
)


@pytest.mark.parametrize("text", ENGLISH)
def test_english(text: str) -> None:
    assert not looks_foreign(text)


@pytest.mark.parametrize("text", FOREIGN)
def test_other_languages(text: str) -> None:
    assert looks_foreign(text)
    assert in_other_language(text, "en")
    assert not in_other_language(f"A sign that reads “{text}”.", "en")
    alt = read_metadata(text, "en").alt
    assert alt is not None
    assert alt.language == "other"
