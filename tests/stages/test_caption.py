"""The caption stage: rows, the chain from ocr's lines, quarantine, early checks."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from captioning.caption import (
    CAPTION_NAMES,
    CaptionError,
    CaptionRequest,
    Captions,
    EndpointUnavailableError,
    Written,
)
from stages.caption import CaptionSettings, CaptionStage
from stages.contract import ConfigurationError, Reason, UnavailableError
from stages.ocr import OcrSettings, OcrStage
from stages.schemas import CAPTION, ITEMS, OCR
from stages.storage import Storage
from tests.captioning.pictures import blank, fixture


def joined(folder: Path) -> pa.Table:
    """What the runner hands over: items with the lines that the ocr stage read."""
    rows = []
    alts = [("sale", None), ("blank", "A sheet of paper."), ("vertical", "一首古诗")]
    for number, (name, alt) in enumerate(alts):
        picture = blank() if name == "blank" else fixture(name)
        Image.fromarray(picture).save(folder / f"{name}.png")
        language = None if alt is None else "en" if alt.isascii() else "zh"
        rows.append(
            {"item_id": number, "uri": str(folder / f"{name}.png"), "key": name,
             "alt_text": alt, "language": language, "meta": '{"keywords": ["print"]}'}
        )  # fmt: skip
    items = pa.Table.from_pylist(rows, schema=ITEMS)
    stage = OcrStage(OcrSettings(), Storage())
    stage.setup()
    lines = stage.process(items).rows.column("lines")
    return items.append_column(OCR.field("lines"), lines)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return joined(tmp_path_factory.mktemp("captions"))


def run(table: pa.Table, **settings: Any) -> Any:
    stage = CaptionStage(CaptionSettings(**settings), Storage())
    stage.check()
    stage.setup()
    return stage.process(table)


def test_one_row_an_item_with_all_captions(table: pa.Table) -> None:
    output = run(table)
    assert output.rows.schema == CAPTION
    assert output.quarantined == []
    sale, sheet, poem = output.rows.to_pylist()
    assert {row["backend"] for row in (sale, sheet, poem)} == {"composer"}
    assert all(
        value for row in (sale, sheet, poem) for k, value in row.items() if k in CAPTION_NAMES
    )
    for language in ("en", "zh"):
        assert "“清仓大甩卖”" in sale[f"{language}_long"]
        assert all(line in poem[f"{language}_long"] for line in ("床前明月光", "疑是地上霜"))
    assert (sale["ocr_coverage"], sheet["ocr_coverage"]) == (1.0, None)
    assert sheet["en_short"] == "A sheet of paper."
    assert poem["zh_short"] == "一首古诗。"
    assert [row["flags"] for row in (sale, sheet, poem)] == [[], [], []]


def test_concurrency_and_order_of_rows_do_not_change_captions(table: pa.Table) -> None:
    rows = run(table).rows
    assert run(table, concurrency=3).rows.equals(rows)
    turned = table.take([2, 0, 1])
    assert run(turned).rows.sort_by("item_id").equals(rows)


class Failing:
    """Captions one item and fails the others."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, request: CaptionRequest) -> Written:
        if request.seed == "1":
            return Written(Captions(*["A sheet."] * 5, *["一张纸。"] * 5))
        raise self.error


def test_an_item_without_captions_is_quarantined(
    table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.caption.make_backend", lambda *_: Failing(CaptionError("refused")))
    output = run(table)
    assert output.rows["item_id"].to_pylist() == [1]
    assert [(q.item_id, q.reason, q.detail) for q in output.quarantined] == [
        (0, Reason.CAPTION_FAILED, "refused"),
        (2, Reason.CAPTION_FAILED, "refused"),
    ]


def test_an_endpoint_that_is_down_fails_the_partition_and_not_its_items(
    table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = Failing(EndpointUnavailableError("nobody there"))
    monkeypatch.setattr("stages.caption.make_backend", lambda *_: down)
    with pytest.raises(UnavailableError, match="nobody there"):
        run(table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "caption.model is missing"),
        ({"model": "m"}, "caption.base_url is missing"),
        ({"model": "m", "api_key_env": "WINNOW_TEST_KEY"}, "WINNOW_TEST_KEY, which is not set"),
        ({"model": "m", "base_url": "http://x/v1", "prompt_version": "v99"}, "no prompt"),
    ],
)
def test_the_endpoint_is_checked_early(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WINNOW_TEST_KEY", raising=False)
    monkeypatch.setattr("stages.captioners.find_spec", lambda _: object())
    with pytest.raises(ConfigurationError, match=message):
        CaptionStage(CaptionSettings(backend="openai", **settings), Storage()).check()


def test_the_endpoint_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.setattr("stages.captioners.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"winnow\[vlm\]"):
        CaptionStage(CaptionSettings(backend="openai", model="m"), Storage()).check()


def test_where_the_model_is_served_does_not_change_the_fingerprint() -> None:
    def fields(**settings: Any) -> dict[str, Any]:
        return CaptionSettings(backend="openai", **settings).fingerprint_fields()

    plain = fields(model="m")
    assert fields(model="m", base_url="http://other/v1", concurrency=9) == plain
    assert fields(model="n") != plain
    assert fields(model="m", prompt_version="v1") != plain
