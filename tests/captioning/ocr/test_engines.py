"""What every OCR engine must do, run against each engine there is."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioning.language import normalise
from captioning.ocr.lines import OcrEngine
from captioning.ocr.rapid import RapidEngine
from tests.captioning.pictures import blank, fixture, written


@pytest.fixture(scope="module", params=["rapidocr", "paddleocr"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OcrEngine:
    if request.param == "rapidocr":
        return RapidEngine()
    pytest.importorskip("paddleocr", reason="the extra `paddle` is not installed")
    from captioning.ocr.paddle import PaddleEngine
    from captioning.ocr.paddle_models import write_embedded_models

    folder = write_embedded_models(tmp_path_factory.mktemp("paddle"))
    return PaddleEngine(model_dir=folder, engine="onnxruntime")


def texts(engine: OcrEngine, *images: Any) -> list[list[str]]:
    return [[line.text for line in lines] for lines in engine.read(images)]


def test_reads_english_lines_in_order(engine: OcrEngine) -> None:
    lines = ["Fresh Bread Daily", "Open 7 am to 6 pm", "Closed on Sunday"]
    assert [[normalise(t) for t in found] for found in texts(engine, written(lines))] == [
        [normalise(text) for text in lines]
    ]


def test_reads_chinese_and_mixed_lines_with_their_script(engine: OcrEngine) -> None:
    lines = engine.read([fixture("sale")])[0]
    assert [normalise(line.text) for line in lines] == ["清仓大甩卖", "BigSale全场五折"]
    assert [line.script for line in lines] == ["han", "mixed"]
    assert [line.language for line in lines] == ["zh", "zh"]
    assert all(line.confident for line in lines)


def test_reads_vertical_columns_from_the_right(engine: OcrEngine) -> None:
    assert texts(engine, fixture("vertical")) == [["床前明月光", "疑是地上霜", "举头望明月"]]


def test_a_picture_of_nothing_has_no_lines(engine: OcrEngine) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert texts(engine, blank(), blank(0), noise) == [[], [], []]


def test_boxes_lie_on_the_text_in_the_pixels_of_the_picture(engine: OcrEngine) -> None:
    # Larger than max_side, so that boxes must be scaled back.
    picture = written(["Hello World"], size=(1600, 900))
    (line,) = engine.read([picture])[0]
    ink = np.argwhere(picture.min(axis=2) < 128)
    top, left = ink.min(axis=0)
    bottom, right = ink.max(axis=0)
    assert np.allclose(line.bounds, (left, top, right, bottom), atol=14)


def test_channels_are_in_the_order_the_models_were_made_for(tmp_path: Path) -> None:
    """From a file the library decodes by itself; swapped channels change the confidence."""
    engine = RapidEngine()
    picture = written(["Red Letters"], ink=(220, 40, 20), paper=(90, 200, 240))
    Image.fromarray(picture).save(tmp_path / "red.png")
    own = engine._ocr(tmp_path / "red.png")
    (line,) = engine.read([picture])[0]
    (swapped,) = engine.read([picture[:, :, ::-1]])[0]
    assert line.confidence == pytest.approx(float(own.scores[0]), abs=1e-6)
    assert swapped.confidence != pytest.approx(line.confidence, abs=1e-6)


def test_the_same_picture_reads_the_same_alone_in_a_batch_and_from_threads(
    engine: OcrEngine,
) -> None:
    pictures = [fixture("sale"), blank(), written(["Alpha", "Beta"]), fixture("vertical")]
    alone = [engine.read([picture])[0] for picture in pictures]
    assert engine.read(pictures) == alone
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda p: engine.read([p])[0], pictures * 2)) == alone * 2


def test_several_threads_inside_give_the_same_lines() -> None:
    pictures = [fixture("sale"), written(["Alpha", "Beta"]), fixture("vertical")]
    assert RapidEngine(threads=2).read(pictures) == RapidEngine().read(pictures)


def test_lines_below_the_least_confidence_are_dropped() -> None:
    assert RapidEngine(min_confidence=1.0).read([fixture("sale")]) == [[]]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_picture_is_read_as_if_it_stood(engine: OcrEngine, quarters: int) -> None:
    lines = ["Fresh Bread Daily", "Open 7 am to 6 pm"]
    picture = written(lines, size=(420, 200))
    (found,) = engine.read([np.ascontiguousarray(np.rot90(picture, quarters))])
    assert [normalise(line.text) for line in found] == [normalise(text) for text in lines]
    # The box starts where the text does, in the picture as it was given.
    ends = {1: (0, -1), 2: (-1, 0), 3: (0, 1)}[quarters]
    way = np.subtract(found[0].box[1], found[0].box[0])
    assert np.dot(way, ends) > 5 * abs(np.dot(way, ends[::-1]))
    height, width = np.rot90(picture, quarters).shape[:2]
    left, top, right, bottom = found[0].bounds
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_one_line_of_several_on_its_head_needs_the_classifier() -> None:
    picture = written(["Fresh Bread Daily", "Open 7 am to 6 pm", "Closed on Sunday"])
    picture = picture.copy()
    picture[10:80, 10:] = picture[10:80, 10:][::-1, ::-1].copy()
    turned = RapidEngine(use_cls=True).read([picture])[0]
    assert normalise(turned[0].text) == "FreshBreadDaily"
    plain = RapidEngine().read([picture])[0]
    assert "FreshBreadDaily" not in [normalise(line.text) for line in plain]


def test_a_tiny_picture_is_read() -> None:
    word = Image.fromarray(written(["PAIN"])).crop((28, 30, 118, 62)).resize((50, 18))
    (line,) = RapidEngine().read([np.asarray(word)])[0]
    assert (line.text, line.confident) == ("PAIN", True)
    left, top, right, bottom = line.bounds
    assert (left, top) < (8, 8)
    assert (right, bottom) > (42, 10)
    assert right <= 50
    assert bottom <= 18


def test_reads_real_documents_and_posters(shared: Path) -> None:
    """Recall of characters, whatever their order, by the language of the picture."""
    engine = RapidEngine()
    folder = shared / "data" / "ocr"
    found, total = Counter[str](), Counter[str]()
    for row in map(json.loads, (folder / "truth.jsonl").read_text("utf-8").splitlines()):
        if row["kind"] not in {"document", "poster"} or row["width"] * row["height"] > 300_000:
            continue
        with Image.open(folder / row["file"]) as image:
            lines = engine.read([np.asarray(image.convert("RGB"))])[0]
        truth = Counter("".join(map(normalise, row["lines"])))
        seen = Counter("".join(normalise(line.text) for line in lines))
        for language in row["lang"]:
            found[language] += sum((truth & seen).values())
            total[language] += sum(truth.values())
    assert total["en"] > 300
    assert total["zh"] > 300
    assert found["en"] / total["en"] >= 0.95
    assert found["zh"] / total["zh"] >= 0.95
