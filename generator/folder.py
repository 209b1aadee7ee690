"""The folder of a generator that was trained or distilled here: all that sampling needs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from generator.codecs import BlockDct
from generator.text import HashedWords
from generator.text_to_image import TextToImage

_SCHEDULER = Path("scheduler") / "scheduler_config.json"
#: Parts of the official layout that training leaves as they were.
_PARTS = ("scheduler", "text_encoder", "tokenizer", "vae")


def save_beside(made: TextToImage, source: str | Path, folder: str | Path) -> None:
    """Write a generator whose codec and text encoder came from a folder.

    Embedded parts are named in ``winnow.json``. Those of an official folder are linked, or
    copied where links cannot be made, and the scheduler is told the generator's shift.

    Args:
        made: What to write.
        source: The folder that codec and text encoder were loaded from.
        folder: Where to; made if absent. ``TextToImage.from_pretrained`` reads it.
    """
    source, folder = Path(source), Path(folder)
    if isinstance(made.codec, BlockDct) and isinstance(made.text, HashedWords):
        made.save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        shutil.copytree(source / part, folder / part, copy_function=_link, dirs_exist_ok=True)
    values = json.loads((source / _SCHEDULER).read_text("utf-8"))
    # A linked file must not be written into: the source would change.
    (folder / _SCHEDULER).unlink()
    values["shift"] = made.options.shift
    (folder / _SCHEDULER).write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    made.model.save_pretrained(folder / "transformer")
    _link(source / "model_index.json", folder / "model_index.json")


def _link(source: str | Path, target: str | Path) -> None:
    Path(target).unlink(missing_ok=True)
    try:
        # Caches of downloads hold links: what they point to is wanted.
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)
