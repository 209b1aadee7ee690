"""What a caller may choose, as plain dataclasses that check themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

Method = Literal["auto", "cells", "faiss-flat", "faiss-ivf"]
Device = Literal["auto", "cpu", "cuda"]
Quality = Literal["cpm", "modularity", "rb", "rber", "surprise", "significance"]
Within = Literal["component", "community"]

METHODS: tuple[Method, ...] = ("auto", "cells", "faiss-flat", "faiss-ivf")
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
QUALITIES: tuple[Quality, ...] = ("cpm", "modularity", "rb", "rber", "surprise", "significance")
WITHIN: tuple[Within, ...] = ("component", "community")
KEEP_LARGEST = "width*height desc, bytes desc, item_id"


@dataclass(frozen=True)
class GraphOptions:
    """How the neighbour graph is searched.

    Args:
        method: ``cells`` compares all pairs inside overlapping cells, and up to 24,576 rows
            is exact; ``faiss-flat`` compares everything with everything and is exact up to
            ``max_k``; ``faiss-ivf`` looks into ``nprobe`` lists only; ``auto`` is ``cells``.
        max_k: Neighbours listed per item at most (by ``cells``: per item and cell); an item
            with more of them above the floor is counted as saturated.
        copies: Cells that an item goes to at most, at least 1 (``cells``).
        slack: How much further than the nearest a centroid may be for its cell to be visited
            too, in cosine, in [0, 2] (``cells``); ``None`` to find out what the data needs.
        memory_gb: Memory that a search aims to stay within, in GiB; rows by cell go to disk
            where they would take more than half of it (``cells``).
        k: Neighbours that FAISS is asked for at first, at least 1.
        nprobe: Lists searched per query by ``faiss-ivf``.
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.
        threads: Threads of the search; ``None`` for as many as there are cores.

    Raises:
        ValueError: For a value out of range, naming the range.
    """

    method: Method = "auto"
    max_k: int = 1024
    copies: int = 16
    slack: float | None = None
    memory_gb: float = 4.0
    k: int = 32
    nprobe: int = 16
    device: Device = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        _one_of("graph method", self.method, METHODS)
        _one_of("device", self.device, DEVICES)
        _at_least("k", self.k, 1)
        _at_least("max_k", self.max_k, self.k)
        _at_least("nprobe", self.nprobe, 1)
        _at_least("copies", self.copies, 1)
        if self.slack is not None and not 0 <= self.slack <= 2:
            raise ValueError(f"slack must be in [0, 2], got {self.slack}")
        if not self.memory_gb >= 0.25:
            raise ValueError(f"memory_gb must be at least 0.25, got {self.memory_gb}")
        if self.threads is not None:
            _at_least("threads", self.threads, 1)

    @property
    def cores(self) -> int:
        """Threads of the search."""
        if self.threads is not None:
            return self.threads
        # The cores that this process may use; not every system can tell.
        allowed = getattr(os, "sched_getaffinity", None)
        return len(allowed(0)) if allowed else os.cpu_count() or 1


@dataclass(frozen=True)
class CommunityOptions:
    """How components are cut into communities.

    Args:
        quality: The function that Leiden maximises. ``cpm`` runs in compiled code of our own,
            ``modularity`` in igraph; ``rb``, ``rber``, ``surprise`` and ``significance`` need
            leidenalg.
        resolution: For ``cpm`` a share of the level's threshold: the mean similarity over
            all pairs of a community, absent pairs counting 0, has to exceed
            ``resolution * threshold`` for its parts to hold together. For ``modularity``,
            ``rb`` and ``rber`` the usual resolution. ``None`` takes the default of the
            quality; ``surprise`` and ``significance`` have none.
        within: Where keepers compete; see ``dedup.keepers``.
        iterations: Leiden passes at most.
        max_edges: A component with more edges is cut by raising the threshold inside it.

    Raises:
        ValueError: For an unknown name or a value out of range.
    """

    quality: Quality = "cpm"
    resolution: float | None = None
    within: Within = "component"
    iterations: int = 10
    max_edges: int = 20_000_000

    def __post_init__(self) -> None:
        _one_of("quality", self.quality, QUALITIES)
        _one_of("within", self.within, WITHIN)
        _at_least("iterations", self.iterations, 1)
        _at_least("max_edges", self.max_edges, 1)
        if self.resolution is not None and not self.resolution >= 0:
            raise ValueError(f"resolution must be at least 0, got {self.resolution}")

    def resolution_at(self, threshold: float) -> float:
        """The resolution parameter that the solver gets for a level's threshold."""
        if self.quality == "cpm":
            share = 0.6 if self.resolution is None else self.resolution
            return share * max(threshold, 0.0)
        return 1.0 if self.resolution is None else self.resolution


@dataclass(frozen=True)
class Level:
    """One level of communities.

    Args:
        name: Its column in the decisions.
        threshold: Lowest similarity of an edge that counts at this level, in [-1, 1].
    """

    name: str
    threshold: float


@dataclass(frozen=True)
class DedupOptions:
    """Everything that ``deduplicate`` may be told.

    Args:
        threshold: Cosine similarity, in [-1, 1], from which two items are near-copies.
        phash_distance: Bits, 0..32, in which the pHashes of a perceptual match may differ.
        variant: Threshold of the looser level; ``None`` for one and a half times the
            cosine distance of ``threshold``.
        subject: Threshold of the loosest level; ``None`` for two and a half times.
        graph: How neighbours are searched.
        communities: How components are cut.
        keep: Policy, as SQL order terms over the columns of the items; the first is kept.
        protect: SQL condition over the columns of the items; those it holds for are never
            removed. Empty: none.
        keep_earlier: Whether items of a lower ``batch`` come before all others, so that what
            was kept when they were alone is kept for ever.
        audit: Items that are searched exactly, to measure the recall; 0 for no audit.
        seed: Of Leiden, and of the k-means of ``faiss-ivf``.

    Raises:
        ValueError: For thresholds out of range or in the wrong order.
    """

    threshold: float = 0.9
    phash_distance: int = 4
    variant: float | None = None
    subject: float | None = None
    graph: GraphOptions = field(default_factory=GraphOptions)
    communities: CommunityOptions = field(default_factory=CommunityOptions)
    keep: str = KEEP_LARGEST
    protect: str = ""
    keep_earlier: bool = True
    audit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_threshold("threshold", self.threshold)
        if not 0 <= self.phash_distance <= 32:
            raise ValueError(f"phash_distance must be in 0..32, got {self.phash_distance}")
        if self.audit < 0:
            raise ValueError(f"audit must be at least 0, got {self.audit}")
        check_levels(self.threshold, self.variant, self.subject)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, from the finest to the loosest."""
        variant, subject = derived_levels(self.threshold, self.variant, self.subject)
        return (
            Level("cluster", self.threshold),
            Level("variant", variant),
            Level("subject", subject),
        )

    @property
    def floor(self) -> float:
        """The lowest similarity that any level needs."""
        return min(level.threshold for level in self.levels)


def check_levels(threshold: float, variant: float | None, subject: float | None) -> None:
    """Raise ValueError unless ``threshold > variant > subject``, as far as they are given."""
    looser = derived_levels(threshold, variant, subject)
    above = threshold
    for name, given, value in zip(("variant", "subject"), (variant, subject), looser, strict=True):
        if given is not None:
            check_threshold(name, value)
        if value > above or (given is not None and value == above):
            raise ValueError(
                f"{name} must be lower than the level above it, {above:g}, got {value:g}; "
                "levels run from threshold over variant down to subject"
            )
        above = value


def derived_levels(
    threshold: float, variant: float | None, subject: float | None
) -> tuple[float, float]:
    """The two looser thresholds, derived from the first where they are not given."""
    distance = 1.0 - threshold
    if variant is None:
        variant = min(threshold, max(-1.0, round(1.0 - 1.5 * distance, 6)))
    if subject is None:
        subject = min(variant, max(-1.0, round(1.0 - 2.5 * distance, 6)))
    return variant, subject


def check_threshold(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a cosine similarity."""
    if not -1.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [-1, 1], got {value}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
