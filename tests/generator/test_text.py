"""Text encoders: the hashing one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.text import HashedWords, split_words


def likeness(one: str, other: str) -> float:
    a, b = (HashedWords(256).encode([word])[0][1] for word in (one, other))
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def test_words_of_two_languages() -> None:
    assert split_words("A Red circle, 3 dots") == ["a", "red", "circle", ",", "3", "dots"]
    assert split_words("红色圆形ABC。") == ["红", "色", "圆", "形", "abc", "。"]
    assert split_words("naïve snake_case") == ["naïve", "snake", "_", "case"]
    assert split_words(" \n") == []


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_features(text: str) -> None:
    encoder = HashedWords(64, most=16)
    feature = encoder.encode([text])[0]
    assert 1 <= len(feature) <= 16
    assert feature.shape[1] == encoder.width == 64
    assert bool(feature.isfinite().all())
    assert torch.equal(feature, encoder.encode(["other", text])[1])


def test_spelling_is_what_is_known() -> None:
    assert likeness("red", "RED") == pytest.approx(1)
    assert likeness("circle", "circles") > 0.35
    assert abs(likeness("circle", "square")) < 0.3
    assert abs(likeness("红", "蓝")) < 0.6
    features = HashedWords(256).encode(["a red circle on blue and a green square 红色圆形"])[0]
    assert float(features.std()) == pytest.approx(1, abs=0.1)


def test_the_same_in_another_process() -> None:
    code = "from generator.text import HashedWords as H; print(H(8).encode(['red 红'])[0].tolist())"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() == str(HashedWords(8).encode(["red 红"])[0].tolist())


@pytest.mark.parametrize(
    ("values", "message"),
    [((12,), "multiple of 8, got 12"), ((64, 1), "most must be at least 2, got 1")],
)
def test_wrong_sizes_are_refused(values: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HashedWords(*values)


def test_import_of_the_package_leaves_torch_alone() -> None:
    code = "import generator, sys; assert 'torch' not in sys.modules; generator.S3DiTConfig()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_trace_tells_what_came_before() -> None:
    encoder = HashedWords(128, context=0.8)
    plain = HashedWords(64)
    one, other = encoder.encode(["two red stars", "two blue stars"])
    assert one.shape == (4, 128)
    assert torch.equal(one[:, :64], plain.encode(["two red stars"])[0])
    # The word is the same, what stood before it is not; and nothing is told of what comes.
    assert torch.equal(one[3, :64], other[3, :64])
    assert not torch.equal(one[3, 64:], other[3, 64:])
    assert torch.equal(one[2, 64:], other[2, 64:])
    assert not one[0, 64:].any()
    words = plain.encode(["two red stars"])[0]
    want = (words[2] + 0.8 * words[1] + 0.64 * words[0]) * 0.6
    assert torch.allclose(one[3, 64:], want, atol=1e-5)


@pytest.mark.parametrize(("width", "context"), [(24, 0.5), (32, 1.0), (32, -0.1)])
def test_a_trace_out_of_range_is_refused(width: int, context: float) -> None:
    with pytest.raises(ValueError, match="multiple of 16|context must be in"):
        HashedWords(width, context=context)
