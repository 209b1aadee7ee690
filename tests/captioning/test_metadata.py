"""What captions take from an item's metadata."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.metadata import read_metadata


@pytest.mark.parametrize(
    ("alt", "expected"),
    [
        ("  Tom &amp; Jerry,\n a <b>poster</b> ", "Tom & Jerry, a poster"),
        ("IMG_2034.jpg", None),
        ("https://example.com/a.png", None),
        ("12345", None),
        ("", None),
        (None, None),
        ("5 < 6 and 7 > 2 apples", "5 < 6 and 7 > 2 apples"),
    ],
)
def test_alt_text_is_cleaned(alt: str | None, expected: str | None) -> None:
    found = read_metadata(alt).alt
    assert (found.text if found else None) == expected


@pytest.mark.parametrize(
    ("alt", "language"),
    [
        ("Menu of the Café Central, Vienna's oldest coffee house", "en"),
        ("Übergrößenträger für größere Körper", "other"),
        ("海边的日落", "zh"),
        ("iPhone 手机壳 全新正品", "zh"),
        ("夕焼けのきれいな海", "other"),
    ],
)
def test_language_by_the_letters_unless_it_is_known(alt: str, language: str) -> None:
    found = read_metadata(alt).alt
    assert found is not None
    assert found.language == language
    told = read_metadata(alt, "other").alt
    assert told is not None
    assert told.language == "other"


def test_fields_of_meta() -> None:
    meta = {
        "Title": "Sunset",
        "keywords": "sea, 海;  Sea",
        "tags": ["evening", 3],
        "city": "Xiamen",
        "country": "China",
        "exif": {"title": "not this"},
    }
    found = read_metadata("A quiet beach", None, json.dumps(meta))
    assert found.title is not None
    assert found.title.text == "Sunset"
    assert [word.text.lower() for word in found.keywords] == ["sea", "海", "evening"]
    assert found.place is not None
    assert found.place.text == "Xiamen, China"


def test_a_title_that_repeats_the_alt_text_says_nothing_new() -> None:
    assert read_metadata("Sunset at the sea", None, '{"title": "sunset"}').title is None


@given(
    st.one_of(
        st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
    )
)
def test_any_meta_is_survived(meta: str) -> None:
    read_metadata("alt", None, meta)


def test_endless_alt_text_is_cut() -> None:
    found = read_metadata("word " * 5000).alt
    assert found is not None
    assert len(found.text) <= 1000
    assert found.text.endswith("…")


def test_a_sentence_is_in_the_language_of_what_it_says_and_not_of_what_it_quotes() -> None:
    english = read_metadata('A menu that reads "家常菜", "红烧肉 58"', "zh").alt
    chinese = read_metadata("海报，写着“Spring Music Festival, every Friday night”", "en").alt
    quoted = read_metadata("“家常菜”", "en").alt
    assert [g.language for g in (english, chinese, quoted) if g] == ["en", "zh", "en"]


def test_the_marks_of_a_csv_file_are_taken_off() -> None:
    found = [
        read_metadata(alt).alt for alt in ('"A ""blue"" door"', '"A blue door"', 'He said "no"')
    ]
    assert [each and each.text for each in found] == [
        'A "blue" door',
        "A blue door",
        'He said "no"',
    ]
