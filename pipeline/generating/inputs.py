"""What generators are made of: shards, folders, devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.contract import ConfigurationError, StageError

if TYPE_CHECKING:
    from generator.shards import Shards
    from generator.text_to_image import TextToImage


@dataclass(frozen=True)
class Captions:
    """Which captions of a sample a run chooses from.

    Args:
        levels: Such as ``prompt``; empty: all.
        languages: ``en``, ``zh``; empty: all.
        weights: Parquet file or folder with ``item_id`` and ``weight``; ``None``: all the same.
    """

    levels: Sequence[str] = ()
    languages: Sequence[str] = ()
    weights: Path | None = None


@contextmanager
def told() -> Iterator[None]:
    """Errors of the generator as those that commands know how to tell.

    Raises:
        ConfigurationError: For what was asked wrongly, or cannot be read.
        StageError: For what went wrong on the way.
    """
    try:
        yield
    except (ConfigurationError, StageError):
        raise
    except (ValueError, ImportError) as error:
        raise ConfigurationError(str(error)) from error
    except FloatingPointError as error:
        raise StageError(str(error)) from error
    except RuntimeError as error:
        raise StageError(str(error).splitlines()[0]) from error


def open_shards(source: Path, captions: Captions) -> Shards:
    """Shards from a corpus, the folder of its shards, or their index.

    Raises:
        ConfigurationError: If none are there.
    """
    from generator.shards import Shards, read_weights

    places = (source, source / "index.json", source / "shards" / "index.json")
    index = next((place for place in places if place.is_file()), None)
    if index is None:
        raise ConfigurationError(
            f"{source} holds no shards: name a corpus whose stage shard has run, the folder of "
            "its shards, or their index.json"
        )
    chosen: dict[str, Sequence[str]] = {}
    if captions.levels:
        chosen["levels"] = captions.levels
    if captions.languages:
        chosen["languages"] = captions.languages
    weights = None
    if captions.weights is not None:
        if not captions.weights.exists():
            raise ConfigurationError(f"{captions.weights} does not exist")
        weights = read_weights(captions.weights)
    return Shards(index, weights, **chosen)


def load_generator(folder: Path, device: str, precision: str | None = None) -> TextToImage:
    """A generator from its folder, ours or an official one.

    Args:
        folder: See ``TextToImage.from_pretrained``.
        device: ``auto``, ``cpu``, ``cuda`` or another that torch knows.
        precision: ``fp32`` or ``bf16``; ``None``: as it is stored.
    """
    import torch

    from generator.text_to_image import TextToImage

    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder: name what `generator train` wrote")
    kinds = {None: None, "fp32": torch.float32, "bf16": torch.bfloat16}
    if precision not in kinds:
        raise ConfigurationError(f"precision must be fp32 or bf16, got {precision!r}")
    return TextToImage.from_pretrained(folder, device=pick_device(device), dtype=kinds[precision])


def pick_device(name: str) -> str:
    """``auto`` is the GPU where there is one.

    Raises:
        ConfigurationError: If torch cannot use the device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"device {name!r} cannot be used: {str(error).splitlines()[0]}"
        ) from None
    return name
