"""The caption chain: write, repair, check."""

from __future__ import annotations

from dataclasses import dataclass, replace

from captioning.backends import chinese, english
from captioning.caption import LANGUAGES, CaptionBackend, CaptionRequest, Captions
from captioning.checks import check, missing_lines, ocr_coverage

_ADDED = {"en": (english.missing_text, " "), "zh": (chinese.missing_text, "")}


@dataclass(frozen=True)
class CaptionResult:
    """The captions of one image and what the checks say.

    Args:
        captions: The captions, repaired.
        ocr_coverage: The share of confident lines quoted in both long captions, 0 to 1;
            ``None`` without such lines.
        flags: Checks that failed, and repairs made.
    """

    captions: Captions
    ocr_coverage: float | None
    flags: tuple[str, ...]


def caption_image(backend: CaptionBackend, request: CaptionRequest) -> CaptionResult:
    """Write the captions of one image, add text they left out, and check them.

    Raises:
        CaptionError: If the backend gives this image no captions.
        EndpointUnavailableError: If the backend gives none at all.
    """
    captions, repairs = add_missing_text(backend.write(request), request)
    flags = (*repairs, *check(captions, request))
    return CaptionResult(captions, ocr_coverage(captions, request), flags)


def add_missing_text(captions: Captions, request: CaptionRequest) -> tuple[Captions, list[str]]:
    """Append to the long captions the confident lines they do not quote.

    Returns:
        The captions, and a flag ``repaired_text:en_long`` for each that was changed.
    """
    changed: dict[str, str] = {}
    for language in LANGUAGES:
        caption = captions.get(language, "long")
        missing = missing_lines(caption, request.confident_texts)
        if missing:
            sentence, space = _ADDED[language]
            changed[f"{language}_long"] = f"{caption.rstrip()}{space}{sentence(missing)}".strip()
    return replace(captions, **changed), [f"repaired_text:{name}" for name in changed]
