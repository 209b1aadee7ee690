"""Filling in the prompts: what models are told of an image, and of their own captions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from captioning.backends.answers import TEXT
from captioning.caption import CAPTION_NAMES, CaptionRequest, Captions, Faults
from captioning.metadata import Metadata
from captioning.ocr.lines import Line
from captioning.prompts import CURRENT, load_prompt


class Asker:
    """Puts the questions of the caption chain into words.

    Args:
        version: The prompts' version.

    Raises:
        FileNotFoundError: If there is no such version.
    """

    def __init__(self, version: str = CURRENT) -> None:
        self.version = version
        self._caption = load_prompt("caption.en", version)
        self._revise = load_prompt("revise.en", version)

    def ask(self, request: CaptionRequest) -> str:
        """Asks for all captions."""
        return self._caption.substitute(
            lines=_listed_lines(request.lines),
            metadata=_listed_metadata(request.metadata),
            keys=", ".join([TEXT, *CAPTION_NAMES]),
        )

    def ask_again(self, faults: Faults) -> str:
        """Asks for the faulty ones, after the captions themselves."""
        return self._revise.substitute(
            incomplete=", ".join(faults.incomplete) or "(none)",
            missing="\n".join(faults.missing) or "(none)",
            foreign=", ".join(faults.foreign) or "(none)",
            keys=", ".join(faults.names),
        )


def as_answer(captions: Captions) -> str:
    """Captions as a model would have answered them."""
    return json.dumps(asdict(captions), ensure_ascii=False)


def _listed_lines(lines: Sequence[Line]) -> str:
    """The lines, but not those that say again what another says."""
    once = [line for line in lines if line.mark == "none"]
    listed = [line.text if line.confident else f"{line.text} (uncertain)" for line in once]
    return "\n".join(listed) or "(none)"


def _listed_metadata(metadata: Metadata) -> str:
    keywords = ", ".join(word.text for word in metadata.keywords)
    fields = {
        "Alt text": metadata.alt.text if metadata.alt else "",
        "Title": metadata.title.text if metadata.title else "",
        "Keywords": keywords,
        "Place": metadata.place.text if metadata.place else "",
    }
    return "\n".join(f"{name}: {text}" for name, text in fields.items() if text) or "(nothing)"
