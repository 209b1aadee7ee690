"""Confidence intervals of shares."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from dedup.arrays import Doubles


def quantile(confidence: float) -> float:
    """The standard normal distance that a two-sided interval reaches, such as 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def wilson(share: Doubles, count: Doubles, confidence: float = 0.95) -> tuple[Doubles, Doubles]:
    """Wilson's interval of a share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927) 209-212.

    Args:
        share: Observed, 0..1, float64 (c,).
        count: Of how many, above 0, may be infinite, float64 (c,).
        confidence: In (0, 1).

    Returns:
        Lower and upper ends, in [0, 1], float64 (c,) each.
    """
    z = quantile(confidence)
    spread = z * z / count
    centre = share + spread / 2.0
    half = np.sqrt(spread * (share * (1.0 - share) + spread / 4.0))
    low, high = (centre - half) / (1.0 + spread), (centre + half) / (1.0 + spread)
    return np.clip(low, 0.0, share), np.clip(high, share, 1.0)
