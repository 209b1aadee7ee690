"""Exact, perceptual and semantic duplicates, with a kept witness for every removal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dedup.options import CommunityOptions, DedupOptions, GraphOptions

if TYPE_CHECKING:
    from dedup.engine import Decisions, deduplicate
    from dedup.result import Duplicates, Explanation, find_duplicates

__all__ = [
    "CommunityOptions",
    "Decisions",
    "DedupOptions",
    "Duplicates",
    "Explanation",
    "GraphOptions",
    "deduplicate",
    "find_duplicates",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    """Load the engine when it is first asked for: its compiled kernels take a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dedup import engine, result

    found = getattr(result, name, None)
    return getattr(engine, name) if found is None else found
