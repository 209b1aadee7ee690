"""What differs between two images, as far as can be told without knowing what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.colours import COLOURS, name_colours, to_lab
from captioning.composition import Look, describe_look
from captioning.language import normalise
from captioning.ocr.lines import Line
from captioning.pairs_chain import OTHER_PICTURE, Difference, Side

Lab = npt.NDArray[np.float64]

_SIDE = 96  # longer side of what is compared, pixels
#: Correlation of lightness from which two images show the same scene in the same place.
_ALIGNED = 0.75
#: Differences in units of CIELAB, and ratios, from which people notice them.
_LIGHT, _TINT, _CHROMA, _CONTRAST, _BLUR = 5.0, 6.0, 1.3, 1.25, 2.2
_NOISE = 40.0
_CHANGED = 12.0
#: Most of an image that may change for the change to be called local.
_LOCAL = 0.35
_LEAST_SHARE = 0.004
_MOST = 5
_SAME_SHAPE = 0.03  # of the aspect ratio


@dataclass(frozen=True)
class _View:
    """Both images on one grid, the target as it would be before it was turned or mirrored."""

    source: Lab
    target: Lab
    correlation: float


def find_differences(source: Side, target: Side) -> tuple[Difference, ...]:
    """What the target has that the source has not, and the other way round.

    Text comes first, then turning and mirroring, colour and light, sharpness, format, and
    where in the image something else is changed. Two images that do not show the same scene
    are told apart by the look of the target as a whole.

    Returns:
        At most five, the most telling first; none where nothing is found.
    """
    found = text_differences(source, target)
    looks = describe_look(source.image), describe_look(target.image)
    turn, view = _align(source.image, target.image)
    if turn is None and _shares_shape(source.image, target.image, None):
        turn, view = _follow(view)
    if turn is not None:
        found.append(Difference(turn))
    if looks[0].shape != looks[1].shape and turn not in {"turned_left", "turned_right"}:
        found.append(Difference("format", None, looks[0].shape, looks[1].shape))
    if view.correlation < _ALIGNED:
        return tuple((found + _other_picture(*looks))[:_MOST])
    if _shares_shape(source.image, target.image, turn):
        found += _colour_differences(view, *looks)
        found += _sharpness(source.image, target.image, turn)
        # Places in a part of the image are not those in the image.
        found += [] if (turn or "").startswith("moved") else _local(view, found, source, target)
    return tuple(found[:_MOST])


def text_differences(source: Side, target: Side) -> list[Difference]:
    """Confident lines of text that were changed, added or removed, in reading order."""
    before = [line for line in source.lines if line.quoted]
    after = [line for line in target.lines if line.quoted]
    old, new = ([normalise(line.text) for line in lines] for lines in (before, after))
    if sorted(old) == sorted(new):
        return []
    found = []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        changed = min(b - a, d - c)
        for one, other in zip(before[a : a + changed], after[c : c + changed], strict=True):
            place = _place_of(other, target)
            found.append(Difference("text_changed", place, one.text, other.text))
        found += [
            Difference("text_removed", _place_of(line, source), before=line.text)
            for line in before[a + changed : b]
        ]
        found += [
            Difference("text_added", _place_of(line, target), after=line.text)
            for line in after[c + changed : d]
        ]
    return found


def _place_of(line: Line, side: Side) -> str:
    height, width = side.image.shape[:2]
    left, top, right, bottom = line.bounds
    return place_name((left + right) / 2 / width, (top + bottom) / 2 / height)


def place_name(x: float, y: float) -> str:
    """The ninth of an image that a point is in; shares of width and height, from the top left."""
    row = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else "centre"
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "centre"
    if row == column:
        return "centre"
    return f"{row} {column}"


def _align(
    source: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8]
) -> tuple[str | None, _View]:
    """How the target was turned or mirrored, and both on one grid with that undone."""
    size = _grid_size(source)
    first = _small(source, size)
    turned_to = {None: target, "mirrored": target[:, ::-1], "turned_over": target[::-1, ::-1]}
    turned_to |= {"turned_right": np.rot90(target), "turned_left": np.rot90(target, -1)}
    views = {
        turn: _small(np.ascontiguousarray(image), size)
        for turn, image in turned_to.items()
        if turn not in {"turned_left", "turned_right"} or _shares_shape(source, image, None)
    }
    scores = {turn: _correlation(first, view) for turn, view in views.items()}
    best = max(scores, key=lambda turn: scores[turn])
    # Symmetric pictures look the same mirrored: only a clear gain tells.
    if best is not None and (scores[best] < 0.9 or scores[best] - scores[None] < 0.15):
        best = None
    return best, _View(first, views[best], scores[best])


def _follow(view: _View) -> tuple[str | None, _View]:
    """Where what the image shows has moved to as a whole, and both cut to what they share.

    By the peak of the cross-correlation of lightness, through Fourier transforms.
    """
    nothing = None, view
    if view.correlation >= 0.95:
        return nothing
    spectra = [np.fft.rfft2(lab[..., 0] - lab[..., 0].mean()) for lab in (view.source, view.target)]
    height, width = view.source.shape[:2]
    peaks = np.fft.irfft2(spectra[1] * np.conj(spectra[0]), s=(height, width))
    down, right = (int(x) for x in np.unravel_index(np.argmax(peaks), peaks.shape))
    # The transform goes round: a long way one way is a short way the other.
    down, right = down - height * (down > height // 2), right - width * (right > width // 2)
    if not (down or right) or abs(down) > height // 3 or abs(right) > width // 3:
        return nothing
    cut = _overlap(view.source, -down, -right), _overlap(view.target, down, right)
    shared = _correlation(*cut)
    if shared < 0.9 or shared - view.correlation < 0.1:
        return nothing
    if abs(right) * height >= abs(down) * width:
        way = "moved_right" if right > 0 else "moved_left"
    else:
        way = "moved_down" if down > 0 else "moved_up"
    return way, _View(*cut, shared)


def _overlap(lab: Lab, down: int, right: int) -> Lab:
    """What is left of an image whose content came in from above and from the left."""
    height, width = lab.shape[:2]
    rows = slice(max(0, down), height + min(0, down))
    columns = slice(max(0, right), width + min(0, right))
    return lab[rows, columns]


def _grid_size(image: npt.NDArray[np.uint8]) -> tuple[int, int]:
    height, width = image.shape[:2]
    scale = _SIDE / max(width, height)
    return max(8, round(width * scale)), max(8, round(height * scale))


def _small(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> Lab:
    return to_lab(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)))


def _correlation(one: Lab, other: Lab) -> float:
    """Pearson's of lightness; 1 for two even images, 0 where only one is."""
    a, b = one[..., 0] - one[..., 0].mean(), other[..., 0] - other[..., 0].mean()
    norms = float(np.sqrt((a * a).sum() * (b * b).sum()))
    if norms < 1e-6:
        return 1.0 if np.ptp(a) < 1 and np.ptp(b) < 1 else 0.0
    return float((a * b).sum()) / norms


def _shares_shape(
    source: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], turn: str | None
) -> bool:
    ratios = [image.shape[1] / image.shape[0] for image in (source, target)]
    if turn in {"turned_left", "turned_right"}:
        ratios[1] = 1 / ratios[1]
    return abs(ratios[0] / ratios[1] - 1) <= _SAME_SHAPE


def _colour_differences(view: _View, before: Look, after: Look) -> list[Difference]:
    """What became of light and colour as a whole."""
    found: list[Difference] = []
    if before.background and after.background and before.background != after.background:
        found.append(Difference("background", None, before.background, after.background))
        return found
    light = float(np.median(view.target[..., 0] - view.source[..., 0]))
    if abs(light) >= _LIGHT:
        found.append(Difference("brighter" if light > 0 else "darker"))
    contrast = float(view.target[..., 0].std() / max(view.source[..., 0].std(), 1e-3))
    if contrast >= _CONTRAST or contrast <= 1 / _CONTRAST:
        found.append(Difference("more_contrast" if contrast > 1 else "less_contrast"))
    if before.monochrome != after.monochrome:
        found.append(Difference("made_grey" if after.monochrome else "coloured"))
    elif not before.monochrome:
        found += _tint(view)
    return found


def _tint(view: _View) -> list[Difference]:
    chroma = [
        float(np.hypot(lab[..., 1], lab[..., 2]).mean()) for lab in (view.source, view.target)
    ]
    vivid = (chroma[1] + 1) / (chroma[0] + 1)
    if vivid >= _CHROMA or vivid <= 1 / _CHROMA:
        return [Difference("more_vivid" if vivid > 1 else "paler")]
    shift = float(np.median(view.target[..., 2] - view.source[..., 2]))
    return [Difference("warmer" if shift > 0 else "cooler")] if abs(shift) >= _TINT else []


def _sharpness(
    source: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], turn: str | None
) -> list[Difference]:
    """By the energy of edges, both at the smaller of the two sizes."""
    if turn is not None:
        return []
    width = min(source.shape[1], target.shape[1], 512)
    size = width, max(8, round(source.shape[0] * width / source.shape[1]))
    energies, spreads = [], []
    for image in (source, target):
        grey = Image.fromarray(image).convert("L").resize(size, Image.Resampling.BOX)
        values = np.asarray(grey, np.float64)
        edges = 4 * values[1:-1, 1:-1] - values[:-2, 1:-1] - values[2:, 1:-1]
        edges -= values[1:-1, :-2] + values[1:-1, 2:]
        spreads.append(max(float(values.var()), 1.0))
        energies.append(float((edges**2).mean()) / spreads[-1])
    # Coding noise of a level or two is no sharpness, in smooth pictures neither.
    noise = _NOISE / min(spreads)
    ratio = (energies[1] + noise) / (energies[0] + noise)
    if ratio >= _BLUR:
        return [Difference("sharper")]
    return [Difference("blurred")] if ratio <= 1 / _BLUR else []


def _local(
    view: _View, found: Sequence[Difference], source: Side, target: Side
) -> list[Difference]:
    """Where in the image something changes that light and colour as a whole do not explain."""
    # What changed everywhere is taken out by its median.
    shift = np.median(view.target - view.source, axis=(0, 1))
    if any(each.what in {"made_grey", "coloured", "background"} for each in found):
        return []
    distance = np.linalg.norm(view.target - view.source - shift, axis=-1)
    changed = distance >= _CHANGED
    share = float(changed.mean())
    if not _LEAST_SHARE <= share <= _LOCAL or _explained(changed, found, source, target):
        return []
    rows, columns = np.nonzero(changed)
    height, width = changed.shape
    place = place_name((np.median(columns) + 0.5) / width, (np.median(rows) + 0.5) / height)
    before, after = (_main_colour(lab[changed]) for lab in (view.source, view.target))
    if before == after:
        return [Difference("changed", place)]
    return [Difference("recoloured", place, before, after)]


def _main_colour(lab: Lab) -> str:
    return COLOURS[int(np.bincount(name_colours(lab), minlength=len(COLOURS)).argmax())]


def _explained(
    changed: npt.NDArray[np.bool_], found: Sequence[Difference], source: Side, target: Side
) -> bool:
    """Whether most of the change lies where text does, and text was found to change."""
    if not any(each.what.startswith("text_") for each in found):
        return False
    covered = np.zeros_like(changed)
    for side in (source, target):
        height, width = side.image.shape[:2]
        scale = np.array([covered.shape[1] / width, covered.shape[0] / height] * 2)
        for line in side.lines:
            left, top, right, bottom = np.array(line.bounds) * scale
            covered[int(top) : int(bottom) + 2, int(left) : int(right) + 2] = True
    return bool((changed & covered).sum() >= 0.7 * changed.sum())


def _other_picture(before: Look, after: Look) -> list[Difference]:
    """What can be said of two pictures that are not of the same scene."""
    found = []
    if before.monochrome != after.monochrome:
        found.append(Difference("made_grey" if after.monochrome else "coloured"))
    elif before.colours != after.colours:
        found.append(Difference("colours", None, "/".join(before.colours), "/".join(after.colours)))
    if before.tone != after.tone and after.tone is not None:
        found.append(Difference("darker" if after.tone == "dark" else "brighter"))
    return [Difference(OTHER_PICTURE), *found]
