"""``winnow caption``: ten captions and their checks, from the command line and from a notebook."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from captioning.caption import LANGUAGES, LEVELS
from pipeline.captions import caption_files, caption_settings
from pipeline.cli import app
from stages.contract import ConfigurationError, Reason
from tests.captioning.chat_server import Server
from tests.captioning.pictures import DATA

runner = CliRunner()


def test_json_holds_all_captions_and_checks(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    sale = shutil.copy(DATA / "sale.png", tmp_path / "sale.png")
    result = runner.invoke(app, ["caption", str(sale), str(broken), "--json", "--alt", "A sheet"])
    assert result.exit_code == 3
    good, bad = json.loads(result.stdout)
    assert good["uri"] == str(sale)
    assert [line["text"] for line in good["lines"]] == ["清仓大甩卖", "Big Sale 全场五折"]
    assert set(good["lines"][0]) == {"text", "box", "confidence", "script"}
    for language in LANGUAGES:
        assert all(good["captions"][language][level] for level in LEVELS)
        assert "“清仓大甩卖”" in good["captions"][language]["long"]
    assert good["captions"]["en"]["long"].startswith("A sheet.")
    assert (good["checks"]["ocr_lines"], good["checks"]["ocr_coverage"]) == (2, 1.0)
    assert good["checks"]["flags"] == []
    assert bad["error"]["reason"] == "unreadable"


def test_text_shows_ten_captions_and_the_checks() -> None:
    result = runner.invoke(app, ["caption", str(DATA / "vertical.png")])
    assert result.exit_code == 0
    words = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("    ")]
    assert words == [*LEVELS, *LEVELS]
    assert "Checks: " in result.stdout
    assert "100% quoted; all passed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "gpt"], "backend: "),
        (["--set", "warmth=1"], "there is no such setting"),
        (["--set", "timeout"], "write NAME=VALUE"),
        (["--backend", "openai"], "caption.model is missing"),
        (["--backend", "transformers"], "caption.model_dir is missing"),
    ],
)
def test_what_cannot_work_is_said_first(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["caption", "no-such-file.png", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_notebook_gets_the_reason() -> None:
    (missing,) = caption_files(["no-such-file.png"])
    assert missing.failure is not None
    assert missing.failure[0] == Reason.MISSING


def test_an_endpoint_is_asked() -> None:
    pytest.importorskip("openai", reason="the extra `vlm` is not installed")
    server = Server()
    options = {"backend": "openai", "model": "tiny", "base_url": server.url}
    settings = caption_settings(options, ["temperature=0.5"])
    (captioned,) = caption_files([str(DATA / "sale.png")], settings)
    server.close()
    assert captioned.backend == "tiny"
    assert server.requests[0]["temperature"] == 0.5
    assert captioned.to_json()["usage"]["answers"] == 2, "it leaves the text out, and is told so"
    assert captioned.to_json()["checks"]["appended"] == ("en_long", "zh_long")
    with pytest.raises(ConfigurationError, match="temperature"):
        caption_settings(options, ["temperature=7.0"])
