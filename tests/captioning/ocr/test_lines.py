"""Lines: script, language, plain values and the area text takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.language import clean_text, language_of, normalise, script_of
from captioning.ocr.lines import Line, letter_height, lies_in, make_line, text_area

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))


@pytest.mark.parametrize(
    ("text", "script", "language"),
    [
        ("Big Sale", "latin", "en"),
        ("Ｂｉｇ Ｓａｌｅ", "latin", "en"),
        ("Straße nach Süden", "latin", "other"),
        ("清仓大甩卖", "han", "zh"),
        ("般若波羅蜜多心經", "han", "zh"),
        ("Apple 苹果专卖店", "mixed", "zh"),
        ("Welcome to the old town of 大理", "mixed", "en"),
        ("こんにちは世界", "other", "other"),
        ("Привет", "other", "other"),
        ("$60.44", "other", "other"),
        ("★★★", "other", "other"),
    ],
)
def test_script_and_language(text: str, script: str, language: str) -> None:
    assert script_of(text) == script
    assert language_of(text) == language


@given(st.text())
def test_a_line_is_one_line_and_comes_back_from_plain_values(text: str) -> None:
    line = make_line(text, SQUARE, 0.93)
    if line is None:
        assert not clean_text(text)
        return
    assert line.text == line.text.strip()
    assert len(line.text.splitlines()) == 1
    assert Line.from_row(line.to_row()) == line
    older = {name: value for name, value in line.to_row().items() if name != "mark"}
    assert Line.from_row(older) == line
    line.text.encode("utf-8")  # a lone surrogate could not be written to a table


def test_confidence_is_kept_within_its_range() -> None:
    line = make_line("a", SQUARE, 1.0000001)
    assert line is not None
    assert line.confidence == 1.0


def test_comparison_folds_width_and_white_space() -> None:
    assert normalise("ＡＢＣ　１２３") == normalise("ABC 1 23")
    assert normalise("色 即 是 空") == "色即是空"
    assert normalise("Sale") != normalise("sale")


def test_text_area_is_a_share_of_the_image_and_clipped_to_it() -> None:
    line = make_line("a", SQUARE, 1.0)
    outside = make_line("a", [(-10, 0), (10, 0), (10, 10), (-10, 10)], 1.0)
    tilted = make_line("a", [(5, 0), (10, 5), (5, 10), (0, 5)], 1.0)
    assert line
    assert outside
    assert tilted
    assert text_area([line], 20, 20) == pytest.approx(0.25)
    assert text_area([outside], 20, 20) == pytest.approx(0.25)
    assert text_area([tilted], 10, 10) == pytest.approx(0.5)
    assert text_area([], 20, 20) == 0.0


def test_a_line_lies_in_a_box_as_it_is_tilted_and_not_in_the_rectangle_around_it() -> None:
    tilted = make_line("a", [(0, 0), (100, 100), (90, 110), (-10, 10)], 1.0)
    inside = make_line("b", [(45, 45), (55, 55), (50, 60), (40, 50)], 1.0)
    corner = make_line("c", [(80, 0), (100, 0), (100, 20), (80, 20)], 1.0)
    assert tilted
    assert inside
    assert corner
    assert lies_in(inside, tilted)
    assert not lies_in(corner, tilted)
    assert letter_height(tilted) == pytest.approx(200**0.5)
