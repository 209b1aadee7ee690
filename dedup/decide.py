"""From what a search found to decisions: of all rows, or of a share of them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from dedup.arrays import Bools, Ints
from dedup.evidence import Evidence
from dedup.hashed import HashPairs
from dedup.leiden import Mapper
from dedup.options import DedupOptions
from dedup.policy import matching, policy_rank
from dedup.search import Searched
from dedup.settled import Settled, settle
from dedup.solve import solve


@dataclass(frozen=True)
class Found:
    """What a search has to say about some rows; with a row it holds its whole component.

    Args:
        searched: Nodes and edges, of the rows by their places among these.
        by_hash: Pairs that only hashes found, by place.
    """

    searched: Searched
    by_hash: HashPairs


@dataclass(frozen=True)
class Terms:
    """What decides between rows, by row.

    Args:
        ids: Stable and ascending, int64 (n,).
        rank: Place in policy order, int64 (n,), all different.
        protect: Which rows are never removed, bool (n,).
        evidence: Bytes and hashes.
    """

    ids: Ints
    rank: Ints
    protect: Bools
    evidence: Evidence

    def take(self, rows: Ints) -> Terms:
        """The same of some rows, int64 (m,), ascending and whole components."""
        evidence = self.evidence.take(rows)
        return Terms(self.ids[rows], self.rank[rows], self.protect[rows], evidence)


def terms_of(
    items: pa.Table, ids: Ints, evidence: Evidence, rows: Ints | None, options: DedupOptions
) -> Terms:
    """Ask policy and protection.

    Args:
        items: All rows, with the columns that the policy uses.
        ids: Of all rows, int64 (n,), ascending.
        evidence: Of all rows.
        rows: Which are asked about, int64 (m,), ascending and whole components; ``None``: all.
        options: Policy and protection.

    Raises:
        ValueError: If one of them fails.
    """
    if rows is not None:
        items, ids, evidence = items.take(pa.array(rows)), ids[rows], evidence.take(rows)
    rank = policy_rank(items, _order(items, options))
    return Terms(ids, rank, matching(items, options.protect), evidence)


def decide(
    found: Found, terms: Terms, options: DedupOptions, mapper: Mapper | None = None
) -> Settled:
    """Decide about the rows that were found.

    Args:
        found: Nodes and edges.
        terms: Of the same rows.
        options: Thresholds and methods.
        mapper: Threads for components, where the quality takes them.
    """
    solution = solve(
        found.searched,
        terms.rank,
        options.levels,
        options.communities,
        terms.ids,
        options.seed,
        protect=terms.protect if terms.protect.any() else None,
        mapper=mapper if options.communities.quality == "cpm" else None,
    )
    reason = terms.evidence.reasons(solution.witness, options.phash_distance)
    return settle(
        found.searched,
        solution,
        terms.evidence.same_bytes,
        reason,
        options.threshold,
        found.by_hash,
        terms.ids,
    )


def _order(items: pa.Table, options: DedupOptions) -> str:
    if options.keep_earlier and "batch" in items.column_names:
        return f"batch, {options.keep}" if options.keep.strip() else "batch"
    return options.keep
