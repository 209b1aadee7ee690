"""What a scene of the procedural world is: groups of equal shapes on a plain background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any, Literal, get_args

Shape = Literal["circle", "square", "triangle", "star", "cross"]
Colour = Literal["red", "green", "blue", "yellow", "purple", "cyan"]
Place = Literal["left", "right", "top", "bottom", "centre"]
Size = Literal["large", "small"]
Background = Literal["white", "black", "grey", "brown"]

SHAPES: tuple[Shape, ...] = get_args(Shape)
COLOURS: tuple[Colour, ...] = get_args(Colour)
PLACES: tuple[Place, ...] = get_args(Place)
SIZES: tuple[Size, ...] = get_args(Size)
BACKGROUNDS: tuple[Background, ...] = get_args(Background)
COUNTS: tuple[int, ...] = (1, 2, 3)

#: Objects in a scene at most, all groups together.
MOST_OBJECTS = 3
#: Where two groups may be, in their order.
PAIRS: tuple[tuple[Place, Place], ...] = (("left", "right"), ("top", "bottom"))

#: Attributes of a group, and the values each may have.
GROUP_VALUES: dict[str, tuple[Any, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "count": COUNTS,
    "place": PLACES,
    "size": SIZES,
}


@dataclass(frozen=True)
class Group:
    """One to three equal objects, beside each other.

    Args:
        shape: Of each.
        colour: Of each.
        count: How many, 1 to 3.
        place: Where they are together.
        size: Of each; several are always small.

    Raises:
        ValueError: If a value is not one of the known, or several are large.
    """

    shape: Shape
    colour: Colour
    count: int
    place: Place
    size: Size

    def __post_init__(self) -> None:
        for name, known in GROUP_VALUES.items():
            value = getattr(self, name)
            if value not in known or isinstance(value, bool):
                raise ValueError(f"{name} must be one of {_listed(known)}, got {value!r}")
        if self.count > 1 and self.size == "large":
            raise ValueError(f"{self.count} objects must be small, got size 'large'")


@dataclass(frozen=True)
class Scene:
    """One group anywhere, or two that differ on opposite sides, on a background.

    Args:
        groups: One or two; put into the order left, right, top, bottom, whatever it was.
        background: Colour of the rest.

    Raises:
        ValueError: If the groups are more than two, in places that are not opposite, alike in
            shape and colour, or of more than three objects together; or a value is not known.
    """

    groups: tuple[Group, ...]
    background: Background

    def __post_init__(self) -> None:
        groups = tuple(sorted(self.groups, key=lambda group: PLACES.index(group.place)))
        object.__setattr__(self, "groups", groups)
        if self.background not in BACKGROUNDS:
            known = _listed(BACKGROUNDS)
            raise ValueError(f"background must be one of {known}, got {self.background!r}")
        if not 1 <= len(groups) <= 2:
            raise ValueError(f"a scene must have 1 or 2 groups, got {len(groups)}")
        if len(groups) == 2:
            _check_pair(*groups)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"groups": [asdict(group) for group in self.groups], "background": self.background}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scene:
        """What :meth:`to_dict` gave.

        Raises:
            ValueError: If a field is missing, unknown or of another kind, or the scene is none.
        """
        try:
            groups = tuple(Group(**group) for group in values["groups"])
            return cls(groups, values["background"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no scene: {error!r}") from None


def _check_pair(one: Group, other: Group) -> None:
    if (one.place, other.place) not in PAIRS:
        raise ValueError(
            f"two groups must be left and right or top and bottom, got {one.place} "
            f"and {other.place}"
        )
    if one.count + other.count > MOST_OBJECTS:
        total = one.count + other.count
        raise ValueError(f"a scene must have at most {MOST_OBJECTS} objects, got {total}")
    if (one.shape, one.colour) == (other.shape, other.colour):
        raise ValueError(f"two groups must differ in shape or colour, got {one.colour} {one.shape}")


def attributes_right(
    scene: Scene, other: Scene, trusted: frozenset[tuple[int, str]] | None = None
) -> float:
    """Share of attributes in which two scenes agree.

    The background is one attribute, each group has five; groups are paired so that most agree,
    and a group that has no partner agrees in nothing.

    Args:
        scene: One.
        other: The other.
        trusted: Of ``other``, number of the group (-1: the background) and attribute that may
            count; ``None``: all.

    Returns:
        In [0, 1]; 1 for equal scenes that are trusted in all.
    """

    def agrees(group: Group, number: int) -> int:
        partner = other.groups[number]
        return sum(
            getattr(group, name) == getattr(partner, name)
            and (trusted is None or (number, name) in trusted)
            for name in GROUP_VALUES
        )

    few, many = sorted((len(scene.groups), len(other.groups)))
    best = 0
    for order in permutations(range(many), few):
        if len(scene.groups) == few:
            pairs = list(zip(scene.groups, order, strict=True))
        else:
            pairs = [(scene.groups[place], number) for number, place in enumerate(order)]
        best = max(best, sum(agrees(group, number) for group, number in pairs))
    background = scene.background == other.background
    if trusted is not None:
        background = background and (-1, "background") in trusted
    return (background + best) / (1 + len(GROUP_VALUES) * many)


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(str(value) for value in values)
