"""The composer's instructions: what was done to an image is what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from captioning.caption import LANGUAGES
from captioning.checks import language_purity
from captioning.ocr.lines import make_line
from captioning.pairs_chain import Difference, PairRequest, Side, check_instruction
from captioning.pairs_chain import write_instruction as write
from captioning.pairs_composer import PairComposer, word_differences
from captioning.pairs_differences import find_differences, place_name

FLIP = Image.Transpose.FLIP_LEFT_RIGHT


def scene(seed: int = 0, size: tuple[int, int] = (240, 160)) -> Image.Image:
    """Smooth colours, different for every seed."""
    coarse = np.random.default_rng(seed).integers(40, 216, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def side(image: Image.Image, *texts: str) -> Side:
    box = np.array([(20, 10), (90, 10), (90, 30), (20, 30)])
    lines = [make_line(text, box + np.array([0, 30 * n]), 1) for n, text in enumerate(texts)]
    return Side(np.asarray(image), [line for line in lines if line])


def names(source: Side, target: Side) -> list[str]:
    return [each.what for each in find_differences(source, target)]


def pasted(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    copy = image.copy()
    copy.paste(colour, (10, 100, 70, 150))
    return copy


def rolled(image: Image.Image, right: int, down: int) -> Image.Image:
    big = np.asarray(scene(0, (400, 300)))
    return Image.fromarray(big[60 - down : 220 - down, 60 - right : 300 - right])


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brighter": lambda image: image.point(lambda value: min(255, value + 25)),
    "darker": lambda image: image.point(lambda value: max(0, value - 25)),
    "more_contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.5),
    "less_contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "made_grey": lambda image: image.convert("L").convert("RGB"),
    "paler": lambda image: ImageEnhance.Color(image).enhance(0.4),
    "more_vivid": lambda image: ImageEnhance.Color(image).enhance(1.8),
    "mirrored": lambda image: image.transpose(FLIP),
    "turned_over": lambda image: image.rotate(180),
    "turned_left": lambda image: image.rotate(90, expand=True),
    "turned_right": lambda image: image.rotate(-90, expand=True),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_edit_of_the_whole_image_is_found(name: str, seed: int) -> None:
    image = scene(seed)
    found = names(side(image), side(EDITS[name](image)))
    assert found[0] == name
    assert "other_picture" not in found


def test_blur_is_found_both_ways() -> None:
    image = Image.effect_noise((240, 160), 60).convert("RGB")
    image = Image.blend(image, scene(4), 0.8)
    soft = image.filter(ImageFilter.GaussianBlur(2))
    assert "blurred" in names(side(image), side(soft))
    assert "sharper" in names(side(soft), side(image))


@pytest.mark.parametrize(
    ("right", "down", "name"),
    [(40, 0, "moved_right"), (-40, 5, "moved_left"), (0, 30, "moved_down"), (6, -30, "moved_up")],
)
def test_what_the_camera_moved_over_is_followed(right: int, down: int, name: str) -> None:
    start = rolled(scene(0), 0, 0)
    assert names(side(start), side(rolled(scene(0), right, down)))[0] == name


def test_a_part_that_changes_is_named_with_its_place_and_colours() -> None:
    image = scene(5)
    red, blue = pasted(image, (200, 30, 30)), pasted(image, (30, 60, 200))
    (found,) = find_differences(side(red), side(blue))
    assert found == Difference("recoloured", "bottom left", "red", "blue")
    text = PairComposer().write(PairRequest(side(red), side(blue), "edit"))
    assert text.instruction_en == "Change what is red at the bottom left to blue."
    assert text.instruction_zh == "请将左下角的红色部分改为蓝色。"


def test_text_that_changes_comes_and_goes() -> None:
    image = scene(6)
    source, target = side(image, "SALE", "早餐"), side(image, "OPEN", "早餐", "Exit 14")
    text = PairComposer().write(PairRequest(source, target, "copy"))
    assert text.instruction_en == (
        "Change the text “SALE” to “OPEN”, and add the text “Exit 14” at the centre left."
    )
    assert text.instruction_zh == "请将文字“SALE”改为“OPEN”，在左侧中部加上文字“Exit 14”。"
    back = PairComposer().write(PairRequest(target, source, "copy"))
    assert back.instruction_en.endswith("remove the text “Exit 14” at the centre left.")
    assert check_instruction(text, PairRequest(source, target, "copy")) == []


def test_equal_images_and_re_encoded_ones_do_not_differ() -> None:
    image = scene(7)
    request = PairRequest(side(image), side(image), "copy")
    assert write(PairComposer(), request).checks == ("no_difference",)
    slightly = Image.fromarray(np.asarray(image) ^ 1)
    result = write(PairComposer(), PairRequest(side(image), side(slightly), "copy"))
    assert result.checks == ("no_difference",)
    assert result.text.instruction_en == "Keep the image as it is."


def test_two_pictures_of_different_scenes_are_marked_as_vague() -> None:
    result = write(PairComposer(), PairRequest(side(scene(8)), side(scene(9)), "subject"))
    assert result.checks == ("vague",)
    assert result.text.differences[0].what == "other_picture"


def test_checks_of_what_a_model_says() -> None:
    class Says:
        name = "m"

        def __init__(self, english: str, chinese: str) -> None:
            self.texts = english, chinese

        def write(self, request: PairRequest) -> object:
            from captioning.pairs_chain import PairText

            return PairText(*self.texts, (Difference("said", after="x"),))

    request = PairRequest(side(scene(1), "SALE"), side(scene(2), "OPEN"), "edit")
    good = Says("Change the text “SALE” to “OPEN”.", "将文字“SALE”改为“OPEN”。")
    assert write(good, request).checks == ()  # type: ignore[arg-type]
    bad = Says("I'm sorry, I cannot help with that.", "Change the text “FREE” to “OPEN”.")
    assert write(bad, request).checks == (  # type: ignore[arg-type]
        "refusing:en",
        "language:zh",
        "invented_text:zh",
    )
    assert write(Says("…", "把 " + "很" * 300), request).checks == (  # type: ignore[arg-type]
        "empty:en",
        "too_long:zh",
    )


def test_every_difference_has_words_in_both_languages() -> None:
    values = {
        "text_changed": ("a", "b"), "text_added": (None, "b"), "text_removed": ("a", None),
        "background": ("red", "beige"), "format": ("wide", "tall"),
        "colours": ("red/blue", "grey/white/green"), "recoloured": ("pink", "turquoise"),
        "changed": (None, None),
    }  # fmt: skip
    from captioning.pairs_composer import _PLAIN

    for what in [*values, *_PLAIN]:
        before, after = values.get(what, (None, None))
        one = Difference(what, "top left" if what in values else None, before, after)
        for language in LANGUAGES:
            said = word_differences([one], language)
            assert said.endswith("." if language == "en" else "。")
            assert language_purity(said, language) == 1.0, said


def test_places() -> None:
    assert place_name(0.1, 0.1) == "top left"
    assert place_name(0.5, 0.5) == "centre"
    assert place_name(0.9, 0.5) == "centre right"
    assert place_name(0.5, 0.9) == "bottom centre"
