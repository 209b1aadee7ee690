"""The network and its two other forms: folded, and as an ONNX graph."""

import numpy as np
import pytest
import torch

from stages.embedders.copynet import DIM, CopyNet
from stages.embedders.copynet_onnx import copynet_graph

SIDE = 64


def trained() -> CopyNet:
    """A network whose norms have seen something."""
    torch.manual_seed(0)
    net = CopyNet()
    for _ in range(3):
        net(torch.rand(4, 3, SIDE, SIDE) * 255)
    return net.eval()


def test_folding_changes_nothing() -> None:
    net = trained()
    images = torch.rand(3, 3, SIDE, SIDE) * 255
    with torch.inference_mode():
        expected = net(images)
        assert expected.shape == (3, DIM)
        assert torch.allclose(net.folded()(images), expected, atol=1e-4)


def test_the_onnx_graph_is_the_network() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folded = trained().folded()
    weights = {name: values.numpy() for name, values in folded.state_dict().items()}
    session = onnxruntime.InferenceSession(
        copynet_graph(weights, CopyNet.blocks, SIDE), providers=["CPUExecutionProvider"]
    )
    for count in (1, 3):
        images = torch.rand(count, 3, SIDE, SIDE) * 255
        with torch.inference_mode():
            expected = torch.nn.functional.normalize(folded(images), dim=1).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        assert np.abs(found - expected).max() < 1e-4
