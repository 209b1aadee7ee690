"""Lines that run on become one passage, others stay apart; colours that rule and that do not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from captioning.composition import describe_look, group_text
from captioning.ocr.lines import Line, make_line


def paragraph(texts: list[tuple[str, int]]) -> list[Line]:
    """Lines under each other, each with its width."""
    lines = []
    for number, (text, width) in enumerate(texts):
        top = 20 + 24 * number
        box = [(20, top), (20 + width, top), (20 + width, top + 20), (20, top + 20)]
        line = make_line(text, box, 0.99)
        assert line is not None
        lines.append(line)
    return lines


def passages(texts: list[tuple[str, int]]) -> list[str]:
    return [text for group in group_text(paragraph(texts), 640, 480) for text in group.texts]


def test_a_wrapped_paragraph_is_one_passage() -> None:
    assert passages(
        [
            ("This is a lot of text to test the", 400),
            ("reader and see if it works on", 395),
            ("all files.", 90),
            ("The quick brown fox jumped over", 400),
            ("the dog.", 80),
        ]
    ) == [
        "This is a lot of text to test the reader and see if it works on all files.",
        "The quick brown fox jumped over the dog.",
    ]
    assert passages([("分开洗涤，不宜长时间浸泡，有", 300), ("拉链的先将拉链扣好。", 210)]) == [
        "分开洗涤，不宜长时间浸泡，有拉链的先将拉链扣好。"
    ]


def test_lines_that_stand_for_themselves_stay_apart() -> None:
    notice = [
        ("The lift is out of order today.", 300),
        ("Please use the stairs by the door.", 305),
        ("We are sorry for the delay.", 260),
    ]
    assert passages(notice) == [text for text, _ in notice]
    menu = [("Soup of the day 4.50", 200), ("Bread and butter 2.00", 205)]
    assert passages(menu) == [text for text, _ in menu]
    poem = [("床前明月光", 150), ("疑是地上霜", 150)]
    assert passages(poem) == [text for text, _ in poem]


def test_the_same_text_twice_in_one_place_is_told_once() -> None:
    assert passages([("SALE", 90), ("SALE", 90), ("Today", 90)]) == ["SALE", "Today"]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=30), st.integers(20, 500)), max_size=8))
def test_every_line_is_in_a_passage_word_for_word(texts: list[tuple[str, int]]) -> None:
    lines = [
        line
        for number, (text, width) in enumerate(texts)
        if (line := make_line(text, [(9, 24 * number), (9 + width, 24 * number),
                                     (9 + width, 24 * number + 20), (9, 24 * number + 20)], 0.9))
    ]  # fmt: skip
    found = [text for group in group_text(lines, 640, 480) for text in group.texts]
    assert all(any(line.text in text for text in found) for line in lines)


def test_an_image_of_many_colours_has_no_main_one() -> None:
    colours = [(200, 20, 30), (30, 60, 200), (40, 140, 50), (250, 220, 40), (245, 140, 20)]
    colours += [(110, 40, 150), (50, 190, 190), (110, 70, 35)]
    stripes = np.array(colours, np.uint8)[None].repeat(12, axis=1).repeat(80, axis=0)
    look = describe_look(stripes)
    assert look.mixed
    assert len(look.colours) == 3
    assert not describe_look(stripes[:, :24]).mixed
