"""The composer: text verbatim, nothing invented, the right language, the same every time."""

import json
import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.backends.composer import Composer
from captioning.caption import CaptionRequest, Captions, Tag
from captioning.chain import caption_image
from captioning.checks import invented_text
from captioning.colours import COLOURS
from captioning.metadata import Metadata, read_metadata
from captioning.ocr.lines import Line, make_line
from tests.captioning.pictures import blank, written

WIDTH, HEIGHT = 320, 240


def line(text: str, confidence: float = 0.95, top: float = 10.0, height: float = 20.0) -> Line:
    box = [(20, top), (200, top), (200, top + height), (20, top + height)]
    made = make_line(text, box, confidence)
    assert made is not None
    return made


def compose(
    lines: list[Line] | None = None, metadata: Metadata | None = None, seed: str = "1", **look: Any
) -> Captions:
    image = look.get("image", blank(200, (WIDTH, HEIGHT)))
    request = CaptionRequest(image, lines or [], metadata or Metadata(), seed)
    return Composer().write(request).captions


# Quotation marks and brackets of all kinds, both scripts in one line, full-width forms,
# right-to-left text, emoji with joiners, combining marks, line breaks, very long lines.
_texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="“”\"'‘’«»「」『』 abc汉字", max_size=20),
    st.text(alphabet="()[]{}<>【】《》〈〉（）$%*_\\|~` a字1.。,，!！?？", max_size=30),
    st.text(alphabet="ＡＢｃ１２％　ｱｲ abcAB12%", max_size=20),
    st.text(alphabet="The quick 明月 fox 地上霜 ., \n\r\t\u2028\u00a0\u200b\u200f", max_size=60),
    st.sampled_from(["שלום עולם", "مرحبا\nبالعالم", "👩‍👩‍👧 family", "e\u0301te\u0301", "\u0338x"]),
    st.sampled_from(["word " * 400, "很长的一行文字" * 150, "“" * 90, "a\u0301\u0302" * 200]),
)
_lines = st.lists(
    st.builds(
        make_line,
        _texts,
        st.tuples(st.floats(0, 300), st.floats(0, 220), st.floats(1, 200), st.floats(1, 200)).map(
            lambda b: [
                (b[0], b[1]),
                (b[0] + b[2], b[1]),
                (b[0] + b[2], b[1] + b[3]),
                (b[0], b[1] + b[3]),
            ]
        ),
        st.floats(0, 1),
    )
    .filter(lambda made: made is not None)
    .flatmap(
        lambda made: st.sampled_from(["none", "none", "duplicate", "repeat"]).map(
            lambda mark: replace(made, mark=mark)
        )
    ),
    max_size=8,
)
_alt = st.one_of(st.none(), _texts)


@settings(deadline=None)
@given(_lines, _alt, st.sampled_from(["en", "zh", "other", None]))
def test_every_confident_line_is_verbatim_in_both_long_captions(
    lines: list[Line], alt: str | None, language: Any
) -> None:
    request = CaptionRequest(blank(), lines, read_metadata(alt, language), "7")
    result = caption_image(Composer(), request)
    assert request.confident_texts == [
        line.text for line in lines if line.confidence >= 0.8 and line.mark == "none"
    ]
    for text in request.confident_texts:
        assert text in result.captions.en_long
        assert text in result.captions.zh_long
    assert result.ocr_coverage == (1.0 if request.confident_texts else None)
    assert not any(flag.startswith(("repaired", "missing", "empty")) for flag in result.flags)
    assert all("\n" not in caption for _, _, caption in result.captions)


@settings(deadline=None)
@given(_lines, _alt, st.text(max_size=5))
def test_the_same_item_gets_the_same_captions(
    lines: list[Line], alt: str | None, seed: str
) -> None:
    metadata = read_metadata(alt)
    assert compose(lines, metadata, seed) == compose(lines, metadata, seed)


@pytest.mark.parametrize(
    ("alt", "meta", "text"),
    list(
        product(
            [
                None,
                "A man walks his dog along the beach.",
                "一个男人在海边遛狗。",
                "Un été à Paris",
            ],
            [None, {"title": "West Lake", "keywords": ["lake", "杭州"], "city": "Hangzhou"}],
            [None, "Big Sale", "全场五折"],
        )
    ),
)
def test_languages_are_what_they_claim(alt: str | None, meta: Any, text: str | None) -> None:
    lines = [line(text), line("unsure", 0.6)] if text else []
    metadata = read_metadata(alt, None, json.dumps(meta) if meta else None)
    result = caption_image(Composer(), CaptionRequest(blank(), lines, metadata, "1"))
    assert result.flags == ()


def test_a_text_that_is_repeated_over_the_image_is_quoted_once() -> None:
    lines = [line("STOCK PHOTO"), *(line("STOCK PHOTO", top=40.0 * n) for n in range(1, 5))]
    lines[1:] = [replace(each, mark="repeat") for each in lines[1:]]
    lines.append(replace(line("ST0CK", top=12), mark="duplicate"))
    captions = compose(lines)
    for text in (captions.en_long, captions.zh_long, captions.en_medium, captions.zh_medium):
        assert text.count("STOCK PHOTO") == 1
        assert "ST0CK" not in text
    assert "Some of the text is repeated over the image." in captions.en_long
    assert "部分文字在画面中重复出现。" in captions.zh_long


@settings(deadline=None)
@given(
    _lines, st.sampled_from(["en", "zh", "other"]), st.text(alphabet="abc 汉字,，.。", max_size=30)
)
def test_only_text_of_the_image_is_quoted(lines: list[Line], language: Any, given: str) -> None:
    meta = {"title": given[::-1], "keywords": [given[:5], "猫", "barn"], "city": given[5:]}
    metadata = read_metadata(given, language, json.dumps(meta))
    captions = Composer().write(CaptionRequest(blank(), lines, metadata, "3")).captions
    for _, _, caption in captions:
        assert invented_text(caption, [each.text for each in lines]) == []


def test_lines_read_without_confidence_are_not_quoted() -> None:
    captions = compose([line("Sure thing"), line("gu3ss", 0.6)])
    assert "gu3ss" not in " ".join(caption for _, _, caption in captions)
    assert "One more line of text is hard to read." in captions.en_long
    assert "另有一行文字难以辨认。" in captions.zh_long


def test_an_english_alt_text_is_the_english_caption_and_the_chinese_says_what_it_mentions() -> None:
    captions = compose(metadata=read_metadata("A man and his dog cross country skiing."))
    assert captions.en_short == "A man and his dog cross country skiing."
    assert captions.en_long.startswith("A man and his dog cross country skiing. ")
    assert "随图的英文说明提到男子和滑雪。" in captions.zh_long
    assert captions.en_prompt.startswith("a man and his dog cross country skiing")


def test_a_chinese_alt_text_the_other_way_round() -> None:
    captions = compose(metadata=read_metadata("一群人在树林中骑马"))
    assert captions.zh_short == "一群人在树林中骑马。"
    assert captions.zh_prompt.startswith("一群人在树林中骑马")
    assert "Its Chinese description mentions people, a forest and a horse." in captions.en_long


def test_short_stays_short_whatever_came_with_the_image() -> None:
    for alt in ("word " * 300, "很长的说明" * 200, "Слово " * 200):
        captions = compose(metadata=read_metadata(alt))
        assert len(captions.en_short) < 320
        assert len(captions.zh_short) < 320


def test_text_holding_quotation_marks_is_put_between_others() -> None:
    captions = compose([line("He said “no”")])
    assert '"He said “no”"' in captions.en_long
    assert "「He said “no”」" in captions.zh_long


def test_where_and_how_large_the_text_stands() -> None:
    captions = compose([line("BIG", top=10, height=60), line("small print", top=210, height=14)])
    assert "At the top, large letters read “BIG”." in captions.en_long
    assert "At the bottom, the text reads “small print”." in captions.en_long
    assert "图片上方用大字写着“BIG”；下方写着“small print”。" in captions.zh_long


def test_vertical_text_is_called_vertical() -> None:
    column = make_line("床前明月光", [(265, 60), (290, 60), (290, 190), (265, 190)], 0.99)
    assert column is not None
    captions = compose([column])
    assert "On the right, vertical text reads “床前明月光”." in captions.en_long
    assert "右侧竖排写着“床前明月光”" in captions.zh_long


def test_medium_quotes_what_fits_and_says_that_there_is_more() -> None:
    lines = [line(f"Line number {n} of a long notice.", top=8 * n, height=8) for n in range(20)]
    captions = compose(lines)
    for caption, rest in (
        (captions.en_medium, ", among other text."),
        (captions.zh_medium, "等文字。"),
    ):
        assert 0 < sum(line.text in caption for line in lines) < 20
        assert caption.endswith(rest)


@pytest.mark.parametrize(
    ("rgb", "english", "chinese"),
    [
        ((250, 250, 250), "white", "白色"), ((8, 8, 8), "black", "黑色"),
        ((128, 128, 128), "grey", "灰色"), ((200, 20, 30), "red", "红色"),
        ((30, 60, 200), "blue", "蓝色"), ((40, 140, 50), "green", "绿色"),
        ((250, 220, 40), "yellow", "黄色"), ((245, 140, 20), "orange", "橙色"),
        ((110, 40, 150), "purple", "紫色"), ((250, 160, 190), "pink", "粉色"),
        ((110, 70, 35), "brown", "棕色"), ((225, 205, 170), "beige", "米色"),
        ((50, 190, 190), "turquoise", "青色"),
    ],
)  # fmt: skip
def test_colours_have_the_names_people_use(
    rgb: tuple[int, int, int], english: str, chinese: str
) -> None:
    image = np.full((90, 120, 3), rgb, np.uint8)
    captions = compose(image=image)
    assert captions.en_short == f"A plain {english} landscape-format image."
    assert captions.zh_short == f"一张纯{chinese}的横版图片。"


def test_a_sky_over_a_meadow() -> None:
    image = np.zeros((120, 180, 3), np.uint8)
    image[:50], image[50:] = (90, 150, 235), (60, 130, 50)
    captions = compose(image=image)
    assert "mainly green and blue" in captions.en_short
    assert "The upper part is mainly blue, the lower part green." in captions.en_long
    assert "画面上部以蓝色为主，下部以绿色为主" in captions.zh_long


def test_only_what_was_given_or_measured_is_said() -> None:
    """Without metadata and text, every English word comes from a short list."""
    rng = np.random.default_rng(3)
    allowed = (
        "a an image the this is it in on of and with some mainly plain black-and-white dark bright "
        "square landscape-format portrait-format wide tall narrow even background upper lower "
        "left right side part middle top bottom lightest towards all over has touches mix of "
        "colours among them cover covers each about more than nearly half third quarter quarters "
        "three fifth"
    )
    vocabulary = {
        *allowed.split(),
        *COLOURS,
    }
    for _ in range(60):
        small = rng.integers(0, 256, (*rng.integers(1, 5, 2), 3), dtype=np.uint8)
        image = small.repeat(40, axis=0).repeat(40, axis=1)
        captions = compose(image=image)
        words = set(re.findall(r"[a-z-]+", (captions.en_long + captions.en_short).lower()))
        assert words <= vocabulary
        assert not re.search("[A-Za-z]", captions.zh_long + captions.zh_tags)


def test_prompts_leave_things_out_and_differ_between_items() -> None:
    metadata = read_metadata("A red poster on a brick wall.")
    lines = [line("GRAND OPENING"), line("Saturday", top=120)]
    prompts = {compose(lines, metadata, str(seed)).en_prompt for seed in range(30)}
    assert len(prompts) > 2
    for prompt in prompts:
        assert not ("GRAND OPENING" in prompt and "Saturday" in prompt)


def test_extreme_shapes() -> None:
    for size in ((1, 1), (1, 500), (500, 1), (3, 2)):
        assert all(caption for _, _, caption in compose(image=blank(90, size)))
    wide = compose(image=written(["x"], size=(900, 200)))
    assert "wide image" in wide.en_long
    assert "宽幅" in wide.zh_long


def test_bullets_are_quoted_where_everything_is_and_nowhere_else() -> None:
    captions = compose([line("●"), line("Soup of the day", top=120)])
    assert "“●”" in captions.en_long
    assert "“●”" in captions.zh_long
    others = [text for _, level, text in captions if level != "long"]
    assert not any("●" in text for text in others)


def test_neighbouring_texts_of_different_size_are_told_once() -> None:
    captions = compose([line("BIG", top=4, height=40), line("small", top=50, height=12)])
    assert "At the top, the text reads “BIG” and “small”, partly in large letters." in (
        captions.en_long
    )
    assert "图片上方写着“BIG”和“small”，其中部分字号较大。" in captions.zh_long


def test_what_a_classifier_saw_is_said_with_doubt_and_needs_no_model() -> None:
    tags = [Tag("snow", 0.2, "雪"), Tag("a dog", 0.4, "狗"), Tag("a sleigh", 0.3)]
    captions = (
        Composer().write(CaptionRequest(blank(90, (WIDTH, HEIGHT)), tags=tags, seed="1")).captions
    )
    assert "It seems to show a dog, a sleigh and snow." in captions.en_long
    assert "画面中似乎有狗和雪。" in captions.zh_long
    assert captions.en_tags.startswith("dog, sleigh, snow, ")
    assert captions.zh_tags.startswith("狗，雪，")
