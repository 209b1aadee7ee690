"""Numbers as people read them: two or three digits and a unit."""

from __future__ import annotations

from pipeline.report.format import size

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
#: Upper limit of each unit of time, in seconds, and its length.
_TIMES = (
    (100.0, 1.0, "s"),
    (100 * 60.0, 60.0, "min"),
    (48 * 3600.0, 3600.0, "h"),
    (365.25 * 86400, 86400.0, "days"),
    (float("inf"), 365.25 * 86400, "years"),
)


def duration(seconds: float) -> str:
    """A time span to two digits: ``0.3 s``, ``12 min``, ``5.3 h``, ``40 days``."""
    if seconds < 0.1:
        return "< 0.1 s" if seconds else "0 s"
    # The rounded number decides, so that 99.7 s do not read as 1e+02 s.
    length, unit = next(each[1:] for each in _TIMES if two_digits(seconds) < each[0])
    value = two_digits(seconds / length)
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


def two_digits(value: float) -> float:
    """A number rounded to two significant digits."""
    return float(f"{value:.2g}")


def amount(value: float) -> str:
    """A count to three digits with an SI prefix: ``512``, ``1.5 k``, ``46.2 T``."""
    place = 0
    while float(f"{value:.3g}") >= 1000 and place < len(_PREFIXES) - 1:
        value, place = value / 1000, place + 1
    return f"{float(f'{value:.3g}'):g} {_PREFIXES[place]}".rstrip()


def byte_size(value: float) -> str:
    """Bytes in decimal units: ``980 B``, ``1.4 TB``."""
    return size(round(value))
