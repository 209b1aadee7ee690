"""Where heads lie: a local file, or a file on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from stages.contract import ConfigurationError

HUB = "hf-hub:"


def is_tag(place: str) -> bool:
    """Whether a place is a tag of the hub."""
    return place.startswith(HUB)


def locate_head(place: str, where: str) -> Path:
    """The local file of a head; one on the hub is downloaded, or found in the hub's cache.

    Args:
        place: A path, or ``hf-hub:OWNER/NAME/FILE`` with ``@REVISION`` behind it, if wanted.
        where: The setting that names it, for messages.

    Raises:
        ConfigurationError: If the file is not there or cannot be had; says what to do.
    """
    if not is_tag(place):
        path = Path(place).expanduser()
        if not path.is_file():
            raise ConfigurationError(f"{where}={place!r} is not a file: correct the path")
        return path
    tag, _, revision = place.removeprefix(HUB).partition("@")
    parts = tag.split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise ConfigurationError(f"{where}={place!r} must be {HUB}OWNER/NAME/FILE")
    return _downloaded(f"{parts[0]}/{parts[1]}", parts[2], revision or None, f"{where}={place!r}")


def _downloaded(repository: str, file: str, revision: str | None, where: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ConfigurationError(
            f"{where} needs huggingface_hub: pip install huggingface_hub, or name a local file"
        ) from error
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigurationError(
            f"{where} cannot be had from the hub ({reason}): download {file} of {repository} where "
            "there is a network, and name the local file"
        ) from error


def content_of(place: str) -> str:
    """What stands for a head in a fingerprint: a file's content, or the hub's tag."""
    path = Path(place).expanduser()
    if is_tag(place) or not path.is_file():
        return place
    stat = path.stat()
    return _hash(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash(path: str, size: int, modified_ns: int) -> str:  # noqa: ARG001 - cache key
    return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
