"""The sample set of ``winnow demo``: about 300 images made on the spot, with known truth."""

from __future__ import annotations

from pipeline.demo.sampleset import write_sample_set
from pipeline.demo.truth import Comparison, Score, Truth, TruthItem, compare

__all__ = ["Comparison", "Score", "Truth", "TruthItem", "compare", "write_sample_set"]
