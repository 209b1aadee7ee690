"""Lines that fill the image: real text stays, photographs taken for a character do not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from captioning.ocr.lines import Line, make_line
from captioning.ocr.rapid import RapidEngine
from captioning.ocr.second_look import Pixels, confirmed
from tests.captioning.pictures import DATA, fixture


def line(text: str, left: float, top: float, right: float, bottom: float, sure: float) -> Line:
    made = make_line(text, [(left, top), (right, top), (right, bottom), (left, bottom)], sure)
    assert made is not None
    return made


class Reader:
    """Finds a text in the middle half of any sheet, and counts the looks."""

    def __init__(self, text: str, confidence: float = 0.9) -> None:
        self.sheets: list[Pixels] = []
        self._text, self._confidence = text, confidence

    def __call__(self, sheet: Pixels) -> list[Line]:
        self.sheets.append(sheet)
        height, width = sheet.shape[:2]
        box = (width / 4, height / 4, 3 * width / 4, 3 * height / 4)
        return [line(self._text, *box, self._confidence)]


SQUARE = np.zeros((200, 200, 3), np.uint8)
WHOLE = line("福", 0, 0, 200, 200, 0.95)


@pytest.fixture(scope="module")
def engine() -> RapidEngine:
    return RapidEngine()


def rings(period: int) -> Pixels:
    """Concentric waves, which a detector takes for an O."""
    y, x = np.mgrid[:240, :320]
    wave = 128 + 110 * np.cos(2 * np.pi * np.hypot(x - 160, y - 120) / period)
    return np.repeat(wave.astype(np.uint8)[:, :, None], 3, axis=2)


def big(text: str, size: tuple[int, int] = (400, 300), share: float = 0.8) -> Pixels:
    """Text as large as fits into a share of the picture."""
    image = Image.new("RGB", size, (250, 235, 180))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = ImageFont.load_default(100).getbbox(text)
    fit = min(size[0] / (right - left), size[1] / (bottom - top))
    font = ImageFont.load_default(100 * share * fit)
    middle = (size[0] // 2, size[1] // 2)
    draw.text(middle, text, fill=(150, 20, 30), font=font, anchor="mm")
    return np.asarray(image)


@pytest.mark.parametrize("period", [60, 90])
def test_waves_are_no_letter(engine: RapidEngine, period: int) -> None:
    picture = rings(period)
    assert [found.text.upper() for found in engine._find(picture, 736)] == ["O"], "no false find"
    assert engine.read([picture]) == [[]]


@pytest.mark.parametrize("text", ["R", "88", "SALE", "Go"])
def test_large_letters_stay(engine: RapidEngine, text: str) -> None:
    (found,) = engine.read([big(text)])[0]
    assert found.text == text
    assert found.confident


def test_a_large_chinese_character_stays(engine: RapidEngine) -> None:
    with Image.open(DATA / "sale.png") as image:
        picture = np.asarray(image.convert("RGB"))
    first = engine.read([picture])[0][0]
    left, top, right, bottom = (round(value) for value in first.bounds)
    crop = np.ascontiguousarray(picture[top:bottom, left:right])
    assert [found.text for found in engine.read([crop])[0]] == [first.text]
    one = np.ascontiguousarray(crop[:, : (right - left) // len(first.text)])
    larger = np.asarray(Image.fromarray(one).resize((360, 360), Image.Resampling.BICUBIC))
    assert [found.text for found in engine.read([larger])[0]] == [first.text[0]]


def test_small_lines_cost_no_second_look() -> None:
    reader = Reader("福")
    small = [line("福", 0, 0, 60, 60, 0.9), line("Open", 0, 80, 200, 100, 0.6)]
    assert confirmed(SQUARE, small, reader) == small
    assert reader.sheets == []


def test_a_large_line_gets_the_least_confidence_of_all_looks() -> None:
    (kept,) = confirmed(SQUARE, [WHOLE], Reader("福", 0.7))
    assert (kept.text, kept.box, kept.confidence) == (WHOLE.text, WHOLE.box, 0.7)
    assert confirmed(SQUARE, [WHOLE], Reader("福", 0.99)) == [WHOLE]


def test_another_text_or_another_place_is_no_confirmation() -> None:
    assert confirmed(SQUARE, [WHOLE], Reader("福福")) == []
    elsewhere = line("福", 0, 0, 200, 95, 0.9)
    assert confirmed(SQUARE, [elsewhere], Reader("福")) == [elsewhere]
    aside = line("福", 110, 0, 200, 200, 0.9)
    assert confirmed(SQUARE, [aside], lambda sheet: [line("福", 0, 0, 9, 9, 0.9)]) == []


def test_one_letter_of_a_word_may_differ() -> None:
    word = line("Davidson", 0, 0, 200, 200, 0.9)
    assert confirmed(SQUARE, [word], Reader("pavidson")) == [word]
    assert confirmed(SQUARE, [word], Reader("Harrison")) == []


def test_small_lines_beside_a_dropped_one_stay() -> None:
    small = line("Open", 0, 180, 60, 200, 0.6)
    assert confirmed(SQUARE, [WHOLE, small], Reader("自")) == [small]


def test_sheets_are_small_and_two_and_the_second_only_after_a_find() -> None:
    wide = np.zeros((1500, 2000, 3), np.uint8)
    whole = line("福", 0, 0, 2000, 1500, 0.9)
    reader = Reader("福")
    confirmed(wide, [whole], reader)
    assert len(reader.sheets) == 2
    assert all(max(sheet.shape) <= 260 for sheet in reader.sheets)
    reader = Reader("自")
    confirmed(wide, [whole], reader)
    assert len(reader.sheets) == 1


def test_the_picture_is_not_written_to(engine: RapidEngine) -> None:
    picture = fixture("sale")
    before = picture.copy()
    engine.read([picture])
    assert np.array_equal(picture, before)
