"""Looking again: when it happens, what it costs, and which reading stays."""

import numpy as np
import pytest

from captioning.ocr.lines import Line, make_line
from captioning.ocr.looks import Pixels, Reader

UPRIGHT = ((20, 10), (180, 10), (180, 30), (20, 30))


def line(text: str, box: object, sure: float = 0.95) -> Line:
    made = make_line(text, np.array(box), sure)
    assert made is not None
    return made


class Page:
    """Text in a picture of 300 x 150 whose red corner shows how it was turned.

    It reads well only upright; on its side its box is tall.
    """

    def __init__(self, sure: float = 0.95, wrong: float = 0.3) -> None:
        self.pixels = np.full((150, 300, 3), 255, np.uint8)
        self.pixels[0, 0] = (255, 0, 0)
        self.looks: list[tuple[tuple[int, int], int]] = []
        self._sure, self._wrong = sure, wrong

    def find(self, image: Pixels, max_side: int) -> list[Line]:
        height, width = image.shape[:2]
        self.looks.append(((width, height), max_side))
        if (image[0, 0] == (255, 0, 0)).all():
            return [line("Fresh Bread", UPRIGHT, self._sure)]
        x = np.array(UPRIGHT) * (1.0, 1.0)
        box = [(x[n, 1], x[n, 0]) for n in (0, 3, 2, 1)] if height > width else UPRIGHT
        return [line("peaJq yseJj", box, self._wrong)]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_page_is_read_upright_and_boxes_lie_in_the_picture_given(quarters: int) -> None:
    page = Page()
    given = np.ascontiguousarray(np.rot90(page.pixels, quarters))
    (found,) = Reader(page.find, 736, 0.5).read(given)
    assert found.text == "Fresh Bread"
    # The box in a mask, turned like the picture, is where it was found.
    mask = np.zeros((150, 300), bool)
    mask[10:30, 20:180] = True
    rows, columns = np.nonzero(np.rot90(mask, quarters))
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found.bounds == pytest.approx(expected)
    assert len(page.looks) <= 3


def test_what_reads_well_is_looked_at_once() -> None:
    page = Page()
    Reader(page.find, 736, 0.5).read(page.pixels)
    assert page.looks == [((300, 150), 736)]


def test_what_never_reads_well_stays_as_it_was() -> None:
    page = Page(sure=0.3, wrong=0.6)
    (found,) = Reader(page.find, 736, 0.5).read(np.ascontiguousarray(page.pixels[::-1, ::-1]))
    assert (found.text, found.bounds) == ("peaJq yseJj", (20, 10, 180, 30))


def test_a_large_picture_without_text_is_looked_at_once() -> None:
    looks = []
    reader = Reader(lambda image, side: looks.append(side) or [], 736, 0.5)  # type: ignore[func-returns-value]
    assert reader.read(np.zeros((3000, 2000, 3), np.uint8)) == []
    assert looks == [736]


def test_small_letters_are_looked_at_larger_and_large_ones_kept() -> None:
    """Rows of 20 pixels in an image of 2400 are 6 pixels high at detection."""
    head = line("A HEADLINE", ((0, 0), (1000, 0), (1000, 200), (0, 200)))
    blurred = [line(f"r0w {n} of a long paragraph", _row(n), 0.8) for n in range(5)]
    clear = [line(f"row {n}", _row(n), 0.99) for n in range(6)]
    looks = []

    def find(_: Pixels, max_side: int) -> list[Line]:
        looks.append(max_side)
        return [head, *blurred] if max_side == 736 else clear

    found = Reader(find, 736, 0.5).read(np.zeros((2400, 1200, 3), np.uint8))
    assert [one.text for one in found] == ["A HEADLINE", *(f"row {n}" for n in range(6))]
    assert looks[0] == 736
    assert len(looks) == 2
    assert 1500 < looks[1] <= 2400


def _row(number: int) -> list[tuple[int, int]]:
    top = 300 + 60 * number
    return [(0, top), (400, top), (400, top + 20), (0, top + 20)]


@pytest.mark.parametrize(("sure", "texts"), [(0.9, ["PAIN"]), (0.7, [])])
def test_a_small_picture_gets_a_second_chance_on_a_sheet(sure: float, texts: list[str]) -> None:
    sheets = []

    def find(image: Pixels, _: int) -> list[Line]:
        if image.shape == (24, 60, 3):
            return []
        sheets.append(image)
        height, width = image.shape[:2]
        middle = ((width / 3, height / 3), (width * 2 / 3, height / 3))
        low = ((width * 2 / 3, height * 2 / 3), (width / 3, height * 2 / 3))
        return [line("PAIN", (*middle, *low), sure)]

    found = Reader(find, 736, 0.5).read(np.full((24, 60, 3), (10, 90, 120), np.uint8))
    assert [one.text for one in found] == texts
    assert (sheets[0][0, 0] == (10, 90, 120)).all(), "a sheet of the edges' colour"
    assert sheets[0].shape[1] > 190
    if found:
        left, top, right, bottom = found[0].bounds
        assert 0 <= left < 30 < right <= 60
        assert 0 <= top < 12 < bottom <= 24
