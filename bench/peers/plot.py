"""A plot of items/s against the number of items, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from pathlib import Path

_LEFT, _TOP, _WIDE, _HIGH = 70, 30, 480, 240


def draw_rates(path: Path, rates: Mapping[int, float]) -> None:
    """Write the plot; the axis of the items is logarithmic, that of the rates starts at 0."""
    counts = sorted(rates)
    span = max(1e-9, log2(counts[-1] / counts[0]))
    peak = max(rates.values()) * 1.15
    places = {
        count: (
            _LEFT + 40 + (_WIDE - 80) * log2(count / counts[0]) / span,
            _TOP + _HIGH * (1 - rates[count] / peak),
        )
        for count in counts
    }
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places.values())
    floor = _TOP + _HIGH
    size = f'width="{_LEFT + _WIDE + 20}" height="{floor + 50}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<path d="M{_LEFT} {_TOP}V{floor}H{_LEFT + _WIDE}" fill="none" stroke="black"/>',
        _text(_LEFT + _WIDE / 2, _TOP - 12, "items/s, from vectors on disk to keepers on disk"),
        _text(_LEFT + _WIDE / 2, floor + 40, "items"),
        f'<polyline points="{line}" fill="none" stroke="#1f77b4" stroke-width="2"/>',
    ]
    for count, (x, y) in places.items():
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f77b4"/>')
        parts.append(_text(x, y - 10, f"{rates[count]:,.0f}"))
        parts.append(_text(x, floor + 18, f"{count:,}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{words}</text>'
