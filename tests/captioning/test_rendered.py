"""Rendered texts: an instruction says exactly what leads from one image to the other."""

from __future__ import annotations

import json
from itertools import islice, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.caption import LANGUAGES
from captioning.checks import language_purity
from captioning.rendered import (
    ATTRIBUTES,
    COLOURS,
    PLACES,
    Poster,
    Text,
    carry_out,
    changes,
    describe,
    instruct,
    poster_in,
)
from captioning.rendered_posters import (
    PILLOW_FONT,
    Fonts,
    draw,
    draw_lots,
    fits,
    font_names,
    placed,
)

FOLDER = Path(__file__).resolve().parents[2] / "pipeline" / "demo" / "fonts"
FONTS = font_names(sorted(FOLDER.glob("*.otf")))
BASE = Poster(
    640,
    480,
    "white",
    (
        Text("SALE", PILLOW_FONT, "red", 40, "top left"),
        Text("通知", "Noto Sans CJK SC", "blue", 32, "bottom right"),
    ),
)


def groups(seed: int, count: int = 12, **options: object) -> list[list[Poster]]:
    return list(islice(draw_lots(FONTS, seed, **options), count))  # type: ignore[arg-type]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_instruction_carried_out_gives_the_target_to_the_pixel(seed: int, language: str) -> None:
    seen = set()
    for group in groups(seed, edits=3):
        assert len(group) == 4
        images = [draw(poster, FONTS) for poster in group]
        for source, target in permutations(range(4), 2):
            text = instruct(group[source], group[target], language)
            done = carry_out(text, group[source], language)
            assert done == group[target], text
            assert np.array_equal(draw(done, FONTS), images[target]), text
            seen |= {attribute for _, attribute in changes(group[source], group[target])}
    assert seen == set(ATTRIBUTES)


def test_what_differs_shows_and_what_does_not_is_the_same() -> None:
    for group in groups(7, edits=2):
        assert all(fits(poster, FONTS) for poster in group)
        first = draw(group[0], FONTS)
        for other in group[1:]:
            assert not np.array_equal(first, draw(other, FONTS))
            changed = {number for number, _ in changes(group[0], other)}
            same = np.all(first == draw(other, FONTS), axis=-1)
            for number, text in enumerate(other.texts):
                left, top, right, bottom = placed(text, other, FONTS)
                if number not in changed:
                    assert same[top:bottom, left:right].all()


def test_no_text_leaves_its_image_or_meets_another() -> None:
    wide = Text("Fresh fruit and bread", PILLOW_FONT, "black", 64, "top left")
    assert not fits(Poster(480, 640, "white", (wide,)), FONTS)
    for group in groups(11, edits=3):
        for poster in group:
            seen = np.zeros((poster.height, poster.width), int)
            for text in poster.texts:
                left, top, right, bottom = placed(text, poster, FONTS)
                assert 0 < left < right < poster.width
                assert 0 < top < bottom < poster.height
                seen[top:bottom, left:right] += 1
            assert seen.max() == 1


def test_both_languages_name_text_font_colour_size_and_place() -> None:
    new = Text("OPEN", "Noto Serif CJK SC", "green", 56, "centre")
    target = Poster(640, 480, "white", (new, BASE.texts[1]))
    english, chinese = instruct(BASE, target, "en"), instruct(BASE, target, "zh")
    assert english == (
        "For the text “SALE”, change the wording from “SALE” to “OPEN”, change the font from "
        "Aileron to Noto Serif CJK SC, change the colour from red to green, change the size "
        "from 40 to 56 pixels and move it from the top left to the centre."
    )
    assert chinese == (
        "对于文字“SALE”，将内容从“SALE”改为“OPEN”，将字体从Aileron改为Noto Serif CJK SC，"
        "将颜色从红色改为绿色，将字号从40像素改为56像素，将其从左上角移到正中央。"
    )
    assert language_purity(english, "en") == 1.0
    assert language_purity(describe(BASE, "zh"), "zh", ["Noto Sans CJK SC", PILLOW_FONT]) == 1.0


def test_a_frame_names_the_text_inside_it() -> None:
    framed = Poster(512, 512, "white", (Text("A", PILLOW_FONT, "black", 40, "centre", "red"),))
    other = Poster(512, 512, "white", (Text("B", PILLOW_FONT, "black", 40, "centre", "red"),))
    text = instruct(framed, other, "en")
    assert text == "For the text in the red box, change the wording from “A” to “B”."
    assert instruct(framed, other, "zh") == "对于红色框内的文字，将内容从“A”改为“B”。"
    assert carry_out(text, framed, "en") == other
    red = np.all(draw(framed, FONTS) == COLOURS["red"][1], axis=-1)
    rows, columns = np.nonzero(red)
    left, top, right, bottom = placed(framed.texts[0], framed, FONTS)
    assert rows.min() < top < bottom < rows.max()
    assert columns.min() < left < right < columns.max()


TEXTS = st.builds(
    Text,
    content=st.sampled_from(["a", "Exit 14", "from red to blue", ", and ", "早餐", "将内容", "。"]),
    font=st.sampled_from(FONTS.names),
    colour=st.sampled_from(list(COLOURS)),
    size=st.integers(8, 200),
    position=st.sampled_from(list(PLACES)),
    box=st.just("red"),
)


@given(TEXTS, TEXTS, st.sampled_from(LANGUAGES))
def test_any_values_can_be_read_back(old: Text, new: Text, language: str) -> None:
    source, target = (Poster(640, 480, "white", (text,)) for text in (old, new))
    if old == new:
        with pytest.raises(ValueError, match="equal"):
            instruct(source, target, language)
        return
    assert carry_out(instruct(source, target, language), source, language) == target


def test_posters_that_are_no_versions_of_one_image_are_refused() -> None:
    other = Poster(640, 480, "black", BASE.texts)
    with pytest.raises(ValueError, match="differ in size, background"):
        instruct(BASE, other, "en")
    same = Poster(640, 480, "white", (BASE.texts[0], BASE.texts[0]))
    changed = Poster(640, 480, "white", (BASE.texts[0], BASE.texts[1]))
    with pytest.raises(ValueError, match="two texts say 'SALE'"):
        instruct(same, changed, "en")
    with pytest.raises(ValueError, match="cannot be read"):
        carry_out("Make it nicer.", BASE, "en")
    wrong = "For the text “SALE”, change the colour from blue to green."
    with pytest.raises(ValueError, match="colour is 'red', not 'blue'"):
        carry_out(wrong, BASE, "en")


def test_lots_are_the_same_for_a_seed_and_follow_what_is_asked() -> None:
    assert groups(3) == groups(3)
    assert groups(3) != groups(4)
    for group in groups(5, edits=5, attributes=["colour", "size"]):
        assert len(group) == 6
        assert len(set(map(str, group))) == 6
        found = {attribute for poster in group[1:] for _, attribute in changes(group[0], poster)}
        assert found <= {"colour", "size"}
    with pytest.raises(ValueError, match="can draw any of the texts"):
        next(draw_lots(Fonts({}), 0, contents={"zh": ["龘"]}))
    with pytest.raises(ValueError, match="edits were found"):
        next(draw_lots(Fonts({}), 0, attributes=["font"], contents={"en": ["A", "B", "C"]}))


def test_the_truth_survives_metadata() -> None:
    assert poster_in(json.dumps({"rendered": BASE.to_json()})) == BASE
    assert poster_in(None) is None
    assert poster_in('{"rendered": {"version": 2}}') is None
    assert poster_in('{"rendered": 1}') is None


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "a.otf").write_text("x")
    with pytest.raises(ValueError, match="no font that can be read"):
        font_names([tmp_path / "a.otf"])
