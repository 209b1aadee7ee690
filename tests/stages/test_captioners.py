"""Where answers are kept, what tells models apart, and captioners that work in batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from captioning.backends.composer import Composer
from captioning.caption import CaptionError, CaptionRequest, Captions, Faults, Written
from stages.caption import CaptionSettings, CaptionStage
from stages.captioners import AnswerFiles, fingerprint_of_folder
from stages.contract import ConfigurationError, Reason, UnavailableError
from stages.schemas import CAPTION, ITEMS, OCR
from stages.storage import Storage


def test_answers_are_found_by_whoever_looks_next(tmp_path: Path) -> None:
    one = AnswerFiles(Storage(), "org/model name")
    one.put("ab12", b"nowhere yet")
    one.base = str(tmp_path / "cache")
    assert one.get("ab12") is None
    one.put("ab12", b"answer")
    another = AnswerFiles(Storage(), "org/model name")
    another.base = one.base
    assert another.get("ab12") == b"answer"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        "cache/org_model_name/ab/ab12.json"
    ]


def test_a_store_that_fails_is_no_image_s_fault(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    answers = AnswerFiles(Storage(), "m")
    answers.base = str(tmp_path / "cache")
    with pytest.raises(UnavailableError, match="cannot be"):
        answers.put("ab12", b"answer")


def test_a_model_counts_by_content_and_not_by_place(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(bytes(5 << 20))
    one, other = (fingerprint_of_folder(folder) for folder in folders)
    assert one == other
    weights = bytearray(5 << 20)
    weights[-1] = 1
    (folders[1] / "model.safetensors").write_bytes(weights)
    assert fingerprint_of_folder(folders[1]) != one

    def fields(folder: Path, **settings: Any) -> dict[str, Any]:
        return CaptionSettings(
            backend="transformers", model_dir=str(folder), device="cpu", **settings
        ).fingerprint_fields()

    assert fields(folders[0]) == fields(folders[0], timeout=1.0, max_side=64)
    assert fields(folders[0]) != fields(folders[1])
    assert fields(folders[0]) != fields(folders[0], dtype="bf16")


def test_a_local_model_is_looked_for_early(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra `vlm` is not installed")
    for folder, message in ((None, "model_dir is missing"), (str(tmp_path), "no config.json")):
        stage = CaptionStage(CaptionSettings(backend="transformers", model_dir=folder), Storage())
        with pytest.raises(ConfigurationError, match=message):
            stage.check()


class InBatches(Composer):
    """Composes captions three at a time, and none for images that are dark."""

    batch_size = 3

    def __init__(self) -> None:
        self.batches: list[int] = []

    def write_all(self, requests: Sequence[CaptionRequest]) -> list[Written | CaptionError]:
        self.batches.append(len(requests))
        return [
            CaptionError("too dark") if request.image.mean() < 50 else self.write(request)
            for request in requests
        ]

    def revise_all(
        self, drafts: Sequence[tuple[CaptionRequest, Captions, Faults]]
    ) -> list[Written | CaptionError]:
        raise AssertionError("the composer leaves nothing out")


def test_batches_lose_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for number in range(8):
        place = tmp_path / f"{number}.png"
        if number == 4:
            place.write_bytes(b"no image")
        else:
            grey = 10 if number == 1 else 200
            Image.fromarray(np.full((20, 30, 3), grey, np.uint8)).save(place)
        rows.append({"item_id": number, "uri": str(place), "key": str(number)})
    table = pa.Table.from_pylist(rows, schema=ITEMS)
    table = table.append_column(OCR.field("lines"), pa.array([[]] * 8, OCR.field("lines").type))
    backend = InBatches()
    monkeypatch.setattr("stages.caption.make_backend", lambda *_: backend)
    stage = CaptionStage(CaptionSettings(), Storage())
    stage.setup()
    output = stage.process(table)
    assert backend.batches == [3, 2, 2]
    assert output.rows.schema == CAPTION
    assert output.rows["item_id"].to_pylist() == [0, 2, 3, 5, 6, 7]
    assert [(q.item_id, q.reason) for q in output.quarantined] == [
        (1, Reason.CAPTION_FAILED),
        (4, Reason.UNREADABLE),
    ]
    assert output.rows["answers"].to_pylist() == [0] * 6
