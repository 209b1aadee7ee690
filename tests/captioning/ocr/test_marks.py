"""Marks: text read twice at one place, and text tiled over an image."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.ocr.lines import Line, make_line
from captioning.ocr.marks import marked


def line(
    text: str, x: float, y: float, width: float = 100, height: float = 20, *,
    sure: float = 0.9, degrees: float = 0.0,
) -> Line:  # fmt: skip
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    ways = [(0, 0), (width, 0), (width, height), (0, height)]
    box = [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in ways]
    made = make_line(text, box, sure)
    assert made is not None
    return made


def marks(lines: list[Line], size: tuple[int, int] = (1000, 1000)) -> list[str]:
    return [one.mark for one in marked(lines, *size)]


def tiles(text: str = "© Stock", degrees: float = -30.0, **options: float) -> list[Line]:
    return [
        line(text, 50 + 300 * x, 200 + 300 * y, degrees=degrees, **options)
        for y in range(3)
        for x in range(3)
    ]


def test_the_same_text_at_the_same_place_is_a_duplicate() -> None:
    lines = [line("Big Sale", 0, 0, sure=0.8), line("Big Sale", 4, 2, sure=0.95)]
    assert marks(lines) == ["duplicate", "none"]
    assert [one.quoted for one in marked(lines, 1000, 1000)] == [False, True]


def test_the_longer_of_two_readings_stays() -> None:
    lines = [line("5.8", 0, 0, 60, sure=0.99), line("only ￥5.8", 0, 0, 120, sure=0.9)]
    assert marks(lines) == ["duplicate", "none"]
    assert marks([line("BlG SALE", 0, 0), line("BIG SALE!", 1, 1)]) == ["duplicate", "none"]


def test_other_text_there_and_the_same_text_elsewhere_are_no_duplicates() -> None:
    assert marks([line("Big Sale", 0, 0), line("Closed", 4, 2)]) == ["none", "none"]
    assert marks([line("10.0", 0, 0), line("10.0", 400, 0)]) == ["none", "none"]
    # Rows of a tilted page: their upright rectangles overlap, their boxes do not.
    rows = [line("of the", 0, 40 * n, 600, degrees=20) for n in range(3)]
    assert marks(rows) == ["none"] * 3


def test_a_tiled_watermark_is_left_once() -> None:
    title = line("Harbour at dawn", 300, 950, 400, 40)
    lines = [*tiles(), title]
    lines[4] = line("© Stock", 350, 500, degrees=-30, sure=0.97)
    found = marks(lines)
    assert found.count("repeat") == 8
    assert (found[4], found[-1]) == ("none", "none")


def test_a_copy_read_wrong_is_a_copy() -> None:
    lines = tiles("GettyPhoto")
    lines[0] = line("GettyPhot0", 50, 200, degrees=-30, sure=0.99)
    found = marks(lines)
    assert found.count("repeat") == 8
    assert found[0] == "repeat", "the most frequent reading stays"


def test_units_in_a_table_and_few_or_unlike_copies_are_not_tiled() -> None:
    assert marks([line("U/L", 700, 40 * n, 40) for n in range(20)]) == ["none"] * 20
    assert marks([line("SALE", 300 * n, 300 * n) for n in range(3)]) == ["none"] * 3
    turned = [line("SALE", 300 * n, 300 * (n % 2), degrees=40 * n) for n in range(4)]
    assert marks(turned, (1000, 600)) == ["none"] * 4


def test_an_image_without_lines() -> None:
    assert marked([], 10, 10) == []


_numbers = st.floats(0, 900, allow_nan=False, width=32)
_lines = st.lists(
    st.builds(
        line,
        st.sampled_from(["Sale", "SALE", "Sale now", "大甩卖", "5"]), _numbers, _numbers,
        st.floats(0, 300, width=32), st.floats(0, 90, width=32),
        sure=st.floats(0, 1), degrees=st.sampled_from([0.0, 30.0]),
    ),
    max_size=16,
)  # fmt: skip


@settings(deadline=None)  # a busy machine is no failure
@given(_lines, st.randoms(use_true_random=False))
def test_marks_keep_lines_and_leave_every_text_once(
    lines: list[Line], shuffler: random.Random
) -> None:
    found = marked(lines, 1000, 1000)
    assert [(one.text, one.box) for one in found] == [(one.text, one.box) for one in lines]
    assert marked(found, 1000, 1000) == found
    unmarked = [one.text.casefold() for one in found if one.mark == "none"]
    assert all(any(x.text.casefold() in text for text in unmarked) for x in lines)
