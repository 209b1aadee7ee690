"""Exact, perceptual and semantic duplicates, with a kept witness for every removal."""

from __future__ import annotations

from dedup.engine import Decisions, deduplicate
from dedup.options import CommunityOptions, DedupOptions, GraphOptions
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
