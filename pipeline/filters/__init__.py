"""``winnow filter explore``: what signals look like, and what each clause would drop."""

from __future__ import annotations

from pipeline.filters.explore import Exploration, explore_filters

__all__ = ["Exploration", "explore_filters"]
