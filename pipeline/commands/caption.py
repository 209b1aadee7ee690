"""``winnow caption``: captions of image files, without a corpus."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.console import Exit, err, failures, out

if TYPE_CHECKING:
    from pipeline.captions import Captioned

_NAMES = {"en": "English", "zh": "Chinese"}


def caption(
    images: Annotated[list[str], typer.Argument(help="Image files, anywhere storage reaches.")],
    backend: Annotated[str, typer.Option(help="composer, openai or transformers.")] = "composer",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    model: Annotated[
        str | None, typer.Option(help="The model's name at the endpoint.", show_default=False)
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="The endpoint, such as http://localhost:8000/v1.", show_default=False),
    ] = None,
    model_dir: Annotated[
        str | None, typer.Option(help="Folder of a local model.", show_default=False)
    ] = None,
    alt: Annotated[
        str | None, typer.Option(help="What is known of the images.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the section caption."),
    ] = None,
) -> None:
    """Print the ten captions of each image, and what the checks found in them.

    Exits with 3 when an image has none.

    Example: `winnow caption poster.jpg --json`, `winnow caption poster.jpg --backend openai
    --base-url http://localhost:8000/v1 --model Qwen/Qwen3-VL-8B-Instruct`
    """
    from pipeline.captions import caption_files, caption_settings

    failed = 0
    everything = []
    with failures():
        chosen = caption_settings(
            {"backend": backend, "model": model, "base_url": base_url, "model_dir": model_dir},
            settings or (),
        )
        for each in caption_files(images, chosen, alt_text=alt):
            failed += each.failure is not None
            if as_json:
                everything.append(each.to_json())
            else:
                _print(each)
    if as_json:
        sys.stdout.write(json.dumps(everything, ensure_ascii=False, indent=2) + "\n")
    if failed:
        raise typer.Exit(Exit.QUARANTINE)


def _print(captioned: Captioned) -> None:
    if captioned.result is None:
        reason, detail = captioned.failure or ("", "")
        err.print(escape(f"{captioned.uri}: {reason}: {detail}"), highlight=False, soft_wrap=True)
        return
    lines = [captioned.uri]
    for language, level, text in captioned.result.captions:
        if level == "tags":
            lines.append(f"  {_NAMES[language]}, by {captioned.backend}")
        lines.append(f"    {level:<7} {text}")
    lines.append(f"  Checks: {_checks(captioned)}")
    for line in lines:
        out.print(escape(line), highlight=False, soft_wrap=True)


def _checks(captioned: Captioned) -> str:
    result = captioned.result
    assert result is not None  # noqa: S101 - _print has looked
    found = list(result.flags) or ["all passed"]
    checks = result.checks
    if checks.ocr_coverage is not None:
        found.insert(0, f"{checks.ocr_lines} lines of text, {checks.ocr_coverage:.0%} quoted")
    if checks.invented_text:
        found.append("nobody read " + ", ".join(checks.invented_text))
    if checks.unknown_names:
        found.append("nobody named " + ", ".join(checks.unknown_names))
    return "; ".join(found)
