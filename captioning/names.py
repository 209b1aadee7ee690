"""Finding proper names in captions, without a model.

English: words with a capital inside a sentence. Chinese has no capitals: titles in 《》,
names of foreigners with a dot (约翰·史密斯), a family name before a form of address (王先生),
and Latin words with a capital. Chinese names that stand alone are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioning.caption import CaptionLanguage
from captioning.language import normalise
from captioning.quotes import strip_quotations

_WORD = r"[^\W\d_]+(?:['’.-][^\W\d_]+)*"
_RUN = re.compile(rf"{_WORD}(?:[ ](?:(?:of|the|de|la|van|von|and)[ ])*{_WORD})*")
_SINGLE = re.compile(_WORD)
_SENTENCE = re.compile(r"[.!?:;。！？：；,，、()（）\n“”\"]+\s*")
# A stop inside a quotation ends the sentence outside of it, too.
_CLOSED = re.compile(r"([.!?。！？…])([”\"’」』»]+)(?=\s|$)")
_LINKS = frozenset({"of", "the", "de", "la", "van", "von", "and"})
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
    "余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
# The characters that foreign names are spelled with.
_SPELLED = (
    "阿埃艾安昂奥巴贝本比彼波伯布查达戴丹德迪蒂多杜恩尔法菲费弗福盖戈格古哈海汉翰赫亨霍基吉加杰金卡凯康科克肯库拉莱兰朗劳勒雷里丽利莲林琳隆卢鲁伦罗洛"
    "马玛迈曼梅门蒙米密莫姆穆纳娜内尼妮诺帕佩皮珀普奇乔琼瑞若萨塞桑森莎沙山施史斯索塔泰坦汤特提托瓦威维温沃乌西希夏谢辛雅亚扬叶伊尤英约泽扎詹珍茨朱兹"
)
_ADDRESS = "先生|女士|小姐|总统|主席|总理|教授|博士|导演|医生|老师|将军|队长"
_CHINESE = re.compile(
    rf"《([^》]+)》|([{_SPELLED}]+(?:·[{_SPELLED}]+)+)"
    rf"|([{_SURNAMES}][\u4e00-\u9fff]{{0,2}}(?:{_ADDRESS}))"
)
# Words with a capital that name nobody and no place: calendar, peoples, languages, styles.
_WORDS = (
    "i january february march april may june july august september october november "
    "december monday tuesday wednesday thursday friday saturday sunday christmas "
    "easter halloween english chinese japanese korean french german italian spanish "
    "portuguese russian arabic latin greek roman american british european asian "
    "african indian dutch turkish thai vietnamese mexican western eastern northern "
    "southern mediterranean scandinavian nordic gothic victorian baroque renaissance "
    "art deco cyrillic hebrew kanji hanzi pinyin braille polaroid led lcd tv usa uk "
    "eu dna qr cgi 3d 2d suv atm dj dvd cd pc "
)
_COMMON = frozenset(_WORDS.split())
_OPENING = frozenset(
    {"a", "an", "the", "this", "these", "its", "their", "in", "on", "at", "near", "some", "two"}
)


def unknown_names(caption: str, language: CaptionLanguage, known: Sequence[str]) -> list[str]:
    """Proper names of a caption that are in none of the known texts.

    Args:
        caption: The caption; what it quotes is left out.
        language: Its language.
        known: Texts of the image and of what came with it.

    Returns:
        The names, as written, in order and without repeats.
    """
    text = strip_quotations(_CLOSED.sub(r"\1\2\1", caption), known)
    found = list(_capitalised(text, starts_count=language == "zh"))
    if language == "zh":
        found += [next(filter(None, match)) for match in _CHINESE.findall(text)]
    words = {word.casefold() for each in known for word in _SINGLE.findall(each)}
    everything = normalise(" ".join(known)).casefold()
    return list(dict.fromkeys(n for n in found if not _is_known(n, words, everything)))


def _is_known(name: str, words: set[str], everything: str) -> bool:
    if normalise(name).casefold() in everything:
        return True
    parts = [part.casefold().removesuffix("'s").removesuffix("’s") for part in name.split()]
    return all(part in words or part in _COMMON or part in _LINKS for part in parts)


def _capitalised(text: str, *, starts_count: bool) -> Iterable[str]:
    """Runs of words with a capital; a lone one at the start of a sentence is no name."""
    for sentence in _SENTENCE.split(text):
        for match in _RUN.finditer(sentence):
            run: list[str] = []
            for word in [*match[0].split(" "), ""]:
                if word and (word[0].isupper() or (run and word in _LINKS)):
                    run.append(word)
                    continue
                first = not sentence[: match.start()].strip() and match[0].startswith(" ".join(run))
                yield from _as_name(run, lone=first and not starts_count)
                run = []


def _as_name(run: list[str], *, lone: bool) -> Iterable[str]:
    while run and run[-1] in _LINKS:
        run.pop()
    # An article, or the like, that starts the sentence belongs to no name.
    if len(run) > 1 and run[0].casefold() in _OPENING:
        run = run[1:]
        lone = False
    if run and not (lone and len(run) == 1) and not all(len(w) < 2 for w in run):
        yield " ".join(run)
