from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.sources.texts import clean_text, decode_text, language_of, take_caption, to_meta


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A dog on the beach", "en"),
        ("Café in Paris on a rainy afternoon, seen from the street", "en"),
        ("一只狗在海滩上", "zh"),
        ("iPhone 15 手机壳防摔保护套", "zh"),
        ("A sign that reads 出口", "en"),
        ("海辺を歩く犬", "other"),
        ("해변의 개", "other"),
        ("Собака на пляже", "other"),
        ("Ein schöner Hund läuft über die Straße für müde Füße", "other"),
        ("1234 - 567", "other"),
        ("", None),
        (None, None),
    ],
)
def test_language_by_script(text: str | None, language: str | None) -> None:
    assert language_of(text) == language


def test_text_in_other_encodings() -> None:
    assert decode_text("图".encode("utf-16")) == "图"
    assert decode_text(b"caf\xe9 au lait") == "caf\ufffd au lait"


def test_the_first_caption_is_taken_and_the_rest_kept() -> None:
    values: dict[str, Any] = {"TEXT": ["one", "two"], "caption": "  ", "alt": "x"}
    assert take_caption(values) == "one"
    assert values == {"TEXT": ["two"], "caption": "  ", "alt": "x"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_metadata_is_always_valid_json(values: dict[str, Any]) -> None:
    text = to_meta(values)
    if text is not None:
        text.encode()
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_what_is_too_long_or_too_deep_is_named() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    meta = json.loads(to_meta({"long": "x" * 20_000, "deep": deep, "ok": 1}) or "")
    assert meta == {"ok": 1, "_left_out": ["long", "deep"]}


@given(st.text(alphabet=st.characters()))
def test_clean_text_can_be_stored(text: str) -> None:
    assert "\x00" not in clean_text(text)
    clean_text(text).encode("utf-8")
