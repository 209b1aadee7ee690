"""Reading order: rows, columns, tables, vertical writing; independent of the input's order."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.ocr.lines import Line, make_line
from captioning.ocr.order import reading_order


def line(text: str, left: float, top: float, width: float, height: float = 20.0) -> Line:
    box = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    made = make_line(text, box, 0.9)
    assert made is not None
    return made


def tilted(lines: list[Line], degrees: float) -> list[Line]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = []
    for flat in lines:
        box = [(x * cos - y * sin, x * sin + y * cos) for x, y in flat.box]
        made = make_line(flat.text, box, flat.confidence)
        assert made is not None
        turned.append(made)
    return turned


def read(lines: list[Line], seed: int = 0) -> list[str]:
    shuffled = lines.copy()
    random.Random(seed).shuffle(shuffled)
    return [line.text for line in reading_order(shuffled)]


def columns_of_prose() -> list[Line]:
    """A headline over two columns with level lines, as in a magazine."""
    head = line("A Headline Over Both Columns", 0, 0, 640, 40)
    return [head] + [
        line(f"column {c} line {r}", c * 340, 60 + r * 22, 210 if r == 5 else 300)
        for c in range(2)
        for r in range(6)
    ]


def test_rows_from_left_to_right_and_from_top_to_bottom() -> None:
    lines = [
        line("one", 0, 0, 50), line("two", 80, 3, 50),
        line("three", 0, 40, 60), line("four", 90, 38, 60),
    ]  # fmt: skip
    assert read(lines) == ["one", "two", "three", "four"]


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    lines = columns_of_prose()
    for seed in range(5):
        assert read(lines, seed) == [line.text for line in lines]


def test_table_is_read_by_row() -> None:
    cells = [("Milk", "2.40"), ("Bread and butter", "10.15"), ("Tea", "1.00"), ("Total", "13.55")]
    lines = []
    for row, (name, price) in enumerate(cells):
        lines += [line(name, 0, row * 30, 12 * len(name)), line(price, 400, row * 30, 60)]
    assert read(lines) == [text for row in cells for text in row]


def test_vertical_chinese_is_read_from_the_right() -> None:
    poem = ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡"]
    lines = [line(text, 300 - 80 * n, 10, 50, 260) for n, text in enumerate(poem)]
    assert read(lines) == poem


def test_horizontal_title_comes_before_the_vertical_columns_below_it() -> None:
    lines = [line("静夜思", 100, 0, 160, 40)]
    lines += [
        line(t, 300 - 80 * n, 60, 50, 260) for n, t in enumerate(["床前明月光", "疑是地上霜"])
    ]
    assert read(lines) == ["静夜思", "床前明月光", "疑是地上霜"]


def test_a_tilted_page_is_read_like_a_straight_one() -> None:
    # At eight degrees the right end of a row lies lower than the left end of the next.
    lines = columns_of_prose()
    for degrees in (-8.0, 3.0, 8.0):
        assert read(tilted(lines, degrees)) == [line.text for line in lines]


def test_a_page_with_very_many_lines() -> None:
    lines = [line(f"line {n}", 0, 30 * n, 200) for n in range(1500)]
    assert read(lines) == [line.text for line in lines]


def test_small_words_beside_large_figures_stand_in_their_row() -> None:
    # The words' lower edge is level with the figures', so their middles are not.
    lines = [
        line("Great soap", 20, 0, 200, 30), line("from", 0, 90, 40, 16),
        line("5.80", 50, 50, 160, 70), line("Ask inside", 20, 135, 180, 24),
    ]  # fmt: skip
    assert read(lines) == ["Great soap", "from", "5.80", "Ask inside"]
    assert read(tilted(lines, 5.0)) == ["Great soap", "from", "5.80", "Ask inside"]


def test_words_above_each_other_beside_large_figures_come_first() -> None:
    lines = [line("now", 0, 55, 40, 16), line("only", 0, 100, 40, 16), line("5", 50, 50, 60, 70)]
    assert read(lines) == ["now", "only", "5"]


def test_labels_far_apart_are_read_one_by_one() -> None:
    """Two labels below each other and a word beside each: rows, although they form columns."""
    lines = []
    for top in (0, 300):
        lines += [
            line(f"Treadplates {top}", 0, top, 110), line(f"BENTLEY {top}", 10, top + 50, 80),
            line(f"{top + 590091}", 140, top + 15, 150, 42),
            line(f"EMPTY {top}", 420, top + 25, 70, 34),
        ]  # fmt: skip
    assert read(lines) == [one.text for one in lines]


_numbers = st.floats(0, 1000, allow_nan=False, width=32)
_boxes = st.tuples(_numbers, _numbers, st.floats(0, 300, width=32), st.floats(0, 300, width=32))


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(
        st.tuples(st.sampled_from(["Sale", "大甩卖", "汉", "$5", "A1 店"]), _boxes), max_size=25
    ),
    st.randoms(use_true_random=False),
)
def test_order_does_not_depend_on_the_order_of_the_input(
    given_lines: list[tuple[str, tuple[float, float, float, float]]], shuffler: random.Random
) -> None:
    lines = [line(text, *box) for text, box in given_lines]
    shuffled = lines.copy()
    shuffler.shuffle(shuffled)
    ordered = reading_order(lines)
    assert ordered == reading_order(shuffled)
    assert sorted(map(repr, ordered)) == sorted(map(repr, lines))
