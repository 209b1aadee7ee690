"""The ocr stage on encoded images: rows, quarantine, early checks."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError

from stages.contract import ConfigurationError, Reason
from stages.ocr import OcrSettings, OcrStage
from stages.schemas import ITEMS, OCR
from stages.storage import Storage
from tests.captioning.pictures import blank, fixture, written


def items(folder: Path) -> pa.Table:
    pictures = {"sale": fixture("sale"), "blank": blank(), "sign": written(["Mind the gap"])}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes((folder / "sale.png").read_bytes()[:500])
    names = ["sale", "broken", "blank", "sign"]
    return pa.Table.from_pylist(
        [
            {"item_id": n, "uri": str(folder / f"{name}.png"), "key": name, "width": 9, "height": 9}
            for n, name in enumerate(names)
        ],
        schema=ITEMS,
    )


def run(table: pa.Table, **settings: Any) -> Any:
    stage = OcrStage(OcrSettings(**settings), Storage())
    stage.check()
    stage.setup()
    return stage.process(table)


def test_one_row_an_item_or_quarantine(tmp_path: Path) -> None:
    output = run(items(tmp_path))
    assert output.rows.schema == OCR
    sale, empty, sign = output.rows.to_pylist()
    assert [sale["item_id"], empty["item_id"], sign["item_id"]] == [0, 2, 3]
    assert sale["text"].splitlines()[0] == "清仓大甩卖"
    assert [line["script"] for line in sale["lines"]] == ["han", "mixed"]
    assert all(len(line["box"]) == 8 for line in sale["lines"])
    assert 0.2 < sale["text_area"] < 0.6
    assert (empty["lines"], empty["text"], empty["text_area"]) == ([], "", 0.0)
    assert sign["lines"][0]["language"] == "en"
    (broken,) = output.quarantined
    assert (broken.item_id, broken.reason) == (1, Reason.UNREADABLE)
    assert {line["mark"] for row in (sale, sign) for line in row["lines"]} == {"none"}
    assert (output.metrics["lines"], output.metrics["marked_lines"]) == (3.0, 0.0)
    assert output.metrics["images_per_s"] > 0


def test_threads_do_not_change_rows(tmp_path: Path) -> None:
    table = items(tmp_path)
    assert run(table, threads=3).rows.equals(run(table).rows)


def test_an_empty_partition() -> None:
    output = run(ITEMS.empty_table())
    assert output.rows.num_rows == 0
    assert output.rows.schema == OCR


def test_resources_follow_the_settings() -> None:
    stage = OcrStage(OcrSettings(threads=4, recycle_after=8), Storage())
    assert (stage.resources.cpus, stage.resources.recycle_after) == (4, 8)
    assert OcrStage(OcrSettings(gpus=0.5), Storage()).resources.gpus == 0.5


def test_settings_that_only_change_speed_stay_out_of_the_fingerprint() -> None:
    plain = OcrSettings().fingerprint_fields()
    assert OcrSettings(threads=8, recycle_after=None).fingerprint_fields() == plain
    assert OcrSettings(max_side=960).fingerprint_fields() != plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_dir": "somewhere"}, "set ocr.backend to paddleocr"),
        ({"gpus": 1.0}, "no CUDA provider"),
    ],
)
def test_rapidocr_is_checked_early(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigurationError, match=message):
        OcrStage(OcrSettings(**settings), Storage()).check()


def test_paddleocr_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddleocr", None)
    monkeypatch.setattr("stages.ocr.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"winnow\[paddle\]"):
        OcrStage(OcrSettings(backend="paddleocr"), Storage()).check()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "allow_download"),
        ({"model_dir": "/nowhere"}, "must hold two folders"),
        ({"model_dir": "/nowhere", "use_cls": True}, "use_cls"),
    ],
)
def test_paddleocr_without_models(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.ocr.find_spec", lambda _: object())
    with pytest.raises(ConfigurationError, match=message):
        OcrStage(OcrSettings(backend="paddleocr", **settings), Storage()).check()


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        OcrSettings(min_confidence=1.5)
