"""The checks flag what is wrong and nothing else; the chain repairs missing text."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.caption import CAPTION_NAMES, CaptionRequest, Captions, Written
from captioning.chain import add_missing_text, caption_image
from captioning.checks import check, language_purity, missing_lines, ocr_coverage
from captioning.language import clean_text
from captioning.ocr.lines import Line, make_line
from captioning.quotes import quote, strip_quotations
from tests.captioning.pictures import blank

ENGLISH, CHINESE = "A red sign on a wall.", "白色墙上的一块红色标牌。"
CAPTIONS = replace(
    Captions(**{n: ENGLISH if n.startswith("en") else CHINESE for n in CAPTION_NAMES}),
    en_tags="red, sign, wall",
    zh_tags="红色，标牌，墙",
)


def request(*texts: str) -> CaptionRequest:
    box = [(0, 0), (90, 0), (90, 20), (0, 20)]
    lines: list[Line] = [made for text in texts if (made := make_line(text, box, 0.9))]
    return CaptionRequest(blank(), lines)


class Fixed:
    """A captioner that always answers the same."""

    name = "fixed"

    def __init__(self, captions: Captions) -> None:
        self.captions = captions

    def write(self, _: CaptionRequest) -> Written:
        return Written(self.captions)


def test_good_captions_have_no_flags() -> None:
    assert check(CAPTIONS, request()) == []
    assert ocr_coverage(CAPTIONS, request()) is None


def test_missing_text_is_found_unless_only_width_or_space_differ() -> None:
    caption = "The sign reads “ＳＡＬＥ 50％” and “色 即是空”."
    assert missing_lines(caption, ["SALE50%", "色即是空", "Sale"]) == ["Sale"]


def test_coverage_counts_lines_quoted_in_both_languages() -> None:
    captions = replace(
        CAPTIONS, en_long="A sign that says “ONE” and “TWO”.", zh_long="一块标牌，上面写着“ONE”。"
    )
    assert ocr_coverage(captions, request("ONE", "TWO")) == pytest.approx(0.5)
    assert check(captions, request("ONE", "TWO")) == ["missing_text:zh_long"]


def test_the_chain_adds_the_missing_lines_and_says_so() -> None:
    captions = replace(CAPTIONS, en_long="A red sign that reads “ONE”.")
    result = caption_image(Fixed(captions), request("ONE", "二手车"))
    assert result.captions.en_long == (
        "A red sign that reads “ONE”. It also shows the text “二手车”."
    )
    assert result.captions.zh_long == "白色墙上的一块红色标牌。图中还写有“ONE”和“二手车”。"
    assert result.ocr_coverage == 1.0
    assert result.flags == ("repaired_text:en_long", "repaired_text:zh_long")


@given(st.lists(st.text(max_size=15), max_size=5))
def test_repair_always_reaches_full_coverage_and_is_idempotent(texts: list[str]) -> None:
    asked = request(*texts)
    repaired, _ = add_missing_text(CAPTIONS, asked)
    assert ocr_coverage(repaired, asked) in (None, 1.0)
    assert add_missing_text(repaired, asked) == (repaired, [])


def test_a_caption_in_the_wrong_language_is_flagged() -> None:
    swapped = replace(CAPTIONS, zh_short=ENGLISH, en_tags="红色，标牌")
    assert check(swapped, request()) == ["language:en_tags", "language:zh_short"]


def test_quotations_and_known_text_do_not_count_as_language() -> None:
    assert language_purity("The sign reads “清仓大甩卖，全场五折”.", "en") == 1.0
    assert language_purity("标牌上写着“CLEARANCE SALE TODAY”。", "zh") == 1.0
    assert language_purity("标牌上写着 CLEARANCE SALE。", "zh", ["CLEARANCE SALE"]) == 1.0
    assert language_purity("The sign reads 清仓大甩卖", "en") < 0.9


def test_an_empty_caption_is_flagged() -> None:
    assert check(replace(CAPTIONS, zh_prompt=" "), request()) == ["empty:zh_prompt"]


@given(st.text(max_size=30).map(clean_text).filter(bool), st.sampled_from(["en", "zh"]))
def test_quoting_keeps_the_text(text: str, language: str) -> None:
    quoted = quote(text, language)  # type: ignore[arg-type]
    assert text in quoted
    assert len(quoted) > len(text)
    if not set(text) & set('“”"‘’«»「」『』'):
        assert strip_quotations(f"a {quoted} b").split() == ["a", "b"]
