"""What a batch changes: the components that its rows join, decided anew in shares.

Neither communities nor keepers look beyond a component at the floor. The components that new
rows join are therefore dealt into shares of about as many pairs, and the shares are decided side
by side, each from its pairs to its decisions: what comes out depends on no share's company.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from dedup.arrays import Ints
from dedup.cells.source import Source
from dedup.components import UnionFind
from dedup.decide import Found, Terms, decide
from dedup.evidence import Evidence
from dedup.exact import collapse
from dedup.hashed import HashPairs, confirmed_hashes, with_pairs
from dedup.lookup import Rows
from dedup.options import DedupOptions
from dedup.search import Kept, Searched, Shares, dealt
from dedup.settled import Settled, within

#: Shares per core: several, so that no core is left with a long one at the end.
_SHARES = 3


@dataclass(frozen=True)
class Joined:
    """The components that new rows belong to.

    Args:
        rows: All rows of theirs, int64 (m,), ascending.
        root: The lowest row of the component of each, int64 (m,).
        by_hash: Pairs that only hashes found, by row, at least those of these rows.
    """

    rows: Ints
    root: Ints
    by_hash: HashPairs


def join(
    source: Source,
    ids: Ints,
    evidence: Evidence,
    options: DedupOptions,
    kept: Kept,
    before: Settled,
    forest: Future[UnionFind],
) -> Joined:
    """Find the components that new rows belong to.

    Args:
        source: Of all rows.
        ids: Of all rows, int64 (n,), ascending.
        evidence: Of all rows.
        options: Of the search by hashes.
        kept: What was searched, new rows included.
        before: What was decided about the others.
        forest: As ``before`` gives it for all rows there are now; written over.
    """
    count = len(before)
    new = np.arange(count, len(ids))
    joined = [(new, evidence.same_bytes[count:])]
    if len(new):
        place = Rows(ids)
        joined += [(place(one), place(other)) for one, other in kept.found_last()]
    by_hash = before.by_hash
    if evidence.known[count:].any():
        hashed = confirmed_hashes(
            collapse([kept.first_of_equal(ids), evidence.same_bytes]),
            kept.valid,
            source,
            evidence.hashes,
            evidence.known,
            options.phash_distance,
            options.floor,
            since=count,
        )
        joined.append((hashed.src, hashed.dst))
        by_hash = by_hash.joined(hashed)
    grown = forest.result()
    for one, other in joined:
        grown.add(one, other)
    root = grown.labels()
    reached = np.zeros(len(ids), dtype=np.bool_)
    reached[root[count:]] = True
    rows = np.flatnonzero(reached[root])
    return Joined(rows, root[rows], by_hash)


def decide_joined(
    joined: Joined,
    ask: Callable[[], Terms],
    ids: Ints,
    options: DedupOptions,
    kept: Kept,
    before: Settled,
    copies: Future[dict[str, np.ndarray]],
) -> tuple[Settled, Searched]:
    """Decide about the components that new rows belong to.

    Args:
        joined: These components.
        ask: Gives the terms of their rows; called in another thread.
        ids: Of all rows, int64 (n,), ascending, as the search knows them.
        options: Thresholds and methods.
        kept: What was searched.
        before: What was decided about the first rows.
        copies: Of that, for all rows there are now; written over.

    Returns:
        Decisions about all rows, and nodes and edges of one of the shares.

    Raises:
        ValueError: If the policy fails.
    """
    rows = joined.rows
    with ThreadPoolExecutor(options.graph.cores) as pool:
        asked = pool.submit(ask)
        place = np.empty(len(ids), dtype=np.int64)
        place[rows] = np.arange(len(rows))
        root = place[joined.root]
        most = _SHARES * options.graph.cores
        shares = Shares.of(deal(root, _pairs(joined, before), most))
        searches = dealt(kept, ids[rows], rows, shares, pool.map)
        terms = asked.result()

        def one(share: int) -> tuple[Ints, Settled, Searched]:
            places = shares.rows[share]
            mine, theirs = rows[places], terms.take(places)
            by_hash = within(joined.by_hash, mine)
            searched = with_pairs(searches[share]([theirs.evidence.same_bytes]), by_hash)
            return mine, decide(Found(searched, by_hash), theirs, options), searched

        parts = list(pool.map(one, range(len(shares))))
        anew = [(mine, part) for mine, part, _ in parts]
        settled = before.replaced(anew, copies.result(), pool.map)
    return settled, parts[0][2]


def _pairs(joined: Joined, before: Settled) -> Ints:
    """About how many pairs each row stands for, int64 (m,); of new rows nothing is known."""
    rows = joined.rows
    pairs = np.ones(len(rows), dtype=np.int64)
    old = np.searchsorted(rows, len(before))
    pairs[:old] += before.pairs[rows[:old]]
    return pairs


def deal(root: Ints, cost: Ints, shares: int) -> Ints:
    """Deal components into shares of about the same cost, the largest first.

    Args:
        root: The first row of the component of each row, by place, int64 (m,).
        cost: Of each row, at least 0, int64 (m,).
        shares: How many at most.

    Returns:
        The share of each row, int64 (m,).
    """
    total = np.bincount(root, cost, len(root))
    order = np.argsort(-total, kind="stable")
    return _dealt(total, order[: np.count_nonzero(total)], shares)[root]


@njit(cache=True, nogil=True)
def _dealt(cost: np.ndarray, order: Ints, shares: int) -> Ints:
    """To whom each goes, dealt in order to whoever has least."""
    load = np.zeros(shares, np.float64)
    share = np.zeros(len(cost), np.int64)
    for which in order:
        lightest = np.argmin(load)
        share[which] = lightest
        load[lightest] += cost[which]
    return share
