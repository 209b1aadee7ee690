"""``winnow plan`` against what ``dedup`` keeps on disk: the graph of a corpus, file by file."""

from __future__ import annotations

from pathlib import Path

import pytest

import stages.graph
from dedup.cells import graph as engine
from dedup.cells.state import load
from pipeline.plan.model import EDGE_BYTES, STATE_BYTES, rows_bytes
from pipeline.plan.operations import planted
from stages.corpus import Corpus, Partition
from stages.dedup import DedupSettings
from stages.deduplication import deduplicate_corpus
from stages.graph import CorpusStore
from stages.storage import Storage
from tests.stages.test_dedup import commit_partition
from tests.stages.test_dedup_graph import Serial

ITEMS, DIM = 4000, 128


def bytes_of(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def test_the_kept_graph_is_as_large_as_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ONE_CELL", 1000)
    monkeypatch.setattr(engine, "CELL_ROWS", 128)
    monkeypatch.setattr(stages.graph, "BLOCK_ROWS", 2000)
    corpus = Corpus(str(tmp_path), Storage())
    vectors = planted(ITEMS, DIM)
    for batch, rows in enumerate((range(ITEMS // 2), range(ITEMS // 2, ITEMS))):
        commit_partition(corpus, Partition(batch, batch), vectors, rows)

    options = DedupSettings(threshold=0.9, audit=0).options()
    decided = deduplicate_corpus(corpus, options, Serial(), small=1000)

    folder = tmp_path / "graph"
    state = (folder / "state.npz").read_bytes()
    graph, _ = load(state, CorpusStore(Storage(), str(folder)))
    assert graph.plan.layout.dtype == "float16"
    assert graph.plan.layout.codes
    copies = graph.written / ITEMS
    assert copies > 1.2  # or they would not be seen in the bytes
    # 44 bytes of a row more than is reckoned with: the list of 16 cells that it may visit.
    kept = bytes_of(folder, "block-*.arrow")
    predicted = rows_bytes(ITEMS, DIM, copies)
    assert predicted <= kept <= 1.12 * predicted
    # The centroids are not counted: of cells of a thousand rows they are few bytes an item.
    centroids = graph.plan.index.centroids.nbytes
    assert len(state) - centroids == pytest.approx(ITEMS * STATE_BYTES, rel=0.1)
    pairs = decided.edges.num_rows * EDGE_BYTES
    assert bytes_of(folder, "edges-*.arrow") == pytest.approx(pairs, rel=0.1)
    whole = predicted + pairs + ITEMS * STATE_BYTES
    assert bytes_of(folder, "*.*") == pytest.approx(whole, rel=0.12)
