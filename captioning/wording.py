"""What can be wrong with the wording of a caption, whatever the image shows."""

from __future__ import annotations

import re
from collections import Counter

from captioning.caption import CaptionLanguage, Level
from captioning.language import count_letters, is_han

#: Fewest and most words (English), characters (Chinese) or entries (tags) of a caption.
LENGTHS: dict[tuple[CaptionLanguage, Level], tuple[int, int]] = {
    ("en", "tags"): (2, 40),
    ("en", "short"): (2, 50),
    ("en", "medium"): (5, 160),
    ("en", "long"): (5, 600),
    ("en", "prompt"): (1, 60),
    ("zh", "tags"): (2, 40),
    ("zh", "short"): (3, 100),
    ("zh", "medium"): (8, 320),
    ("zh", "long"): (8, 1200),
    ("zh", "prompt"): (2, 120),
}

#: From this share of repeated word groups on a caption counts as repeating itself.
REPETITION = 0.3

_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+")
_GROUP: dict[CaptionLanguage, int] = {"en": 4, "zh": 6}
_FEWEST_GROUPS = 8
_SEPARATORS = re.compile("[,，、;；]")
_REFUSALS = re.compile(
    r"^\W*(?:i(?:'|’)?m sorry|i am sorry|sorry,|i apologi[sz]e)"
    r"|\bas an? (?:ai|language model|artificial intelligence)\b"
    r"|^\W*(?:unfortunately, )?i(?:'m| am|’m)? "
    r"(?:cannot|can't|can’t|can not|unable to|not able to|won't|won’t|will not)\b"
    r"|\b(?:cannot|can't|can’t|unable to|not able to) (?:assist|help with|comply|fulfil)"
    r"|^\W*(?:很)?(?:抱歉|对不起)|作为(?:一个|一名)?(?:AI|人工智能|语言模型)"
    r"|^\W*我(?:无法|不能|不可以)(?:为您|帮|协助|描述|提供|满足|识别|处理|查看)",
    re.IGNORECASE,
)


def tokens(text: str, language: CaptionLanguage) -> list[str]:
    """The words of a text, folded to lower case; in Chinese each Han character is one."""
    words = _TOKEN.findall(text.casefold())
    if language == "en":
        return words
    parts = (list(word) if any(map(is_han, word)) else [word] for word in words)
    return [part for each in parts for part in each]


def size_of(text: str, language: CaptionLanguage, level: Level) -> int:
    """How long a caption is, in the unit of ``LENGTHS``."""
    if level == "tags":
        return sum(bool(part.strip()) for part in _SEPARATORS.split(text))
    return len(tokens(text, language))


def repetition(text: str, language: CaptionLanguage) -> float:
    """The share of word groups that stood in the text before, 0 to 1.

    Groups are of four words in English and of six characters in Chinese; a text with fewer
    than eight groups counts as 0.
    """
    words = tokens(text, language)
    size = _GROUP[language]
    groups = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    if len(groups) < _FEWEST_GROUPS:
        return 0.0
    return 1.0 - len(Counter(groups)) / len(groups)


def refuses(text: str) -> bool:
    """Whether a text reads like a model that declines to answer, in either language."""
    return _REFUSALS.search(text) is not None


def is_wordless(text: str) -> bool:
    """Whether a text holds no letter of any script."""
    letters = count_letters(text)
    return not (letters.latin or letters.han or letters.other)
