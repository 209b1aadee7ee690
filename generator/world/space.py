"""The space of all scenes: listing, drawing lots, splitting, withholding concepts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, Literal

import numpy as np

from generator.world.scene import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    GROUP_VALUES,
    PAIRS,
    PLACES,
    SHAPES,
    SIZES,
    Background,
    Group,
    Place,
    Scene,
)

Split = Literal["train", "held_out"]

#: Concepts to leave out: attributes joined by ``+``, and the values of each concept, such as
#: ``{"shape": ["star"], "colour+shape": [("red", "circle")]}``.
Without = Mapping[str, Sequence[Any]]

#: One of so many combinations is held out.
_PERIOD = 10
_VALUES: dict[str, tuple[Any, ...]] = {**GROUP_VALUES, "background": BACKGROUNDS}


def all_scenes(groups: int | None = None) -> Iterator[Scene]:
    """Every scene once, in a fixed order: 2,400 of one group, 55,680 of two.

    Args:
        groups: Only those of so many groups, 1 or 2; ``None``: both.
    """
    if groups not in (None, 1, 2):
        raise ValueError(f"groups must be 1, 2 or None, got {groups!r}")
    if groups in (None, 1):
        for background, place in product(BACKGROUNDS, PLACES):
            for group in _groups_at(place):
                yield Scene((group,), background)
    if groups in (None, 2):
        for background, (one, other) in product(BACKGROUNDS, PAIRS):
            yield from _pairs_at(one, other, background)


@cache
def _groups_at(place: Place) -> tuple[Group, ...]:
    return tuple(
        Group(shape, colour, count, place, size)
        for shape, colour, count, size in product(SHAPES, COLOURS, COUNTS, SIZES)
        if count == 1 or size == "small"
    )


def _pairs_at(one: Place, other: Place, background: Background) -> Iterator[Scene]:
    for first, second in product(_groups_at(one), _groups_at(other)):
        differ = (first.shape, first.colour) != (second.shape, second.colour)
        if differ and first.count + second.count <= max(COUNTS):
            yield Scene((first, second), background)


def split(scene: Scene, by: Literal["combination", "scene"] = "combination") -> Split:
    """Which side of the split a scene is on.

    By combination, 16 of the 150 triples (shape, colour, place) are held out, and with them
    every scene that shows one: 10.7 % of the scenes of one group, 20.5 % of those of two.
    Every value, and every two values of a triple together, occur in training. By scene, a tenth
    of the scenes are held out by a hash: each triple occurs in training, in other company.

    Args:
        scene: Any.
        by: How.
    """
    if by == "combination":
        is_out = any(_is_out(group) for group in scene.groups)
    elif by == "scene":
        digest = hashlib.sha256(repr(scene).encode()).digest()
        is_out = int.from_bytes(digest[:8], "big") % _PERIOD == 0
    else:
        raise ValueError(f"by must be 'combination' or 'scene', got {by!r}")
    return "held_out" if is_out else "train"


def _is_out(group: Group) -> bool:
    # With these factors no two values of a triple fix a third that is always held out.
    place = SHAPES.index(group.shape) + 2 * COLOURS.index(group.colour)
    return (place + 3 * PLACES.index(group.place)) % _PERIOD == 0


def is_withheld(scene: Scene, without: Without) -> bool:
    """Whether a scene shows a concept that is left out.

    Args:
        scene: Any.
        without: The concepts; see :data:`Without`. The values of a concept are those of one
            group, and of the background it stands on.

    Raises:
        ValueError: If an attribute or value is not known.
    """
    return _shows(scene, _checked(without))


def _checked(without: Without) -> list[dict[str, Any]]:
    """Each concept as values by attribute."""
    concepts = []
    for key, wanted in without.items():
        names = key.split("+")
        for name in names:
            if name not in _VALUES:
                raise ValueError(f"an attribute must be one of {', '.join(_VALUES)}, got {name!r}")
        if isinstance(wanted, str):
            raise ValueError(f"the values of {key!r} must be a list, got {wanted!r}")  # noqa: TRY004
        for each in wanted:
            values = (each,) if len(names) == 1 and not isinstance(each, tuple | list) else each
            if isinstance(values, str) or len(values) != len(names):
                raise ValueError(f"{key!r} needs {len(names)} values, got {each!r}")
            for name, value in zip(names, values, strict=True):
                if value not in _VALUES[name]:
                    known = ", ".join(str(one) for one in _VALUES[name])
                    raise ValueError(f"{name} must be one of {known}, got {value!r}")
            concepts.append(dict(zip(names, values, strict=True)))
    return concepts


def _shows(scene: Scene, concepts: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        all(
            (scene.background if name == "background" else getattr(group, name)) == value
            for name, value in concept.items()
        )
        for concept in concepts
        for group in scene.groups
    )


def sample_scenes(
    count: int,
    seed: int = 0,
    *,
    side: Split | None = None,
    by: Literal["combination", "scene"] = "combination",
    without: Without | None = None,
    groups: int | None = None,
) -> list[Scene]:
    """Different scenes, drawn by lot; half of them have one group as far as there are enough.

    Args:
        count: How many, 0 or more.
        seed: Decides which and their order; at least 0.
        side: Only of this side of the split; ``None``: of both.
        by: See :func:`split`.
        without: Concepts to leave out.
        groups: Only of so many groups.

    Raises:
        ValueError: If there are not so many, or an argument is out of range.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count and seed must be at least 0, got {count} and {seed}")
    concepts = _checked(without or {})
    pools = [
        [
            scene
            for scene in all_scenes(number)
            if (side is None or split(scene, by) == side) and not _shows(scene, concepts)
        ]
        for number in ((1, 2) if groups is None else (groups,))
    ]
    total = sum(len(pool) for pool in pools)
    if count > total:
        raise ValueError(f"count must be at most {total}, the scenes that there are, got {count}")
    draw = np.random.default_rng((seed, 0x574C44))
    shares = [min(count, len(pools[0]))]
    if len(pools) == 2:
        one = min(len(pools[0]), max((count + 1) // 2, count - len(pools[1])))
        shares = [one, count - one]
    chosen = [
        pool[index]
        for pool, share in zip(pools, shares, strict=True)
        for index in draw.choice(len(pool), share, replace=False).tolist()
    ]
    return [chosen[index] for index in draw.permutation(count).tolist()]
