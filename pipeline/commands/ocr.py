"""``winnow ocr``: the text of images, without a corpus."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.console import Exit, err, failures, out

if TYPE_CHECKING:
    from pipeline.reading import ReadImage


def ocr(
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders, tars, Parquet or JSONL files, or patterns."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    backend: Annotated[str, typer.Option(help="rapidocr or paddleocr.")] = "rapidocr",
    model_dir: Annotated[
        str | None,
        typer.Option(help="Folder with PaddleOCR's two models.", show_default=False),
    ] = None,
    threads: Annotated[
        int, typer.Option(help="Images read at once, a core each.", min=1, max=256)
    ] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the section ocr."),
    ] = None,
) -> None:
    """Print the lines of text that each image shows, in reading order.

    With `--json` a list of {uri, lines: [{text, box, confidence, script, language, mark}]}; a box
    is its four corners in pixels, and a mark tells what another line says already. Exits with 3
    when an image cannot be read.

    Example: `winnow ocr poster.jpg scans --json`, `winnow ocr "photos/*.jpg" --threads 4`
    """
    from pipeline.reading import ocr_settings, read_texts

    failed = 0
    printed = False
    with failures():
        chosen = ocr_settings(
            {"backend": backend, "model_dir": model_dir, "threads": threads}, settings or ()
        )
        for each in read_texts(images, chosen):
            failed += each.failure is not None
            if as_json:
                sys.stdout.write(",\n" if printed else "[\n")
                sys.stdout.write(json.dumps(each.to_json(), ensure_ascii=False, indent=2))
                printed = True
            else:
                _print(each)
    if as_json:
        sys.stdout.write("\n]\n" if printed else "[]\n")
    if failed:
        raise typer.Exit(Exit.QUARANTINE)


def _print(read: ReadImage) -> None:
    if read.failure is not None:
        reason, detail = read.failure
        err.print(escape(f"{read.name}: {reason.value}: {detail}"), highlight=False, soft_wrap=True)
        return
    lines = [read.name]
    for line in read.lines:
        mark = "" if line.mark == "none" else f"  ({line.mark})"
        lines.append(f"    {line.confidence:.2f}  {line.script:<5}  {line.text}{mark}")
    if not read.lines:
        lines.append("    no text")
    for line_of_text in lines:
        out.print(escape(line_of_text), highlight=False, soft_wrap=True)
