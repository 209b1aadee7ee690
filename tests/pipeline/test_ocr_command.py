"""``winnow ocr``: the lines of any images, from the command line and from a notebook."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.reading import ocr_settings, read_texts
from stages.contract import ConfigurationError, Reason
from tests.captioning.pictures import DATA

runner = CliRunner()


def test_json_lists_every_image_with_its_lines_and_errors(tmp_path: Path) -> None:
    sale = shutil.copy(DATA / "sale.png", tmp_path / "sale.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    missing = tmp_path / "missing.png"
    result = runner.invoke(app, ["ocr", str(sale), str(broken), str(missing), "--json"])
    assert result.exit_code == 3
    good, bad, gone = json.loads(result.stdout)
    assert set(good) == {"uri", "lines"}
    assert good["uri"] == str(sale)
    assert [line["text"] for line in good["lines"]] == ["清仓大甩卖", "Big Sale 全场五折"]
    first = good["lines"][0]
    assert set(first) == {"text", "box", "confidence", "script", "language", "mark"}
    assert (len(first["box"]), len(first["box"][0])) == (4, 2)
    assert (first["script"], first["language"], first["mark"]) == ("han", "zh", "none")
    assert (bad["lines"], bad["error"]["reason"]) == ([], "not_an_image")
    assert (gone["uri"], gone["error"]["reason"]) == (str(missing), "missing")


def test_text_shows_folders_and_tars_image_by_image(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(DATA / "vertical.png", folder / "vertical.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(DATA / "sale.png", "0001.png")
    result = runner.invoke(app, ["ocr", str(folder), str(tmp_path / "*.tar"), "--threads", "2"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    names = [line for line in lines if not line.startswith(" ")]
    assert names == [str(folder / "vertical.png"), f"{tmp_path / 'shard.tar'} 0001"]
    texts = [line.split(maxsplit=2)[2] for line in lines if line.startswith(" ")]
    assert texts[:3] == ["床前明月光", "疑是地上霜", "举头望明月"]
    assert texts[3:] == ["清仓大甩卖", "Big Sale 全场五折"]


def test_an_image_that_cannot_be_read_goes_to_standard_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((DATA / "sale.png").read_bytes()[:300])
    result = runner.invoke(app, ["ocr", str(broken)])
    assert result.exit_code == 3
    assert result.stdout == ""
    assert f"{broken}: truncated: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "tesseract"], "backend: "),
        (["--set", "warmth=1"], "there is no such setting"),
        (["--set", "max_side"], "write NAME=VALUE"),
        (["--set", "max_side=10"], "greater than or equal to 64"),
        (["--model-dir", "models"], "set ocr.backend to paddleocr"),
        ([], "matches no file"),
    ],
)
def test_what_cannot_work_is_said_first(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["ocr", "nothing-here-*.png", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_notebook_gets_the_reason_and_other_settings() -> None:
    (missing,) = read_texts(["no-such-file.png"])
    assert missing.failure is not None
    assert missing.failure[0] == Reason.MISSING
    (strict,) = read_texts([str(DATA / "sale.png")], ocr_settings({}, ["ocr.min_confidence=1.0"]))
    assert (strict.lines, strict.failure) == ((), None)
    with pytest.raises(ConfigurationError, match="min_confidence"):
        ocr_settings({"min_confidence": 7.0})
