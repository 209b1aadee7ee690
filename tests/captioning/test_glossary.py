"""What a text in one language mentions, said in the other: right, or not at all."""

from importlib.resources import files

import pytest

from captioning.glossary import mentioned, place_name, place_names, thing
from captioning.language import count_letters


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A man walks his dog along the beach.", ["男子", "狗", "海滩"]),
        ("Three cats on a sofa, with a lamp", ["猫", "沙发", "灯"]),
        ("A bike parked in front of a parking meter.", ["自行车", "停车计时器"]),
        ("Woman riding a horse", ["女子", "马"]),
        ("A cat and a cat.", ["猫"]),
    ],
)
def test_things_in_an_english_text(text: str, names: list[str]) -> None:
    assert [each.zh for each in mentioned(text, "en")] == names


@pytest.mark.parametrize(
    "text",
    [
        "A hot dog with mustard",
        "Dog food brands",
        "The Bridge Hotel",
        "Sea Lion Caves",
        "A toy car",
        "The carpet and the Catalan bookkeeper",
    ],
)
def test_names_and_compounds_mention_nothing_else(text: str) -> None:
    assert mentioned(text, "en") == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("一男一女在海滩旁边骑马。", ["a beach", "a horse"]),
        ("一只小狗趴在沙发上", ["a dog", "a sofa"]),
        ("马上就到", []),
        ("中山路上的花费", []),
    ],
)
def test_things_in_a_chinese_text(text: str, names: list[str]) -> None:
    assert [each.en for each in mentioned(text, "zh")] == names


def test_single_words() -> None:
    found = thing("Umbrellas", "en"), thing("雨伞", "zh"), thing("狗", "zh"), thing("qwerty", "en")
    assert [each and each.en for each in found] == ["an umbrella", "an umbrella", "a dog", None]
    assert found[0] is not None
    assert (found[0].word("en"), found[0].word("zh")) == ("umbrella", "雨伞")


def test_places() -> None:
    assert place_name("Hangzhou, China", "zh") == "中国杭州"
    assert place_name("杭州", "en") == "Hangzhou"
    assert place_name("Lower Slaughter, England", "zh") is None
    assert place_name(" , ", "zh") is None
    assert place_names("伦敦的雨天, and Parisian cafés in Rome") == ["London", "罗马"]


def test_the_list_is_whole() -> None:
    lines = (files("captioning") / "glossary.txt").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    places = [row[1:] for row in rows if row[0] == "place"]
    things = [row for row in rows if row[0] != "place"]
    assert all(len(row) == 2 for row in places)
    assert all(len(row) == 4 for row in things)
    for en, zh, english, chinese in things:
        assert not count_letters(en + english).han
        assert count_letters(zh).han
        assert all(form and form == form.strip() for form in english.split(","))
        assert all(count_letters(form).han > 1 or "T" in form for form in chinese.split(","))
    every = [form for row in things for form in row[3].split(",")]
    assert len(every) == len(set(every))
    every = [form for row in things for form in row[2].split(",")]
    assert len(every) == len(set(every))
