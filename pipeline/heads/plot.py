"""The calibration plot: what share is true of images that score about the same."""

from __future__ import annotations

from xml.sax.saxutils import escape

import numpy as np

from pipeline.heads.measures import Bin, Doubles

_SIDE = 320
_LEFT, _TOP = 52, 44
_GAP, _BARS = 26, 70
_BINS = 20
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1d1f; }
.muted { fill: #5f6469; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #e3e4e1; } .ideal { stroke: #8b9195; stroke-dasharray: 4 4; }
.curve { fill: none; stroke: #0f6b66; stroke-width: 2; } .span { stroke: #0f6b66; opacity: .45; }
circle { fill: #0f6b66; } .yes { fill: #0f6b66; opacity: .75; } .no { fill: #b3b9bb; }
"""


def calibration_plot(name: str, bins: list[Bin], yes: Doubles, no: Doubles) -> bytes:
    """A reliability diagram of held-out images, with the scores of both labels below it.

    Args:
        name: Of the score.
        bins: Of ``calibration_bins``, with 95 % intervals.
        yes: Scores of images labelled yes, 0..1.
        no: Of those labelled no.

    Returns:
        An SVG file.
    """
    width, height = _LEFT + _SIDE + 24, _TOP + _SIDE + _GAP + _BARS + 56
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">'
        ),
        f"<title>Calibration of {escape(name)}</title><style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fcfcfb"/>',
        (
            f'<text x="{_LEFT}" y="24">Calibration of {escape(name)} on '
            f"{len(yes) + len(no):,} held-out images</text>"
        ),
        *_axes(),
        *_curve(bins),
        *_histogram(yes, no),
        "</svg>",
    ]
    return ("\n".join(parts) + "\n").encode()


def _axes() -> list[str]:
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _x(tick), _y(tick)
        parts += [
            f'<line class="grid" x1="{x}" x2="{x}" y1="{_y(1)}" y2="{_y(0)}"/>',
            f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{y}" y2="{y}"/>',
            f'<text class="muted end" x="{_LEFT - 8}" y="{y + 4}">{tick:g}</text>',
            f'<text class="muted middle" x="{x}" y="{_y(0) + 18}">{tick:g}</text>',
        ]
    turned = f"translate(14 {_y(0.5)}) rotate(-90)"
    return [
        *parts,
        f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
        f'<text class="muted middle" transform="{turned}">share labelled yes</text>',
    ]


def _curve(bins: list[Bin]) -> list[str]:
    points = " ".join(f"{_x(each.score)},{_y(each.share.value)}" for each in bins)
    parts = [f'<polyline class="curve" points="{points}"/>']
    for each in bins:
        x = _x(each.score)
        parts += [
            (
                f'<line class="span" x1="{x}" x2="{x}" y1="{_y(each.share.low)}" '
                f'y2="{_y(each.share.high)}"/>'
            ),
            (
                f'<circle cx="{x}" cy="{_y(each.share.value)}" r="3.5"><title>{each.count} images: '
                f"score {each.score:.3f}, share {each.share.value:.3f}</title></circle>"
            ),
        ]
    return parts


def _histogram(yes: Doubles, no: Doubles) -> list[str]:
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    counts = [np.histogram(each, edges)[0] for each in (no, yes)]
    top, base = max(1, *(int(each.max()) for each in counts)), _y(0) + _GAP + _BARS
    width = _SIDE / _BINS
    parts = []
    for at, (kind, numbers) in enumerate(zip(("no", "yes"), counts, strict=True)):
        for number, count in enumerate(numbers.tolist()):
            if count:
                x = _LEFT + number * width + at * width / 2
                tall = _BARS * count / top
                parts.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{base - tall:.1f}" '
                    f'width="{width / 2 - 0.5:.1f}" height="{tall:.1f}"/>'
                )
    return [
        *parts,
        f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{base}" y2="{base}"/>',
        f'<text class="muted middle" x="{_x(0.5)}" y="{base + 20}">score</text>',
        f'<rect class="yes" x="{_LEFT}" y="{base + 32}" width="10" height="10"/>',
        f'<text class="muted" x="{_LEFT + 16}" y="{base + 41}">labelled yes ({len(yes)})</text>',
        f'<rect class="no" x="{_x(0.5)}" y="{base + 32}" width="10" height="10"/>',
        f'<text class="muted" x="{_x(0.5) + 16}" y="{base + 41}">labelled no ({len(no)})</text>',
    ]


def _x(value: float) -> float:
    return round(_LEFT + _SIDE * value, 1)


def _y(value: float) -> float:
    return round(_TOP + _SIDE * (1.0 - value), 1)
