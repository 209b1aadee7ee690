"""A tiny model that knows two answers by heart, for the local captioner and for a server."""

import json
from pathlib import Path

import numpy as np
import pytest

from captioning.backends.asking import Asker
from captioning.caption import CaptionRequest
from tests.captioning.backends.tiny_vlm import make, memorise, save
from tests.captioning.chat_server import GOOD


def request(grey: int, size: tuple[int, int] = (56, 56)) -> CaptionRequest:
    return CaptionRequest(np.full((size[1], size[0], 3), grey, np.uint8))


DARK, LIGHT = request(10), request(240)
ANSWERS = [
    json.dumps({"text": [], **GOOD, "en_short": f"A {shade} notice that reads “Fresh Bread”."},
               ensure_ascii=False)
    for shade in ("dark", "light")
]  # fmt: skip


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL that knows two answers by heart and tells them by the image alone."""
    pytest.importorskip("transformers", reason="the extra `vlm` is not installed")
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("taught") / "tiny-vlm"
    question = Asker().ask(DARK)
    model, processor = make("qwen25", folder, [question, *ANSWERS] * 3)
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    pairs = [(DARK.image, text, ANSWERS[0]), (LIGHT.image, text, ANSWERS[1])]
    loss = memorise(model, processor, pairs, 150)
    assert loss < 0.05, f"the model has not learned its answers: loss {loss:.3f}"
    save(folder, model, processor)
    return folder
