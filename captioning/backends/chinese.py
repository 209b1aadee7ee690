"""The composer's Chinese (simplified).

Quotation marks hold text that the image shows, and nothing else: whoever learns to draw text
from captions takes them at their word.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from captioning.backends.chinese_look import (
    COLOURS,
    SHAPES,
    TONES,
    light_sentences,
    listed,
    look_sentence,
    named,
    sentence,
)
from captioning.backends.facts import Facts, holds_quotation, quoted_within
from captioning.composition import Look, TextGroup
from captioning.language import script_of
from captioning.quotes import quote

_PLACES = {
    "top": "上方",
    "middle": "中间",
    "bottom": "下方",
    "left": "左侧",
    "right": "右侧",
    "all": "画面中",
}
_SCRIPTS = {
    "latin": ("拉丁字母",),
    "han": ("汉字",),
    "mixed": ("汉字", "拉丁字母"),
    "other": ("文字",),
}
_DIGITS = "零一二三四五六七八九"
_SHORT_TEXT = 30
_MEDIUM_TEXT = 240
_MOST_TAGS = 5
_MOST_MENTIONS = 4
_FEWEST_CHARACTERS = 4
_END = re.compile(r"(?<=[。！？!?])")


def tags(facts: Facts) -> str:
    """Words, separated by commas."""
    look = facts.look
    words = [*facts.keywords("zh"), *facts.things("zh")]
    words += filter(None, (facts.place("zh"),))
    words += [tag.zh for tag in facts.tags if tag.zh]
    words += [quote(text, "zh") for text in facts.headlines if len(text) <= _SHORT_TEXT][:4]
    scripts = [name for text in facts.words for name in _SCRIPTS[script_of(text)]]
    words += [name for name in scripts if name != "文字"] or scripts
    words += ["黑白"] if look.monochrome else [COLOURS[c] for c in look.colours + look.accents]
    words += [SHAPES[look.shape]]
    words += [f"画面{TONES[look.tone]}"] if look.tone else []
    if look.background and not look.plain:
        words.append(f"{COLOURS[look.background]}背景")
    return "，".join(dict.fromkeys(words))


def short(facts: Facts) -> str:
    """One sentence on the whole image."""
    told = facts.told("zh")
    if told is not None:
        return sentence(_first_sentence(told, 80))
    parts = [named(facts.look), *_seen_clause(facts, 2)]
    shown = [quote(text, "zh") for text in facts.headlines[:2]]
    if len("".join(shown)) > _SHORT_TEXT:
        shown = shown[:1]
    if shown:
        more = len(facts.words) > len(shown)
        parts.append(f"上面写有{''.join(shown)}{'等文字' if more else ''}")
    elif facts.words:
        parts.append(f"上面有{_lines(facts.lines)}文字")
    keywords = facts.keywords("zh")[:2]
    if keywords:
        parts.append(f"关键词是{listed(keywords)}")
    elif mentions := _mentions(facts):
        parts.append(f"随图的英文说明提到{mentions}")
    return sentence("，".join(parts))


def medium(facts: Facts) -> str:
    """A few sentences, with as much of the text as fits."""
    sentences = [*_told(facts, 150), look_sentence(facts.look), *_seen_sentence(facts, 3)]
    sentences += [*_keyword_sentence(facts, 3), *_mention_sentence(facts)]
    quoted, left = quoted_within(facts.words, _MEDIUM_TEXT, "zh")
    if quoted:
        if left:
            sentences.append(f"图中写有{''.join(quoted)}等文字。")
        else:
            start = facts.choices("zh", "text").choice(("图中文字为", "图中写着", "图上的文字是"))
            sentences.append(sentence(f"{start}{listed(quoted)}"))
    return "".join(sentences)


def long(facts: Facts) -> str:
    """All that is known, with every confident line of text."""
    sentences = [*_told(facts), look_sentence(facts.look)]
    sentences += light_sentences(facts.look, shares=not facts.words)
    sentences += [*_seen_sentence(facts, _MOST_TAGS), *_keyword_sentence(facts)]
    sentences += _mention_sentence(facts)
    title = facts.title("zh")
    if title is not None:
        sentences.append(f"图片标题是《{_cut(title, 60)}》。")
    place = facts.place("zh")
    if place is not None:
        sentences.append(sentence(f"图片的地点标注为{place}"))
    return "".join([*sentences, *_text_sentences(facts)])


def prompt(facts: Facts) -> str:
    """What someone might type who wants such an image; leaves most of it out."""
    lots = facts.choices("zh")
    subject = _wish(facts, lots)
    # The first texts are the largest: nobody asks for the small print.
    text = quote(lots.choice(facts.headlines[:3]), "zh") if facts.headlines else None
    tones = _wished_colours(facts.look)
    if subject is None:
        return lots.choice(_without_subject(facts, text, tones))
    if lots.random() < 0.4 and len(subject) > 1:
        return subject
    extras = [tones]
    if text is not None and not holds_quotation(subject):
        extras += [f"上面写着{text}"] * 2
    return f"{subject}，{lots.choice(extras)}"


def _without_subject(facts: Facts, text: str | None, tones: str) -> tuple[str, ...]:
    """Wishes of someone who says nothing of what is to be seen."""
    shape = SHAPES[facts.look.shape]
    if text is not None:
        wishes = (f"一张写着{text}的图片", f"图片上写{text}，{tones}", f"{shape}图，写着{text}")
        return (*wishes, f"帮我做一张写着{text}的图")
    if facts.words:
        return (f"带文字的图片，{tones}", f"一张有几行字的{shape}图")
    return (f"{tones}的图片", f"一张{tones}的{shape}图", f"{shape}图，{tones}")


def missing_text(texts: Sequence[str]) -> str:
    """A sentence that adds lines of text a caption left out."""
    return sentence(f"图中还写有{listed([quote(text, 'zh') for text in texts])}")


def _wish(facts: Facts, lots: random.Random) -> str | None:
    told = facts.told("zh")
    if told is not None:
        first = _first_sentence(told, 60).rstrip("。！!.…")
        head = re.split("[，；,;]", first)[0]
        shortens = not holds_quotation(first) and len(head) >= _FEWEST_CHARACTERS
        return lots.choice((head, first)) if shortens else first
    things = facts.keywords("zh") or [each.zh for each in facts.mentions("zh")]
    seen = [tag.zh for tag in facts.tags if tag.zh]
    return "，".join(things[:2]) or "，".join(seen[: lots.choice((1, 2))]) or None


def _wished_colours(look: Look) -> str:
    if look.monochrome:
        return "黑白"
    return f"{'和'.join(COLOURS[colour] for colour in look.colours[:2])}调"


def _told(facts: Facts, most: int = 1000) -> list[str]:
    """What came with the image, as a sentence."""
    told = facts.told("zh")
    return [] if told is None else [sentence(_cut(told, most))]


def _keyword_sentence(facts: Facts, most: int | None = None) -> list[str]:
    words = facts.keywords("zh")[:most]
    return [f"图片的关键词是{listed(words)}。"] if words else []


def _mentions(facts: Facts) -> str | None:
    names = [each.zh for each in facts.mentions("zh")][:_MOST_MENTIONS]
    return listed(names) if names else None


def _mention_sentence(facts: Facts) -> list[str]:
    mentions = _mentions(facts)
    return [f"随图的英文说明提到{mentions}。"] if mentions else []


def _seen_clause(facts: Facts, most: int) -> list[str]:
    known = set(facts.keywords("zh"))
    names = [tag.zh for tag in facts.tags if tag.zh and tag.zh not in known][:most]
    return [f"画面中似乎有{listed(names)}"] if names else []


def _seen_sentence(facts: Facts, most: int) -> list[str]:
    return [f"{clause}。" for clause in _seen_clause(facts, most)]


def _text_sentences(facts: Facts) -> list[str]:
    sentences = []
    if len(facts.groups) > 5:
        every = listed([quote(text, "zh") for text in facts.texts])
        sentences.append(sentence(f"图中文字依次为：{every}"))
    elif facts.groups:
        pairs = zip(facts.groups, (None, *facts.groups), strict=False)
        clauses = [_group_clause(group, previous) for group, previous in pairs]
        sentences.append(sentence("；".join(clauses)))
    if facts.repeated:
        sentences.append("部分文字在画面中重复出现。")
    if facts.unsure and facts.texts:
        sentences.append(f"另有{_lines(facts.unsure)}文字难以辨认。")
    return sentences


def _group_clause(group: TextGroup, previous: TextGroup | None) -> str:
    start = "图片" if previous is None and group.place != "all" else ""
    place = _PLACES[group.place]
    again = "还" if previous and previous.place == group.place else ""
    manner = "用大字" if group.large else ""
    manner += "竖排" if group.vertical else ""
    partly = "，其中部分字号较大" if group.mixed else ""
    quoted = listed([quote(text, "zh") for text in group.texts])
    return f"{start}{place}{again}{manner}写着{quoted}{partly}"


def _lines(count: int) -> str:
    """A number of lines in words: 两行, 十四行; from a hundred on in digits."""
    if count == 2:
        return "两行"
    tens, ones = divmod(count, 10)
    if count < 10:
        number = _DIGITS[count]
    elif count < 100:
        number = f"{_DIGITS[tens] if tens > 1 else ''}十{_DIGITS[ones] if ones else ''}"
    else:
        number = str(count)
    return f"{number}行"


def _first_sentence(text: str, most: int) -> str:
    return _cut(_END.split(text)[0], most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rstrip("，、；：, ") + "…"
