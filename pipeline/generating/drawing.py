"""Drawing with a generator, and sheets of what it drew."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.generating.inputs import load_generator, told
from stages.contract import ConfigurationError

if TYPE_CHECKING:
    from generator.sampler import SamplerOptions

#: Pictures that go through the model at once.
_AT_ONCE = 16


def draw_prompts(
    folder: Path,
    prompts: Sequence[str],
    output: Path,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    shift: float | None = None,
    preset: str | None = None,
    negative: str | None = None,
    seed: int = 0,
    size: str | None = None,
    columns: int | None = None,
    device: str = "auto",
    precision: str | None = None,
) -> str:
    """Draw a picture for each prompt into one PNG file.

    Args:
        folder: Of the generator.
        prompts: At least one.
        output: Where to; its folder is made if absent.
        steps: See ``SamplerOptions``; ``None``, here and below: as the folder or preset has it.
        guidance: Likewise.
        shift: Likewise.
        preset: A key of ``generator.sampler.PRESETS``.
        negative: What guidance leads away from, for all pictures.
        seed: Of the first; the next has one more.
        size: Pixels, see :func:`parse_size`.
        columns: Of the sheet; ``None``: about a square.
        device: See :func:`pipeline.generating.inputs.pick_device`.
        precision: See :func:`pipeline.generating.inputs.load_generator`.

    Returns:
        What was drawn, for people.

    Raises:
        ConfigurationError: If the folder or an option is wrong.
    """
    from generator.codecs import to_array

    with told():
        if output.suffix.lower() != ".png":
            raise ConfigurationError(f"the output must be a .png file, got {output}")
        wanted = parse_size(size)
        drawing = load_generator(folder, device, precision)
        options = sampling(drawing.options, preset, steps, guidance, shift)
        if negative is not None and not options.guidance:
            raise ConfigurationError("a negative prompt needs --guidance above 0")
        began = time.monotonic()
        images: list[NDArray[np.uint8]] = []
        for first in range(0, len(prompts), _AT_ONCE):
            part = list(prompts[first : first + _AT_ONCE])
            drawn = drawing.generate(
                part,
                size=wanted,
                seeds=range(seed + first, seed + first + len(part)),
                negatives=[negative or ""] * len(part),
                options=options,
            )
            images += [to_array(each) for each in drawn]
        seconds = time.monotonic() - began
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet(images, columns).save(output)
    height, width = images[0].shape[:2]
    many = "picture" if len(images) == 1 else "pictures"
    return (
        f"{len(images)} {many} of {height} x {width} in {seconds:.1f} s ({describe(options)}): "
        f"{output}"
    )


def describe(options: SamplerOptions) -> str:
    """A way of sampling, for people."""
    steps = len(options.sigmas) if options.sigmas else options.steps
    guided = f"guidance {options.guidance:g}" if options.guidance else "no guidance"
    return f"{steps} steps, {guided}"


def sheet(images: Sequence[NDArray[np.uint8]], columns: int | None = None) -> Image.Image:
    """Pictures of one size side by side, row by row.

    Args:
        images: uint8 (H, W, 3) each, at least one.
        columns: In a row; ``None``: about a square.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    columns = min(columns, len(images))
    height, width = images[0].shape[:2]
    rows = math.ceil(len(images) / columns)
    whole = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height, number % columns * width
        whole[top : top + height, left : left + width] = image
    return Image.fromarray(whole)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width from ``512`` or ``512x768``.

    Raises:
        ConfigurationError: If it is neither.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() for part in parts):
        raise ConfigurationError(f"size must be like 512 or 512x768 (height x width), got {text!r}")
    return int(parts[0]), int(parts[-1])


def sampling(
    own: SamplerOptions,
    preset: str | None,
    steps: int | None,
    guidance: float | None,
    shift: float | None,
) -> SamplerOptions:
    """A generator's own way of sampling, or a preset, with what was asked for otherwise.

    Raises:
        ConfigurationError: If the preset is not known.
    """
    from generator.sampler import PRESETS

    if preset is not None and preset not in PRESETS:
        raise ConfigurationError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    options = PRESETS[preset] if preset else own
    asked = {"steps": steps, "guidance": guidance, "shift": shift}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if {"steps", "shift"} & set(given):
        given["sigmas"] = None
    return dataclasses.replace(options, **given)
