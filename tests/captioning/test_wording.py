"""Length, repetition, refusals and names: flagged where they are, and only there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.checks import invented_text, line_distance
from captioning.names import unknown_names
from captioning.wording import refuses, repetition, size_of


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot describe people in images.",
        "As an AI language model, I do not see images.",
        "Unfortunately, I am unable to assist with this request.",
        "抱歉，我无法描述这张图片。",
        "很抱歉，这张图片不合适。",
        "作为一个人工智能，我没有看到图片。",
        "我无法为您提供帮助。",
    ],
)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "A child with a sorry look on its face cannot reach the shelf.",
        "A sign that says sorry, we are closed.",
        "一个孩子向妈妈道歉，对不起写在黑板上。",
        "I love this city, says a mural on the wall.",
        "我的家乡，一幅水彩画。",
    ],
)
def test_captions_that_are_no_refusals(text: str) -> None:
    assert not refuses(text)


def test_length_is_counted_in_the_unit_of_the_level() -> None:
    assert size_of("red sign, wall, night", "en", "tags") == 3
    assert size_of("红色，标牌、夜晚", "zh", "tags") == 3
    assert size_of("A landscape-format image of 3 cats.", "en", "short") == 6
    assert size_of("三只猫，2 只狗。", "zh", "short") == 6


def test_repetition() -> None:
    assert repetition("a red sign on a wall " * 6, "en") > 0.7
    assert repetition("红色的标牌挂在墙上，" * 6, "zh") > 0.7
    assert repetition("A red sign hangs on a white wall beside a blue door at night.", "en") == 0
    assert repetition("一块红色的标牌挂在白色的墙上，旁边是一扇蓝色的门。", "zh") == 0
    assert repetition("the the the", "en") == 0, "too short to tell"


@pytest.mark.parametrize(
    ("caption", "language", "known", "names"),
    [
        ("A man stands in Paris near the Eiffel Tower.", "en", [], ["Paris", "Eiffel Tower"]),
        ("A man stands in Paris near the Eiffel Tower.", "en", ["paris"], ["Eiffel Tower"]),
        ("A man near the Eiffel Tower.", "en", ["The Eiffel Tower, 1890"], []),
        ("Taylor Swift sings on a stage.", "en", [], ["Taylor Swift"]),
        ("Trees line a road. Nobody is there. It is a wide image.", "en", [], []),
        ("A sign that reads “Café de Flore” in French letters.", "en", ["Café de Flore"], []),
        ("A Gothic church on a Sunday in May, with an LED sign.", "en", [], []),
        ("The Bank of China at night.", "en", [], ["Bank of China"]),
        ("red sign, Brooklyn Bridge, night", "en", [], ["Brooklyn Bridge"]),
        ("约翰·史密斯站在《蒙娜丽莎》前面。", "zh", [], ["蒙娜丽莎", "约翰·史密斯"]),
        ("王先生站在门口，旁边是一辆 Tesla。", "zh", ["Tesla"], ["王先生"]),
        ("一只猫坐在窗边，高高的树在外面。", "zh", [], []),
    ],
)
def test_names(caption: str, language: str, known: list[str], names: list[str]) -> None:
    found = unknown_names(caption, language, known)  # type: ignore[arg-type]
    assert sorted(found) == sorted(names)


def test_quoted_text_that_nobody_read() -> None:
    known = ["Fresh Bread", "每天现烤"]
    assert invented_text("It reads “Fresh Bread” and “每天现烤”.", known) == []
    assert invented_text("It reads “Fresh  bread”.", known) == []
    assert invented_text("It reads “Fresh Broad”.", known) == [], "one letter may be misread"
    assert invented_text("It reads “Fresh Bread 每天现烤”.", known) == [], "lines may be joined"
    assert invented_text("It reads “Stale Bread” and “现烤”.", known) == ["Stale Bread"]
    assert invented_text("写着「新鲜面包」。", known) == ["新鲜面包"]


def _naive(line: str, text: str) -> float:
    """The least Levenshtein distance to any passage, by trying all."""

    def distance(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            above, row = row, [i]
            for j, y in enumerate(b, 1):
                row.append(min(above[j - 1] + (x != y), above[j] + 1, row[j - 1] + 1))
        return row[-1]

    spans = {text[i:j] for i in range(len(text) + 1) for j in range(i, len(text) + 1)}
    return min(distance(line, span) for span in spans) / len(line)


@given(st.text("abc", min_size=1, max_size=5), st.text("abcd", max_size=9))
def test_the_distance_of_a_line_is_that_to_the_nearest_passage(line: str, text: str) -> None:
    assert line_distance(line, text) == pytest.approx(_naive(line, text))
