"""How the page writes numbers, names and shares."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_NAME = 80


def whole(value: int | None) -> str:
    """A count with thousands separated."""
    return "-" if value is None else f"{value:,}"


def number(value: float | None) -> str:
    """A quantity to about three significant digits."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if digits > 6:
        return f"{value:.1e}"
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(part: float, whole_part: float = 1.0) -> str:
    """A share; a share that is not nothing or not all never reads as if it were."""
    share = 100.0 * part / whole_part if whole_part else 0.0
    if 0 < share < 0.05:
        return "< 0.1 %"
    if 99.95 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %".replace(".0 %", " %")


def size(value: int | None) -> str:
    """Bytes, in decimal units."""
    if value is None:
        return "-"
    amount, unit = float(value), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    digits = 0 if unit == 0 or amount >= 10 else 1
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def similarity(value: float | None) -> str:
    """A cosine similarity; only a 1 reads 1."""
    if value is None:
        return "-"
    return f"{min(value, 0.9999):.4f}" if value < 1 else f"{value:.4f}"


def short(value: str) -> str:
    """A name, shortened in the middle: both its beginning and its end tell it apart."""
    if len(value) <= _NAME:
        return value
    return value[: _NAME // 3] + "…" + value[-(_NAME - _NAME // 3) :]


def file_name(key: str) -> str:
    """The last part of a key."""
    return short(key.rstrip("/").rpartition("/")[2])


def folder(key: str) -> str:
    """What stands before the last part of a key."""
    return key.rstrip("/").rpartition("/")[0]


def words(value: str) -> str:
    """A code such as ``not_an_image`` as words."""
    return value.replace("_", " ")


def position(histogram: dict[str, Any], value: float) -> float:
    """Where a value lies on a histogram's axis, in bins from the first, from 0 to their count."""
    edges = histogram["edges"]
    place = bisect.bisect_right(edges, value) - 1
    if place < 0 or place >= len(edges) - 1:
        return float(max(0, min(place, len(edges) - 1)))
    return place + (value - edges[place]) / (edges[place + 1] - edges[place])


def polygon(box: list[float]) -> str:
    """The corners of a text box, as an SVG point list."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(box[::2], box[1::2], strict=True))


FILTERS: dict[str, Callable[..., Any]] = {
    "whole": whole,
    "number": number,
    "percent": percent,
    "bytes": size,
    "similarity": similarity,
    "short": short,
    "file_name": file_name,
    "folder": folder,
    "words": words,
    "position": position,
    "polygon": polygon,
}
