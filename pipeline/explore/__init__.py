"""``winnow dedup explore`` and ``winnow dedup label``: from stored pairs to a threshold."""

from __future__ import annotations

from pipeline.explore.explored import explore_corpus
from pipeline.explore.labelled import label_corpus

__all__ = ["explore_corpus", "label_corpus"]
