"""Rendered posters, signs, menus, book covers, notices and vertical verse, with known text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.demo.canvas import Canvas, Colour, Picture, blend, luminance, noise_line, texts
from pipeline.demo.motifs import MOTIFS, Palette, arcs, bands, dots, leaves, suns

_WHITE: Colour = (255, 255, 255)
_INK: Colour = (28, 28, 32)


_PALETTES = (
    Palette((247, 240, 224), (40, 44, 60), (214, 74, 54), (238, 178, 66)),
    Palette((24, 42, 74), (250, 238, 214), (236, 112, 82), (96, 176, 190)),
    Palette((224, 238, 230), (24, 74, 66), (64, 150, 120), (240, 160, 110)),
    Palette((250, 214, 90), (40, 36, 40), (220, 70, 60), (60, 110, 160)),
    Palette((70, 30, 62), (252, 226, 214), (226, 96, 120), (250, 184, 110)),
    Palette((236, 240, 246), (30, 50, 90), (90, 130, 200), (230, 120, 130)),
    Palette((18, 70, 62), (248, 240, 206), (222, 172, 70), (120, 190, 150)),
    Palette((210, 74, 52), (255, 246, 224), (250, 196, 90), (110, 28, 34)),
)


def posters(rng: np.random.Generator) -> Iterator[Picture]:
    """The rendered texts, one picture per entry of ``texts.json``.

    Args:
        rng: Source of chance; each picture draws its own seed from it, in order.
    """
    for layout, entries in texts().items():
        for number, entry in enumerate(entries):
            own = np.random.default_rng(int(rng.integers(2**63)))
            words = _Words(str(entry["title"]), str(entry["second"]), tuple(entry["lines"]))
            canvas = _LAYOUTS[layout].draw(words, number, own)
            lines = tuple(canvas.lines)
            captions = _captions(_LAYOUTS[layout], lines)
            yield Picture(
                f"poster-{layout}-{number:02d}", "poster", canvas.finish(), captions, lines
            )


@dataclass(frozen=True)
class _Words:
    title: str
    second: str
    lines: tuple[str, ...]

    @property
    def chinese(self) -> bool:
        return any(ord(letter) > 0x2E80 for letter in self.title)


@dataclass(frozen=True)
class _Layout:
    draw: Callable[[_Words, int, np.random.Generator], Canvas]
    english: str
    chinese: str


def _captions(layout: _Layout, lines: tuple[str, ...]) -> dict[str, str]:
    quoted_en = ", ".join(f'"{line}"' for line in lines[:2])
    quoted_zh = "、".join(f"“{line}”" for line in lines[:2])
    return {
        "en": f"{layout.english} that reads {quoted_en}",
        "zh": f"{layout.chinese}，写着{quoted_zh}",
    }


def _poster(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    colours = _PALETTES[number % len(_PALETTES)]
    width, height = ((400, 560), (420, 600), (560, 400))[number % 3]
    canvas = Canvas(width, height, colours.ground)
    wide = width > height
    art = (width * 0.5, 0.0, float(width), float(height)) if wide else (
        0.0, height * 0.42, float(width), float(height) * 0.8
    )  # fmt: skip
    MOTIFS[number % len(MOTIFS)](canvas, rng, art, colours)
    x, room = (width * 0.26, width * 0.42) if wide else (width / 2, width * 0.86)
    top = height * (0.26 if wide else 0.17)
    size = canvas.text((x, top), words.title, 64, colours.ink, room=room, bold=True)
    top += size * 0.62 + 26
    if words.second:
        canvas.text((x, top), words.second, 28, colours.first, room=room)
    low = height * (0.72 if wide else 0.865)
    for place, line in enumerate(words.lines):
        canvas.text((x, low + place * 34), line, 22, colours.ink, room=room)
    return canvas


def _street(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    signs: tuple[tuple[Colour, Colour], ...] = (
        ((20, 84, 160), _WHITE),
        ((0, 110, 70), _WHITE),
        ((250, 250, 246), (30, 30, 34)),
        ((110, 66, 34), (255, 246, 226)),
    )
    skies: tuple[tuple[Colour, Colour], ...] = (
        ((110, 170, 220), (226, 238, 244)),
        ((240, 196, 150), (250, 232, 206)),
        ((150, 160, 170), (214, 216, 214)),
    )
    plate, ink = signs[number % 4]
    width, height = (480, 360)
    canvas = Canvas(width, height, *skies[number % 3])
    _town(canvas, rng, blend(skies[number % 3][1], (70, 90, 90), 0.5))
    middle, half = width * rng.uniform(0.46, 0.54), rng.uniform(165, 205)
    top, tall = rng.uniform(50, 95), 132 + 26 * (len(words.lines) if words.second else 0)
    canvas.rectangle((middle - 7, top, middle + 7, height), (96, 100, 104))
    box = (middle - half, top, middle + half, top + tall)
    canvas.rectangle(box, plate, radius=12)
    inner = (box[0] + 6, box[1] + 6, box[2] - 6, box[3] - 6)
    canvas.rectangle(inner, None, radius=8, outline=ink, width=3)
    room = 2 * half - 56
    rows = [words.title, *([words.second] if words.second else []), *words.lines]
    heights = [50.0, *[25.0] * (len(rows) - 1)]
    y = top + (tall - sum(heights) - 14 * (len(rows) - 1)) / 2 - 4
    for row, size in zip(rows, heights, strict=True):
        canvas.text((middle, y + size / 2), row, size, ink, room=room, bold=size > 30)
        y += size + 14
    return canvas


def _town(canvas: Canvas, rng: np.random.Generator, shade: Colour) -> None:
    x = 0.0
    while x < canvas.width:
        wide = rng.uniform(30, 80)
        top = canvas.height * rng.uniform(0.7, 0.92)
        canvas.rectangle(
            (x, top, x + wide, canvas.height), blend(shade, _WHITE, rng.random() * 0.3)
        )
        x += wide


def _shop(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    colours = _PALETTES[(number + 3) % len(_PALETTES)]
    wall = blend(colours.ground, (180, 150, 130), 0.55)
    width, height = ((520, 400), (400, 440), (560, 420), (440, 400))[number % 4]
    sky = (blend(colours.second, _WHITE, 0.7), _WHITE)
    canvas = Canvas(width, height, *sky)
    top = (0, 90, 30, 120)[(number + number // 4) % 4]
    (_bricks, _planks)[number % 3 % 2](canvas, rng, top, wall)
    if top > 60:
        roof = [(0.0, float(top)), (width / 2, 12.0), (float(width), float(top))]
        canvas.polygon(roof, blend(colours.first, _INK, 0.35))
    board = colours.ink if luminance(colours.ink) < 120 else blend(colours.ground, _INK, 0.5)
    letters = (255, 236, 190)
    sign = top + 20.0
    canvas.rectangle((30, sign, width - 30, sign + 104), board, radius=6)
    high = sign + (40 if words.second else 52)
    canvas.text((width / 2, high), words.title, 52, letters, room=width - 110, bold=True)
    canvas.text((width / 2, sign + 82), words.second, 24, letters, room=width - 140)
    _front(canvas, (number * 5 + 2) % 3, sign + 104, colours)
    for line in words.lines:
        middle = (0.36, 0.5, 0.62)[(number * 5 + 2) % 3] * width
        canvas.text((middle, (sign + 160 + height) / 2), line, 28, _INK, room=200)
    return canvas


def _bricks(canvas: Canvas, rng: np.random.Generator, top: float, wall: Colour) -> None:
    canvas.rectangle((0, top, canvas.width, canvas.height), wall)
    for row in range(round((canvas.height - top) / 22) + 1):
        for brick in range(-1, canvas.width // 64 + 1):
            x, y = brick * 64 + 32 * (row % 2), top + row * 22
            tone = blend(wall, (120, 80, 66), rng.uniform(0.0, 0.35))
            canvas.rectangle((x + 1, y + 1, x + 62, y + 20), tone)


def _planks(canvas: Canvas, rng: np.random.Generator, top: float, wall: Colour) -> None:
    x = 0.0
    while x < canvas.width:
        wide = rng.uniform(22, 48)
        tone = blend(wall, (92, 62, 44), rng.uniform(0.25, 0.6))
        canvas.rectangle((x, top, x + wide - 2, canvas.height), tone)
        x += wide


def _front(canvas: Canvas, style: int, top: float, colours: Palette) -> None:
    """Awning, windows and door below a sign that ends at ``top``."""
    width, height = canvas.width, canvas.height
    stripes = 8 + 2 * style
    step = (width - 60) / stripes
    for stripe in range(stripes):
        left, fill = 30 + stripe * step, colours.first if stripe % 2 else _WHITE
        canvas.rectangle((left, top + 8, left + step, top + 38), fill)
        canvas.circle((left + step / 2, top + 38), step / 2, fill)
    glass, sill = blend(colours.second, _WHITE, 0.6), top + 72
    windows = (((0.08, 0.64),), ((0.28, 0.72),), ((0.36, 0.88),))[style]
    doors = (((0.72, 0.92),), ((0.06, 0.22), (0.78, 0.94)), ((0.08, 0.28),))[style]
    for left, right in windows:
        box = (left * width, sill, right * width, height - 24.0)
        canvas.rectangle(box, glass, outline=_INK, width=4)
    for left, right in doors:
        box = (left * width, sill - 8, right * width, height + 4.0)
        canvas.rectangle(box, colours.second, outline=_INK, width=4)
        canvas.circle((right * width - 12, (sill + height) / 2), 4, _INK)


def _menu(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    board = number % 2 == 1
    ground = (38, 50, 46) if board else _PALETTES[number % 8].ground
    colours = _PALETTES[number % 8]
    ink = (244, 240, 226) if board or luminance(ground) < 110 else _INK
    accent = (246, 202, 100) if luminance(ground) < 110 else (176, 50, 44)
    step = (62, 54, 70)[number % 3]
    width, height = (400, 440, 360)[number % 3], 200 + step * len(words.lines)
    canvas = Canvas(width, height, ground)
    frame = (150, 104, 60) if board else colours.first
    canvas.rectangle((0, 0, width, height), None, outline=frame, width=12)
    canvas.text((width / 2, 66), words.title, 50, accent, room=width - 90, bold=True)
    canvas.text((width / 2, 112), words.second, 24, ink, room=300)
    canvas.stroke([(60, 140), (width - 60, 140)], accent, width=2)
    canvas.circle((width / 2, 140), 5 + 3 * rng.random(), accent)
    for place, line in enumerate(words.lines):
        y = 180 + step * place
        canvas.text((width / 2, y), line, 27, ink, room=width - 90)
        if place + 1 < len(words.lines):
            canvas.stroke(
                [(120, y + step / 2), (width - 120, y + step / 2)], blend(ground, ink, 0.3)
            )
    return canvas


def _book(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    colours = _PALETTES[(5 * number + 1) % len(_PALETTES)]
    width, height = 360, 512
    canvas = Canvas(width, height, colours.ground, blend(colours.ground, colours.first, 0.18))
    art = (0.0, height * 0.46, float(width), float(height) * 0.84)
    motifs = (suns, bands, leaves, arcs, dots)
    motifs[number % len(motifs)](canvas, rng, art, colours)
    canvas.rectangle((0, 0, 16, height), blend(colours.ground, _INK, 0.35))
    middle = width / 2 + 8
    canvas.text((middle, 96), words.title, 60, colours.ink, face="Serif", room=290, bold=True)
    canvas.text((middle, 158), words.second, 26, colours.ink, face="Serif", room=280)
    first, *rest = words.lines
    canvas.text((middle, 204), first, 24, colours.ink, face="Serif", room=260)
    for place, line in enumerate(rest):
        canvas.text((middle, 458 + 30 * place), line, 22, colours.ink, face="Serif", room=260)
    return canvas


def _notice(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    heads: tuple[Colour, ...] = ((190, 40, 44), (30, 90, 160), (224, 150, 30), (40, 120, 84))
    head = heads[number % 4]
    wall: Colour = ((206, 186, 156), (176, 190, 196), (220, 214, 200))[number % 3]
    width, height = 420, 280 + 48 * len(words.lines)
    canvas = Canvas(width, height, wall, blend(wall, _INK, 0.12))
    lean = rng.uniform(-6, 6)
    paper = (34 + lean, 30.0, width - 34 + lean, height - 34.0)
    shadow = (paper[0] + 5, paper[1] + 6, paper[2] + 5, paper[3] + 6)
    canvas.rectangle(shadow, blend(wall, _INK, 0.4))
    canvas.rectangle(paper, (253, 252, 247))
    middle = width / 2 + lean
    canvas.rectangle((paper[0], 30, paper[2], 134), head)
    canvas.text((middle, 84), words.title, 58, _WHITE, room=300, bold=True)
    y = 178.0
    for place, line in enumerate([words.second, *words.lines] if words.second else words.lines):
        canvas.text((middle, y), line, 32 if words.second and not place else 26, _INK, room=310)
        y += 50
    for x in (paper[0] + 14, paper[2] - 14):
        canvas.circle((x, 44), 6, (230, 230, 226))
    return canvas


def _vertical(words: _Words, number: int, rng: np.random.Generator) -> Canvas:
    banner = not words.title
    ground: Colour = (186, 28, 32) if banner else ((246, 238, 218), (232, 226, 206))[number % 2]
    ink: Colour = (255, 214, 110) if banner else (36, 32, 30)
    columns = ([words.title] if words.title else []) + list(words.lines)
    size = 46 if len(max(columns, key=len)) < 7 else 40
    tall = size * 1.12 * max(len(column) for column in columns)
    width, height = 110 + 78 * len(columns), round(tall + 110)
    canvas = Canvas(width, height, ground)
    if banner:
        frame = (14, 14, width - 14, height - 14)
        canvas.rectangle(frame, None, radius=4, outline=ink, width=4)
    else:
        line = height * (0.98 - 0.18 * noise_line(rng, 90, 3, 0.5))
        xs = np.linspace(0, width, 90)
        edge = list(zip(xs.tolist(), line.tolist(), strict=True))
        hill = blend(ground, (60, 90, 96), 0.28)
        canvas.polygon([(0, height), *edge, (width, height)], hill)
    for place, column in enumerate(columns):
        x = width - 55 - 78 * (place + 0.5)
        title = bool(words.title) and place == 0
        fill: Colour = (168, 40, 36) if title else ink
        canvas.column((x, 52), column, size * (0.9 if title else 1.0), fill)
    return canvas


_LAYOUTS: dict[str, _Layout] = {
    "poster": _Layout(_poster, "An event poster", "一张活动海报"),
    "street": _Layout(_street, "A street sign", "一块路牌"),
    "shop": _Layout(_shop, "A shop front with a sign", "一家店铺的招牌"),
    "menu": _Layout(_menu, "A menu", "一份菜单"),
    "book": _Layout(_book, "A book cover", "一本书的封面"),
    "notice": _Layout(_notice, "A notice on a wall", "墙上的告示"),
    "vertical": _Layout(_vertical, "Vertical Chinese writing", "竖排的中文书法"),
}
