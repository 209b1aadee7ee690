"""The arithmetic of heads, and their files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stages.contract import ConfigurationError
from stages.heads.head import Head, load_head, save_head
from stages.heads.laion import check_laion_embedder, load_laion
from stages.heads.network import Layer, Network
from stages.heads.places import content_of, locate_head


def network(widths: list[int], seed: int = 0, **options: Any) -> Network:
    rng = np.random.default_rng(seed)
    layers = [
        Layer(
            rng.normal(size=(after, before)).astype(np.float32).astype(np.float64),
            rng.normal(size=after).astype(np.float32).astype(np.float64),
        )
        for before, after in zip(widths, [*widths[1:], 1], strict=True)
    ]
    return Network(tuple(layers), **options)


def unit(count: int, width: int, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=4), st.integers(0, 999), st.data())
def test_a_score_is_that_of_torch_and_does_not_depend_on_its_neighbours(
    widths: list[int], seed: int, data: st.DataObject
) -> None:
    head = network(widths, seed, activation="relu", slope=0.7, offset=-0.2)
    vectors = unit(12, widths[0], seed)
    scores = head.scores(vectors)
    assert scores.dtype == np.float32
    values = torch.from_numpy(vectors)
    for layer in head.layers[:-1]:
        values = torch.relu(
            values @ torch.from_numpy(layer.weight).T + torch.from_numpy(layer.bias)
        )
    last = head.layers[-1]
    values = (values @ torch.from_numpy(last.weight).T + torch.from_numpy(last.bias))[:, 0]
    assert np.allclose(scores, torch.sigmoid(0.7 * values - 0.2).numpy(), atol=1e-6)
    start = data.draw(st.integers(0, 11))
    stop = data.draw(st.integers(start + 1, 12))
    assert np.array_equal(head.scores(vectors[start:stop]), scores[start:stop])


def test_extreme_values_do_not_overflow() -> None:
    steep = Network((Layer(np.array([[1e6]]), np.zeros(1)),))
    with np.errstate(over="raise", invalid="raise"):
        assert steep.scores(np.array([[-1.0], [0.0], [1.0]])).tolist() == [0.0, 0.5, 1.0]
    assert steep.scores(np.zeros((0, 1))).shape == (0,)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ([], {}, "at least one layer"),
        ([(2, 3)], {}, "gives one value, this one gives 2"),
        ([(4, 3), (1, 5)], {}, "layer 0 gives 4 values, layer 1 takes 5"),
        ([(1, 3)], {"activation": "tanh"}, "activation must be one of"),
        ([(1, 3)], {"output": "softmax"}, "output must be one of"),
        ([(1, 3)], {"slope": float("nan")}, "not finite"),
    ],
)
def test_networks_that_cannot_work_are_refused(
    layers: list[tuple[int, int]], options: dict[str, Any], message: str
) -> None:
    built = tuple(Layer(np.zeros(shape), np.zeros(shape[0])) for shape in layers)
    with pytest.raises(ValueError, match=message):
        Network(built, **options)


def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"vectors must be \(n, 3\), got \(2, 4\)"):
        network([3]).scores(np.zeros((2, 4)))


HEAD = Head(
    network([5, 4], activation="relu", slope=2.5, offset=0.25),
    "watermark",
    "embed_clip",
    {"model": "open_clip/x", "checkpoint": "sha256:1"},
    "1: 有水印",
    {"auc": [0.9, 0.8, 0.95]},
)


def test_a_head_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(HEAD))
    found = load_head(path)
    assert (found.name, found.table, found.embedder) == (HEAD.name, HEAD.table, HEAD.embedder)
    assert (found.label, found.training) == (HEAD.label, HEAD.training)
    vectors = unit(50, 5)
    assert np.array_equal(found.network.scores(vectors), HEAD.network.scores(vectors))
    assert save_head(found) == path.read_bytes(), "equal heads give equal bytes"


def test_files_that_are_no_heads_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(b"junk")
    with pytest.raises(ConfigurationError, match="cannot be read as a head"):
        load_head(path)
    save_file({"weight": np.zeros((1, 3), np.float32)}, path)
    with pytest.raises(ConfigurationError, match="set layout: laion"):
        load_head(path)
    path.write_bytes(save_head(HEAD)[:-8])
    with pytest.raises(ConfigurationError, match="cannot be read as a head"):
        load_head(path)
    path.write_bytes(save_head(HEAD).replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(ConfigurationError, match="format 9, this version reads 1"):
        load_head(path)


def test_vectors_of_another_embedder_are_refused() -> None:
    HEAD.check_embedder({"model": "open_clip/x", "checkpoint": "sha256:1"}, "score.heads.w")
    message = r"score.heads.w: the head was trained on vectors of open_clip/x \(checkpoint"
    with pytest.raises(ConfigurationError, match=message):
        HEAD.check_embedder({"model": "builtin"}, "score.heads.w")
    replace(HEAD, embedder=None).check_embedder({"model": "builtin"}, "score.heads.w")


def improved() -> torch.nn.Sequential:
    """The improved aesthetic predictor, as its repository builds it."""
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(768, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2),
        nn.Linear(128, 64), nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1),
    )  # fmt: skip


def test_the_public_aesthetic_heads_load_and_score_as_published(tmp_path: Path) -> None:
    torch.manual_seed(0)
    linear, deep = torch.nn.Linear(768, 1), improved().eval()
    torch.save(linear.state_dict(), tmp_path / "sa_0_4_vit_l_14_linear.pth")
    named = {f"layers.{name}": value for name, value in deep.state_dict().items()}
    assert "layers.7.weight" in named
    torch.save(named, tmp_path / "improved.pth")
    vectors = unit(20, 768).astype(np.float32)
    for name, model in (("sa_0_4_vit_l_14_linear.pth", linear), ("improved.pth", deep)):
        head = load_laion(tmp_path / name)
        assert (head.name, head.width, head.table) == ("aesthetic", 768, "embed")
        with torch.no_grad():
            expected = model(torch.from_numpy(vectors))[:, 0].numpy()
        assert np.allclose(head.network.scores(vectors), expected, atol=1e-5)


def test_a_file_that_holds_code_or_another_layout_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(768, 1), tmp_path / "module.pth")
    with pytest.raises(ConfigurationError, match="cannot be read as weights"):
        load_laion(tmp_path / "module.pth")
    torch.save({"fc.weight": torch.zeros(1, 768)}, tmp_path / "other.pth")
    with pytest.raises(ConfigurationError, match="no layout of LAION's .* fc.weight"):
        load_laion(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("open_clip/ViT-L-14/openai", True),
        ("open_clip/ViT-L-14-quickgelu/openai", True),
        ("open_clip/hf-hub:owner/name", True),
        ("open_clip/ViT-L-14/datacomp_xl_s13b_b90k", False),
        ("open_clip/ViT-B-32/openai", False),
        ("builtin", False),
    ],
)
def test_aesthetic_heads_take_openai_vectors(model: str, known: bool) -> None:
    if known:
        check_laion_embedder({"model": model}, "score.heads.aesthetic")
        return
    with pytest.raises(ConfigurationError, match="take vectors of open_clip/ViT-L-14"):
        check_laion_embedder({"model": model}, "score.heads.aesthetic")
    check_laion_embedder({"model": "open_clip/own", "checkpoint": "sha256:2"}, "x")


def test_heads_on_the_hub_fail_clearly_where_there_is_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    where = "score.heads.nsfw.file"
    with pytest.raises(ConfigurationError, match="cannot be had from the hub .*local file"):
        locate_head("hf-hub:nobody/nothing/head.safetensors", where)
    with pytest.raises(ConfigurationError, match="must be hf-hub:OWNER/NAME/FILE"):
        locate_head("hf-hub:nobody/nothing", where)
    with pytest.raises(ConfigurationError, match="score.heads.nsfw.file='gone' is not a file"):
        locate_head("gone", where)


def test_a_file_counts_by_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"a")
    two.write_bytes(b"a")
    assert content_of(str(one)) == content_of(str(two)) != content_of("hf-hub:a/b/c")
    two.write_bytes(b"bb")
    assert content_of(str(one)) != content_of(str(two))
