"""The composer's Chinese (simplified)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioning.backends.facts import Facts, quoted_within, spoken_in, word_or_quote
from captioning.composition import Look, TextGroup
from captioning.language import language_of
from captioning.quotes import quote

_COLOURS = {
    "black": "黑色",
    "grey": "灰色",
    "white": "白色",
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "turquoise": "青色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "brown": "棕色",
    "beige": "米色",
}
_SHAPES = {
    "square": "方形",
    "landscape": "横版",
    "portrait": "竖版",
    "wide": "宽幅",
    "tall": "狭长竖版",
}
_PLACES = {
    "top": "上方",
    "middle": "中间",
    "bottom": "下方",
    "left": "左侧",
    "right": "右侧",
    "all": "画面中",
}
_SIDES = {"top": "上部", "bottom": "下部", "left": "左侧", "right": "右侧", "middle": "中间"}
_TONES = {"dark": "偏暗", "bright": "明亮"}
_NUMBERS = "零一两三四五六七八九十"
_SHORT_TEXT = 24
_MEDIUM_TEXT = 120
_MOST_TAGS = 5
_END = re.compile(r"(?<=[。！？!?])")


def tags(facts: Facts) -> str:
    """Words, separated by commas."""
    look = facts.look
    words = [word_or_quote(word, "zh") for word in facts.metadata.keywords]
    words += _alt_as_list(facts)
    words += [tag.zh for tag in facts.tags if tag.zh]
    words += [quote(text, "zh") for text in facts.words if len(text) <= _SHORT_TEXT][:4]
    if facts.words:
        names = {"en": "英文", "zh": "中文", "other": "文字"}
        languages = {language_of(text) for text in facts.words}
        words += [names[language] for language in sorted(languages - {"other"} or languages)]
    words += ["黑白"] if look.monochrome else [_COLOURS[c] for c in look.colours + look.accents]
    words += [_SHAPES[look.shape]]
    words += [f"画面{_TONES[look.tone]}"] if look.tone else []
    if look.background and not look.plain:
        words.append(f"{_COLOURS[look.background]}背景")
    return "，".join(dict.fromkeys(words))


def _alt_as_list(facts: Facts) -> list[str]:
    alt = facts.metadata.alt
    if alt is None or not spoken_in(alt, "zh"):
        return []
    parts = [part.strip(" 。") for part in re.split("[，,、]", alt.text)]
    return parts if len(parts) > 2 and all(0 < len(part) < 7 for part in parts) else []


def short(facts: Facts) -> str:
    """One sentence on the whole image."""
    alt = facts.metadata.alt
    if alt is not None and spoken_in(alt, "zh"):
        return _sentence(_first_sentence(alt.text, 80))
    parts = [_named(facts.look), *_seen_clause(facts, 2)]
    quoted, left = quoted_within(facts.words, _SHORT_TEXT, "zh")
    if quoted and len(facts.words[0]) <= _SHORT_TEXT:
        parts.append(f"上面写有{''.join(quoted[:2])}" + ("等文字" if left or quoted[2:] else ""))
    elif quoted:
        parts.append(f"上面有{_lines(len(facts.words))}文字")
    if alt is not None:
        parts.append(f"原图说明为{_foreign(_cut(alt.text, 160))}")
    elif facts.metadata.keywords:
        words = [quote(word.text, "zh") for word in facts.metadata.keywords[:2]]
        parts.append(f"标签为{_listed(words)}")
    return _sentence("，".join(parts))


def medium(facts: Facts) -> str:
    """A few sentences, with as much of the text as fits."""
    sentences = [*_told(facts, 150), _look_sentence(facts), *_seen_sentence(facts, 3)]
    sentences += _keyword_sentence(facts, 3)
    quoted, left = quoted_within(facts.words, _MEDIUM_TEXT, "zh")
    if quoted:
        more = f"，此外还有{_lines(left)}文字" if left else ""
        sentences.append(f"图中文字为{_listed(quoted)}{more}。")
    return "".join(sentences)


def long(facts: Facts) -> str:
    """All that is known, with every confident line of text."""
    sentences = [*_told(facts), _look_sentence(facts), *_light_sentences(facts.look)]
    sentences += [*_seen_sentence(facts, _MOST_TAGS), *_keyword_sentence(facts)]
    if facts.metadata.place is not None:
        sentences.append(f"标注的地点为{word_or_quote(facts.metadata.place, 'zh')}。")
    return "".join([*sentences, *_text_sentences(facts)])


def prompt(facts: Facts) -> str:
    """What someone might type who wants such an image; leaves most of it out."""
    choices = facts.choices("zh")
    subject = _wish(facts)
    text = f"带有{quote(choices.choice(facts.words), 'zh')}字样" if facts.words else ""
    colours = "黑白" if facts.look.monochrome else _main(facts.look)
    if subject is None:
        if text:
            return f"一张{text}的图片"
        return f"{colours}图片" if facts.look.monochrome else f"一张以{colours}为主的图片"
    tone = f"{colours}色调" if facts.look.monochrome else f"以{colours}为主"
    if choices.random() < 0.5:
        return subject
    return f"{subject}，{choices.choice([text, tone] if text else [tone])}"


def missing_text(texts: Sequence[str]) -> str:
    """A sentence that adds lines of text a caption left out."""
    return f"图中还写有{_listed([quote(text, 'zh') for text in texts])}。"


def _wish(facts: Facts) -> str | None:
    given = [facts.metadata.alt, facts.metadata.title]
    for text in (g.text for g in given if g is not None and spoken_in(g, "zh")):
        return _first_sentence(text, 60).rstrip("。！!.")
    words = [word.text for word in facts.metadata.keywords if word.language == "zh"]
    seen = [tag.zh for tag in facts.tags if tag.zh]
    return "，".join(words[:2]) or next(iter(seen), None)


def _told(facts: Facts, most: int = 1000) -> list[str]:
    """The alt text and the title, as sentences."""
    meta = facts.metadata
    sentences = []
    if meta.alt is not None and spoken_in(meta.alt, "zh"):
        sentences.append(_sentence(_cut(meta.alt.text, most)))
    elif meta.alt is not None:
        sentences.append(f"原图说明为{_foreign(meta.alt.text)}。")
    if meta.title is not None:
        sentences.append(f"标题为{_foreign(meta.title.text)}。")
    return sentences


def _foreign(text: str) -> str:
    """Quoted, without the full stop, which the Chinese sentence sets itself."""
    bare = text[:-1] if text.endswith((".", "。")) and not text.endswith("..") else text
    return quote(bare, "zh")


def _keyword_sentence(facts: Facts, most: int | None = None) -> list[str]:
    words = [quote(word.text, "zh") for word in facts.metadata.keywords[:most]]
    return [f"图片标签为{_listed(words)}。"] if words else []


def _seen_clause(facts: Facts, most: int) -> list[str]:
    names = [tag.zh for tag in facts.tags if tag.zh][:most]
    return [f"画面中似乎有{_listed(names)}"] if names else []


def _seen_sentence(facts: Facts, most: int) -> list[str]:
    return [f"{clause}。" for clause in _seen_clause(facts, most)]


def _look_sentence(facts: Facts) -> str:
    look = facts.look
    told = bool(facts.metadata.alt or facts.metadata.title)
    clauses = [f"{'这是' if told else ''}{_named(look)}"]
    if look.background and not look.plain:
        clauses.append(f"背景为均匀的{_COLOURS[look.background]}")
    return _sentence("，".join(clauses))


def _light_sentences(look: Look) -> list[str]:
    clauses = []
    if look.halves and not look.monochrome and not look.plain:
        one, first, other, second = look.halves
        clauses.append(f"{_SIDES[one]}以{_COLOURS[first]}为主")
        clauses.append(f"{_SIDES[other]}以{_COLOURS[second]}为主")
    if look.lightest and not look.background and not look.plain:
        clauses.append(f"{_SIDES[look.lightest]}最亮")
    return [f"画面{'，'.join(clauses)}。"] if clauses else []


def _named(look: Look) -> str:
    """Such as: 一张横版图片，以棕色和灰色为主，带有少量红色，画面偏暗."""
    shape = _SHAPES[look.shape]
    if look.plain:
        return f"一张纯{_COLOURS[look.colours[0]]}的{shape}图片"
    if look.monochrome:
        clauses = [f"一张{shape}黑白图片"]
    else:
        clauses = [f"一张{shape}图片", f"以{_main(look)}为主"]
        if look.accents:
            clauses.append(f"带有少量{_listed([_COLOURS[c] for c in look.accents])}")
    if look.tone:
        clauses.append(f"画面{_TONES[look.tone]}")
    return "，".join(clauses)


def _main(look: Look) -> str:
    return _listed([_COLOURS[colour] for colour in look.colours])


def _text_sentences(facts: Facts) -> list[str]:
    sentences = []
    if len(facts.groups) > 5:
        every = _listed([quote(text, "zh") for text in facts.texts])
        sentences.append(f"图中文字依次为：{every}。")
    elif facts.groups:
        pairs = zip(facts.groups, (None, *facts.groups), strict=False)
        clauses = [_group_clause(group, previous) for group, previous in pairs]
        sentences.append(f"{'；'.join(clauses)}。")
    if facts.unsure and facts.texts:
        sentences.append(f"另有{_lines(facts.unsure)}文字难以辨认。")
    elif facts.unsure:
        sentences.append("图中还有难以辨认的文字。")
    return sentences


def _group_clause(group: TextGroup, previous: TextGroup | None) -> str:
    start = "图片" if previous is None and group.place != "all" else ""
    place = _PLACES[group.place]
    again = "还" if previous and previous.place == group.place else ""
    manner = "用大字" if group.large else ""
    manner += "竖排" if group.vertical else ""
    partly = "，部分为大字" if group.mixed else ""
    quoted = _listed([quote(text, "zh") for text in group.texts])
    return f"{start}{place}{again}{manner}写着{quoted}{partly}"


def _lines(count: int) -> str:
    return f"{_NUMBERS[count] if count < len(_NUMBERS) else count}行"


def _listed(words: Sequence[str]) -> str:
    """Words parted by 、 but not between closing and opening quotation marks (GB/T 15834)."""
    if len(words) == 1:
        return words[0]
    joined = "、".join(words[:-1]).replace("”、“", "”“")
    return f"{joined}和{words[-1]}"


def _sentence(text: str) -> str:
    return text if text.endswith(("。", "！", "？", "!", "?", "…")) else f"{text.rstrip('.')}。"


def _first_sentence(text: str, most: int) -> str:
    return _cut(_END.split(text)[0], most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rstrip("，、；：, ") + "…"
