"""Checking captions against what the image is known to say."""

from __future__ import annotations

from collections.abc import Sequence

from captioning.caption import LANGUAGES, CaptionLanguage, CaptionRequest, Captions
from captioning.language import count_letters, normalise
from captioning.quotes import strip_quotations

#: Least share of a caption's words, outside quotations, in its own script.
PURITY = {"en": 0.9, "zh": 0.7}


def missing_lines(caption: str, texts: Sequence[str]) -> list[str]:
    """The texts that a caption does not quote word for word, in order.

    Compared after Unicode normalisation, without white space.
    """
    plain = normalise(caption)
    return [text for text in texts if text not in caption and normalise(text) not in plain]


def ocr_coverage(captions: Captions, request: CaptionRequest) -> float | None:
    """The share of confident lines that both long captions quote, 0 to 1.

    ``None`` where the image shows no confident line.
    """
    texts = request.confident_texts
    if not texts:
        return None
    missing = {
        text for lang in LANGUAGES for text in missing_lines(captions.get(lang, "long"), texts)
    }
    return sum(text not in missing for text in texts) / len(texts)


def language_purity(caption: str, language: CaptionLanguage, known: Sequence[str] = ()) -> float:
    """The share of a caption's words that are in its language's script, 0 to 1.

    Args:
        caption: The caption.
        language: What it should be in.
        known: Texts that count as quoted: those of the image and its metadata.

    Returns:
        Latin words (``en``) or Han characters (``zh``) over all words, a character of
        another script counting as one; 1 where nothing but quotations is left.
    """
    letters = count_letters(strip_quotations(caption, known))
    words = letters.latin_words + letters.han + letters.other
    right = letters.latin_words if language == "en" else letters.han
    return right / words if words else 1.0


def check(captions: Captions, request: CaptionRequest) -> list[str]:
    """What is wrong with the captions of an image.

    Returns:
        Flags, in a fixed order: ``empty:en_short`` for a caption without a word,
        ``language:zh_long`` for one in another language, ``missing_text:en_long`` for a
        long caption that leaves out a confident line.
    """
    flags = []
    known = _known_texts(request)
    for language, level, caption in captions:
        name = f"{language}_{level}"
        if not caption.strip():
            flags.append(f"empty:{name}")
        elif language_purity(caption, language, known) < PURITY[language]:
            flags.append(f"language:{name}")
        if level == "long" and missing_lines(caption, request.confident_texts):
            flags.append(f"missing_text:{name}")
    return flags


def _known_texts(request: CaptionRequest) -> list[str]:
    meta = request.metadata
    given = (meta.alt, meta.title, meta.place, *meta.keywords)
    return [line.text for line in request.lines] + [g.text for g in given if g is not None]
