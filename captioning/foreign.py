"""Telling English from other languages in Latin letters, by the commonest words."""

from __future__ import annotations

import re

_ENGLISH_WORDS = "the a an of and in on with is are was to at by from that it its as for this there"
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
#: French, German, Spanish, Italian, Portuguese and Dutch.
_OTHERS = (
    "le la les un une des du de et est dans sur avec qui pour par au aux ce cette son sa",
    "der die das ein eine einer und ist im auf mit von zu den dem des aus vor neben",
    "el la los las un una y es en con de del por para que se su al sobre",
    "il lo la gli le un una e è di del della nel nella con su per che da al",
    "o os as um uma e é de do da dos das em no na com para que por ao",
    "de het een en op met van is naar voor aan uit bij zijn door ligt staat",
)
_FOREIGN = tuple(frozenset(words.split()) - _ENGLISH for words in _OTHERS)
#: From so many of them, and this share of all words, a text counts as not English.
_FEWEST, _SHARE = 3, 0.15
_WORD = re.compile(r"[^\W\d_]+")


def looks_foreign(text: str) -> bool:
    """Whether a text in Latin letters reads like another language than English.

    The commonest words of one of six other European languages stand in it three times or
    more, and more often than English ones. Lists of words have none and pass.
    """
    words = _WORD.findall(text.casefold())
    english = sum(word in _ENGLISH for word in words)
    foreign = max(sum(word in known for word in words) for known in _FOREIGN)
    return foreign >= max(_FEWEST, _SHARE * len(words)) and foreign > english
