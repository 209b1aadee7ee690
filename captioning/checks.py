"""Checking captions against what the image is known to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from captioning.caption import LANGUAGES, CaptionLanguage, CaptionRequest, Captions, Faults, Level
from captioning.foreign import looks_foreign
from captioning.glossary import place_names
from captioning.language import count_letters, normalise
from captioning.names import unknown_names
from captioning.quotes import quotations, strip_quotations
from captioning.wording import (
    LENGTHS,
    REPETITION,
    is_wordless,
    refuses,
    repetition,
    size_of,
)

#: Least share of a caption's words, outside quotations, in its own script.
PURITY = {"en": 0.9, "zh": 0.7}
#: Most edits a letter by which a quotation may differ from what was read.
_MISREAD = 0.2


@dataclass(frozen=True)
class Checks:
    """What the checks of one image's captions found.

    Names of captions are those of ``CAPTION_NAMES``. Shares are ``None`` where the image
    shows no confident line of text.

    Args:
        ocr_lines: Confident lines of text.
        ocr_coverage: Share of them that both long captions quote, 0 to 1.
        en_ocr_coverage: Share that the English long caption quotes.
        zh_ocr_coverage: Share that the Chinese long caption quotes.
        medium_ocr_coverage: Share that both medium captions quote.
        ocr_edit_distance: Mean over the lines and both long captions: edits to the most
            similar passage over the length of the line, 0 (verbatim) to 1 (absent).
        en_purity: Least share of a caption's words in Latin script, quotations aside.
        zh_purity: Least share of a caption's words in Han script, quotations aside.
        invented_text: Quoted texts that nobody read in the image.
        unknown_names: Proper names neither in the image's text nor in what came with it.
        empty: Captions without a word.
        other_language: Captions in another language.
        too_short: Captions shorter than their level.
        too_long: Captions longer than their level, quotations aside.
        repeating: Captions that repeat themselves.
        refusing: Captions that read like a refusal.
        flags: All that failed, as ``check:caption``, in a fixed order.
    """

    ocr_lines: int
    ocr_coverage: float | None
    en_ocr_coverage: float | None
    zh_ocr_coverage: float | None
    medium_ocr_coverage: float | None
    ocr_edit_distance: float | None
    en_purity: float
    zh_purity: float
    invented_text: tuple[str, ...] = ()
    unknown_names: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    other_language: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()
    too_long: tuple[str, ...] = ()
    repeating: tuple[str, ...] = ()
    refusing: tuple[str, ...] = ()
    flags: tuple[str, ...] = field(default=())


def missing_lines(caption: str, texts: Sequence[str]) -> list[str]:
    """The texts that a caption does not quote word for word, in order.

    Compared after Unicode normalisation, without white space.
    """
    plain = normalise(caption)
    return [text for text in texts if text not in caption and normalise(text) not in plain]


def ocr_coverage(
    captions: Captions,
    request: CaptionRequest,
    level: Level = "long",
    languages: Sequence[CaptionLanguage] = LANGUAGES,
) -> float | None:
    """The share of confident lines that the captions of all given languages quote, 0 to 1.

    ``None`` where the image shows no confident line.
    """
    texts = request.confident_texts
    if not texts:
        return None
    missing = {
        text for lang in languages for text in missing_lines(captions.get(lang, level), texts)
    }
    return sum(text not in missing for text in texts) / len(texts)


def line_distance(line: str, caption: str) -> float:
    """Edits that turn a line into the most similar passage of a caption, over its length.

    Both are normalised; an edit is one character put in, left out or exchanged
    (Sellers 1980). 0 is verbatim, 1 is absent.
    """
    wanted, text = normalise(line), normalise(caption)
    if not wanted or wanted in text:
        return 0.0
    above = list(range(len(wanted) + 1))
    best = above[-1]
    for letter in text:
        row = [0]  # a passage may start anywhere
        for index, own in enumerate(wanted):
            swap = above[index] + (own != letter)
            row.append(min(swap, above[index + 1] + 1, row[index] + 1))
        above = row
        best = min(best, row[-1])
    return best / len(wanted)


def edit_distance(captions: Captions, request: CaptionRequest) -> float | None:
    """``Checks.ocr_edit_distance`` of captions."""
    texts = request.confident_texts
    if not texts:
        return None
    distances = [
        line_distance(text, captions.get(language, "long"))
        for language in LANGUAGES
        for text in texts
    ]
    return sum(distances) / len(distances)


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


def in_other_language(caption: str, language: CaptionLanguage, known: Sequence[str] = ()) -> bool:
    """Whether a caption is not in its language: by its script, and by its commonest words."""
    if language_purity(caption, language, known) < PURITY[language]:
        return True
    return language == "en" and looks_foreign(strip_quotations(caption, known))


def find_faults(captions: Captions, request: CaptionRequest) -> Faults:
    """What a captioner can be asked to mend: text left out, and wrong languages."""
    known = known_texts(request)
    left_out = {
        f"{language}_long": missing_lines(captions.get(language, "long"), request.confident_texts)
        for language in LANGUAGES
    }
    missing = {text for texts in left_out.values() for text in texts}
    return Faults(
        incomplete=tuple(name for name, texts in left_out.items() if texts),
        missing=tuple(text for text in request.confident_texts if text in missing),
        foreign=tuple(
            f"{language}_{level}"
            for language, level, caption in captions
            if in_other_language(caption, language, known)
        ),
    )


def check_all(captions: Captions, request: CaptionRequest) -> Checks:
    """Run every check on the captions of an image."""
    known = known_texts(request)
    purities = {
        language: [
            language_purity(c, language, known) for lang, _, c in captions if lang == language
        ]
        for language in LANGUAGES
    }
    failed = _failed(captions, known)
    invented = {f"{a}_{b}": invented_text(c, known) for a, b, c in captions}
    nameable = _names_of(request)
    names = {f"{a}_{b}": unknown_names(c, a, nameable) for a, b, c in captions}
    incomplete = find_faults(captions, request).incomplete
    flags = [f"missing_text:{name}" for name in incomplete]
    for kind, captions_failed in failed.items():
        flags += [
            f"{'language' if kind == 'other_language' else kind}:{n}" for n in captions_failed
        ]
    flags += [f"invented_text:{name}" for name, texts in invented.items() if texts]
    flags += [f"unknown_name:{name}" for name, found in names.items() if found]
    return Checks(
        ocr_lines=len(request.confident_texts),
        ocr_coverage=ocr_coverage(captions, request),
        en_ocr_coverage=ocr_coverage(captions, request, "long", ("en",)),
        zh_ocr_coverage=ocr_coverage(captions, request, "long", ("zh",)),
        medium_ocr_coverage=ocr_coverage(captions, request, "medium"),
        ocr_edit_distance=edit_distance(captions, request),
        en_purity=min(purities["en"]),
        zh_purity=min(purities["zh"]),
        invented_text=_unique(invented),
        unknown_names=_unique(names),
        flags=tuple(flags),
        **failed,
    )


def check(captions: Captions, request: CaptionRequest) -> list[str]:
    """What is wrong with the captions of an image, as ``Checks.flags`` says it."""
    return list(check_all(captions, request).flags)


def invented_text(caption: str, known: Sequence[str]) -> list[str]:
    """Quoted texts that are not among the known ones, in order.

    A quotation is known if it is a passage of the known texts, joined in order, but for one
    edit in five characters: reading errs, and captioners correct it.
    """
    everything = " ".join(known).casefold()
    return [
        text
        for text in quotations(caption)
        if not is_wordless(text) and line_distance(text.casefold(), everything) > _MISREAD
    ]


def known_texts(request: CaptionRequest) -> list[str]:
    """All that an image and what came with it say."""
    meta = request.metadata
    given = (meta.alt, meta.title, meta.place, *meta.keywords)
    return [line.text for line in request.lines] + [g.text for g in given if g is not None]


def _names_of(request: CaptionRequest) -> list[str]:
    """What names may be taken from; well-known places count in both languages."""
    known = known_texts(request)
    return [*known, *(tag.name for tag in request.tags), *place_names(" ".join(known))]


def _failed(captions: Captions, known: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names of the captions that fail each check of a single caption."""
    tests: dict[str, Callable[[CaptionLanguage, Level, str], bool]] = {
        "empty": lambda _, __, text: is_wordless(text),
        "other_language": lambda lang, _, text: in_other_language(text, lang, known),
        "too_short": lambda lang, level, text: size_of(text, lang, level) < LENGTHS[lang, level][0],
        "too_long": lambda lang, level, text: (
            size_of(strip_quotations(text, known), lang, level) > LENGTHS[lang, level][1]
        ),
        "repeating": lambda lang, _, text: (
            repetition(strip_quotations(text, known), lang) >= REPETITION
        ),
        "refusing": lambda _, __, text: refuses(strip_quotations(text, known)),
    }
    failed = {
        kind: tuple(f"{a}_{b}" for a, b, caption in captions if test(a, b, caption))
        for kind, test in tests.items()
    }
    # A caption without a word is empty, and not also too short.
    short = tuple(name for name in failed["too_short"] if name not in failed["empty"])
    return {**failed, "too_short": short}


def _unique(found: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for texts in found.values() for text in texts))
