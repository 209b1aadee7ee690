"""The prompts, as versioned text files: a new wording is a new version, never an edit."""

from __future__ import annotations

from importlib.resources import files
from string import Template

#: The version that is used unless another is asked for.
CURRENT = "v2"


def load_prompt(name: str, version: str = CURRENT) -> Template:
    """Load a prompt.

    Args:
        name: Such as ``caption.en``.
        version: Such as ``v1``.

    Returns:
        A template; ``$name`` marks what is filled in.

    Raises:
        FileNotFoundError: If there is no such prompt; the message names those there are.
    """
    stem, _, language = name.partition(".")
    file = files(__package__) / f"{stem}.{version}.{language}.txt"
    if not file.is_file():
        there = sorted(f.name for f in files(__package__).iterdir() if f.name.endswith(".txt"))
        raise FileNotFoundError(f"no prompt {file.name!r}; there are {', '.join(there)}")
    return Template(file.read_text(encoding="utf-8"))
