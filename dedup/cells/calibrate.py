"""How much slack a search needs to find near-copies of this data.

A near-copy at cosine t of a row lies elsewhere by a step of length sqrt(2 - 2t). Whether that
step leads into another cell depends on the data: among 512 independent dimensions it hardly
ever does, on a manifold of 30 it often does. So the steps are tried: sampled rows are moved to
cosine t, half of them in a random direction and half along the difference of two rows of the
same cell, which is how this data varies; and the slack is the least with which moved rows and
their originals still meet.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dedup.arrays import Bools, Floats
from dedup.cells.assign import Cells
from dedup.cells.codes import encode
from dedup.cells.tasks import CellPlan, assign
from dedup.units import as_units, hash_rows

#: Share of the moved rows that have to meet their originals.
MEET = 0.9995
#: Slacks that are tried, in cosine.
SLACKS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3)
#: Rows that are tried: sampled, and kept out of the k-means, whose own rows lie too well.
TRIALS = 4000
#: Copies are tried this far from the floor, as a share of the way to 1.
_ABOVE_FLOOR = 0.15


def calibrated(plan: CellPlan, rows: Floats, floor: float) -> float:
    """The least slack that keeps near-copies together.

    Args:
        plan: Cells; its own slack does not matter.
        rows: Unit rows that the cells were not made from, float32 (s, d), in an order that
            depends on content only.
        floor: Lowest similarity of the search.

    Returns:
        One of ``SLACKS``.
    """
    if len(plan.index) == 1 or not len(rows):
        return SLACKS[0]
    widest = replace(plan, slack=SLACKS[-1])
    steps = _steps(rows, assign(encode(rows), widest)[:, 0])
    moved = _moved(rows, steps, floor + _ABOVE_FLOOR * (1.0 - floor))
    for slack in SLACKS:
        tried = replace(plan, slack=slack)
        together = meet(assign(encode(rows), tried), assign(encode(moved), tried))
        if together.mean() >= MEET:
            return slack
    return SLACKS[-1]


def meet(left: Cells, right: Cells) -> Bools:
    """Which pairs of rows are compared somewhere: one visits the other's home, or lives there."""
    visits = (left == right[:, :1]) | (right == left[:, :1])
    return np.asarray(visits.any(axis=1))


def _steps(rows: Floats, home: Cells) -> Floats:
    """Directions to move in: every other at random, the rest between rows of one cell."""
    count, width = rows.shape
    # Seeded by content, not by the place of a row: the same data is tried in the same way.
    rng = np.random.default_rng(int(hash_rows(rows[:1])[0]))
    steps = rng.standard_normal((count, width), dtype=np.float32)
    order = np.argsort(home, kind="stable")
    pairs = np.flatnonzero(home[order[1:]] == home[order[:-1]])
    if len(pairs):
        chosen = rng.choice(pairs, count)
        along = rows[order[chosen + 1]] - rows[order[chosen]]
        steps[1::2] = along[1::2]
    return steps


def _moved(rows: Floats, steps: Floats, similarity: float) -> Floats:
    """Unit rows at a cosine from their originals."""
    across = steps - (steps * rows).sum(axis=1, keepdims=True) * rows
    directions, _ = as_units(across)
    apart = float(np.sqrt(max(0.0, 1.0 - similarity**2)))
    return as_units(np.float32(similarity) * rows + np.float32(apart) * directions)[0]
