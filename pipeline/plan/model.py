"""What a run has to do: the work, the bytes and the memory of each step, as pure functions.

Nothing here knows a clock, a disk or a configuration: counts in, counts out. Times follow from
these counts and from rates (``pipeline.plan.rates``). Every constant of the model stands at the
top, with its source; "assumed" means that no measurement stands behind it yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, sqrt

#: Items up to which there is one cell; items per cell aimed at beyond; most cells; cells in
#: which an item stands on average. From ``dedup/cells/graph.py``: ONE_CELL, CELL_ROWS,
#: MOST_CELLS; copies are assumed, the engine finds out what the data needs (1.0 to 5 seen).
ONE_CELL = 24_576
CELL_ITEMS = 1024
MOST_CELLS = 1 << 17
COPIES = 1.5
#: Cells up to which all centroids are compared with; lists of a two-storey index that an item
#: looks into at most. From ``dedup/cells/centroids.py`` (FLAT_CELLS) and ``tasks.py`` (_PROBES).
FLAT_CELLS = 2048
PROBES = 12
#: Sampled items per cell, and passes over them, of the k-means. From ``dedup/search.py``
#: (SAMPLED) and ``centroids.py`` (_ITERATIONS).
SAMPLE_PER_CELL = 32
KMEANS_PASSES = 8
#: Share of the bare rate of products that the engine reaches. From ``find_duplicates`` on 24,576
#: vectors of 512, which are one cell, on one core: 1.8 s, 2026-11-21.
PRODUCT_EFFICIENCY = 0.55
#: Share of handling (normalising, encoding, hashing, writing; all but products) that is done in
#: the comparison, where rows are read and encoded again. Assumed: only the sum is measured.
HANDLED_IN_COMPARISON = 0.5

#: Bytes of one dimension, in the rows by cell and in the table of vectors (float16).
VECTOR_BYTES = 2
#: What goes with a vector in the rows by cell: ids, hash, cells; and with its code: scale, error
#: and tail. From ``dedup/cells/shuffle.py`` (_FIXED_BYTES, row_bytes).
ROW_BYTES = 40
CODE_BYTES = 12
#: Codes are as wide as a multiple of this, and so are their heads, of 3/8, but of a multiple of
#: that. From ``dedup/cells/codes.py`` (padded), ``heads.py`` (head_width) and ``dots.py`` (STEP).
CODE_STEP = 16
HEAD_STEP = 64
#: What is kept of an item for the next batch beside rows and pairs: what was decided, and whether
#: it was searched. From ``dedup/settled.py`` (Settled, 73 with three levels) and
#: ``dedup/search.py`` (Kept, 2).
STATE_BYTES = 75
#: An edge: src and dst (int64), similarity (float32).
EDGE_BYTES = 20
#: Edges per item. From ``bench/vectors.py``: 1,010,272 pairs at or above 0.9 among 400,000
#: planted vectors; other data, and looser levels, may have many more.
EDGES_PER_ITEM = 2.5
#: Items whose neighbours the recall audit searches exactly: the default of ``dedup.audit``.
AUDIT_ITEMS = 500

#: What the driver holds per item: union-find (8 bytes).
UNION_FIND_BYTES = 8
#: What the decisions take per item: id, policy rank, three levels, component, witness (8 bytes
#: each), similarity (4), keep (1).
DECISION_BYTES = 7 * 8 + 5
#: What finding equal files takes per item: a digest of 16 bytes and its row number.
EXACT_BYTES = 24


class Spread(StrEnum):
    """What a piece of work is shared out over."""

    ONE = "one core"
    CORES = "cores"
    GPUS = "GPUs"
    WORKERS = "workers"
    DISK = "disk"


@dataclass(frozen=True)
class Part:
    """An amount of one operation.

    Args:
        operation: Key of its rate, such as ``profile`` or ``products``.
        amount: How much of it, in the unit that the rate counts per second.
        spread: What it is shared out over.
        efficiency: Share of the bare rate that is reached in the midst of other work, in (0, 1].
    """

    operation: str
    amount: float
    spread: Spread = Spread.CORES
    efficiency: float = 1.0


@dataclass(frozen=True)
class Work:
    """What one step does and takes.

    Args:
        step: Its name.
        parts: Its operations; they follow one another, or run side by side.
        overlap: Whether they run side by side, so that the slowest decides.
        disk_bytes: What it leaves on disk.
        memory_bytes: What it holds in memory.
    """

    step: str
    parts: tuple[Part, ...]
    overlap: bool = False
    disk_bytes: float = 0.0
    memory_bytes: float = 0.0


@dataclass(frozen=True)
class TableBytes:
    """Size of a table on disk.

    Args:
        row: Bytes per row.
        file: Bytes per partition, whatever its rows: schema, footer, stamp.
    """

    row: float
    file: float

    def of(self, rows: int, partitions: int) -> float:
        """Bytes of so many rows in so many partitions."""
        return self.row * rows + self.file * partitions


def cells(items: int) -> int:
    """How many cells so many items are cut into, as the engine does it."""
    return 1 if items <= ONE_CELL else min(MOST_CELLS, ceil(items / CELL_ITEMS))


def centroids_scanned(count: int) -> float:
    """Centroids that one item is compared with.

    All of a flat list; of two storeys the sqrt(C) coarse ones, and ``PROBES`` lists of sqrt(C).
    """
    if count <= FLAT_CELLS:
        return float(count)
    return ceil(sqrt(count)) + PROBES * sqrt(count)


def assign_products(items: int) -> float:
    """Dot products that assigning all items takes."""
    return items * centroids_scanned(cells(items))


def compare_products(items: int) -> float:
    """Dot products of all cells: pairs at home once, and each visitor with all at home.

    N / C items live in a cell and (COPIES - 1) N / C visit it, so that an item costs
    N / C * (1/2 + COPIES - 1). Nobody visits where there is one cell.
    """
    count = cells(items)
    visits = COPIES - 1 if count > 1 else 0.0
    return items * (items / count) * (0.5 + visits)


def kmeans_products(items: int) -> float:
    """Dot products of the k-means on its sample: all centroids, or those of two storeys."""
    count = cells(items)
    sample = min(items, SAMPLE_PER_CELL * count)
    return KMEANS_PASSES * sample * (count if count <= FLAT_CELLS else 2 * sqrt(count))


def audit_products(items: int) -> float:
    """Dot products of the exact search of a sample against everything."""
    return float(min(items, AUDIT_ITEMS)) * items


def row_bytes(dim: int) -> int:
    """Bytes of one row by cell: a vector, what goes with it, its 8-bit code and the code's head."""
    code = ceil(dim / CODE_STEP) * CODE_STEP
    head = ceil(3 * code / (8 * HEAD_STEP)) * HEAD_STEP
    head = head if 2 * head <= code else 0
    return dim * VECTOR_BYTES + ROW_BYTES + code + head + CODE_BYTES


def rows_bytes(items: int, dim: int, copies: float = COPIES) -> float:
    """Bytes of all rows by cell, each once for every cell that it is in."""
    return items * copies * row_bytes(dim)


def edge_count(items: int) -> float:
    """Edges at or above the loosest level."""
    return items * EDGES_PER_ITEM


def driver_bytes(items: int) -> float:
    """What the machine that decides holds: union-find, and the decisions row by row."""
    return float(items) * (UNION_FIND_BYTES + DECISION_BYTES)


def dedup_work(items: int, dim: int, memory_gb: float, *, gpu: bool = False) -> list[Work]:
    """The steps of ``dedup`` by the cells method.

    Args:
        items: Items that take part, at least 1.
        dim: Width of the vectors, at least 1.
        memory_gb: What the search may hold, in GiB.
        gpu: Whether products are computed on GPUs.

    Returns:
        exact, centroids, assign + shuffle, compare, components, communities + keepers, audit.
    """
    memory = memory_gb * 2**30
    vectors, rows = float(items) * dim * VECTOR_BYTES, rows_bytes(items, dim)
    # Rows by cell, pairs and decisions stay in graph/, so that batches can be added: the files
    # are written whether or not they fit into memory. Up to one cell no graph is kept. "handle"
    # has nothing of these files: it comes from searches whose rows were in memory.
    more = cells(items) > 1
    kept = rows if more else 0.0
    edges = edge_count(items)
    held = min(memory, 2 * rows)
    read = Part("disk_read", vectors, Spread.DISK)
    handled = float(items) * dim
    return [
        Work("dedup: exact", (Part("exact", items, Spread.ONE),), memory_bytes=EXACT_BYTES * items),
        Work(
            "dedup: centroids",
            (*_products(kmeans_products(items), dim, gpu), read),
            memory_bytes=held,
        ),
        Work(
            "dedup: assign + shuffle",
            (
                *_products(assign_products(items), dim, gpu),
                Part("handle", handled * (1 - HANDLED_IN_COMPARISON)),
                read,
                *_disk("disk_write", kept),
            ),
            disk_bytes=kept,
            memory_bytes=held,
        ),
        Work(
            "dedup: compare",
            (
                *_products(compare_products(items), dim, gpu),
                Part("handle", handled * HANDLED_IN_COMPARISON),
                # Columns that nobody looks at are not read: an upper bound.
                *_disk("disk_read", kept),
            ),
            # In the table, and in the graph.
            disk_bytes=edges * EDGE_BYTES * (2 if more else 1),
            memory_bytes=held,
        ),
        Work(
            "dedup: components",
            (Part("components", edges, Spread.ONE), *_disk("disk_read", edges * EDGE_BYTES)),
            memory_bytes=float(items) * UNION_FIND_BYTES,
        ),
        Work(
            "dedup: communities + keepers",
            (Part("solve", items, Spread.ONE),),
            disk_bytes=float(items) * STATE_BYTES if more else 0.0,
            memory_bytes=driver_bytes(items),
        ),
        Work(
            "dedup: recall audit",
            (*_products(audit_products(items), dim, gpu), read),
            memory_bytes=held,
        ),
    ]


def search_products(items: int) -> float:
    """Dot products of a whole search."""
    return kmeans_products(items) + assign_products(items) + compare_products(items)


def _products(count: float, dim: int, gpu: bool) -> tuple[Part, Part]:
    """So many dot products, and the look at each result for whether it reaches the threshold."""
    spread, mark = (Spread.GPUS, "@gpu") if gpu else (Spread.CORES, "")
    return (
        Part(f"products{mark}", count * dim, spread, PRODUCT_EFFICIENCY),
        Part(f"scan{mark}", count, spread, PRODUCT_EFFICIENCY),
    )


def _disk(operation: str, amount: float) -> tuple[Part, ...]:
    return (Part(operation, amount, Spread.DISK),) if amount else ()
