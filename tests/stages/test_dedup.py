"""The dedup stage over a corpus on disk: what it reads, what it writes, what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from stages.batches import PLAN, plan_uri
from stages.contract import ConfigurationError, CorpusOutput, StageError
from stages.corpus import Committed, Corpus, Partition, Stamp, split_by_partition
from stages.dedup import DedupSettings, DedupStage
from stages.schemas import DEDUP, EDGES, EMBED, FILTER, ITEMS, PROFILE, SCORE, first_id
from stages.storage import Storage
from tests.dedup.planted import Array, groups_and_chains

#: The second partition's ids lie above 2**32.
PARTITIONS = (Partition(0, 0), Partition(1, 5000))


def table(schema: pa.Schema, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def build(folder: Path, vectors: list[list[float]], passed: list[bool]) -> Corpus:
    """A corpus whose items are split over two batches; larger pictures come later."""
    corpus = Corpus(str(folder), Storage())
    half = len(vectors) // 2
    for partition, rows in zip(PARTITIONS, (range(half), range(half, len(vectors))), strict=True):
        commit_partition(corpus, partition, vectors, rows, passed=passed)
    return corpus


def commit_partition(
    corpus: Corpus,
    partition: Partition,
    vectors: Any,
    rows: range,
    passed: list[bool] | None = None,
    fingerprint: str = "fingerprint",
) -> None:
    """Write what the stages before ``dedup`` would have written of some rows."""
    _plan(corpus, partition)
    ids = {row: first_id(partition.part) + at for at, row in enumerate(rows)}
    items = [
        {
            "item_id": item,
            "uri": f"{row}.png",
            "key": str(row),
            "sha256": f"{row:064x}",
            "bytes": 100,
            "width": 64 + row,
            "height": 64,
        }
        for row, item in ids.items()
    ]
    profile = [{"item_id": item, "phash": 2**63 + row} for row, item in ids.items()]
    embed = [
        {"item_id": item, "vector": [float(x) for x in vectors[row]]} for row, item in ids.items()
    ]
    flags = [
        {"item_id": item, "passed": passed is None or passed[row]} for row, item in ids.items()
    ]
    stamp = Stamp("recipe", fingerprint, len(rows), len(rows), 0)
    for name, content in (
        ("items", table(ITEMS, items)),
        ("profile", table(PROFILE, profile)),
        ("embed", table(EMBED, embed)),
        ("score", table(SCORE, [{"item_id": item} for item in ids.values()])),
        ("filter", table(FILTER, flags)),
    ):
        corpus.commit(name, name, partition, Committed(content), stamp)


def _plan(corpus: Corpus, partition: Partition) -> None:
    rows = table(PLAN, [{"part": partition.part}])
    with corpus.storage.writer(plan_uri(corpus.uri, partition.batch)) as stream:
        pq.write_table(rows, stream)


def run(corpus: Corpus, **settings: Any) -> CorpusOutput:
    """Run the stage; of two batches neither comes first."""
    stage = DedupStage(DedupSettings(keep_earlier=False, **settings), corpus.storage)
    stage.check()
    return stage.run(corpus, None, "recipe")  # type: ignore[arg-type]


def vectors_of(seed: int) -> Array:
    return groups_and_chains(np.random.default_rng(seed), groups=10, chains=4, width=16)


def test_the_tables_of_a_corpus_with_large_ids(tmp_path: Path) -> None:
    vectors = vectors_of(0)
    corpus = build(tmp_path, vectors.tolist(), [True] * len(vectors))

    output = run(corpus, threshold=0.9)

    decided, edges = output.tables["dedup"], output.tables["edges"]
    assert (decided.schema, edges.schema) == (DEDUP, EDGES)
    ids = decided["item_id"].to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == len(vectors)
    assert max(ids) > 2**32
    row_of = {item: row for row, item in enumerate(ids)}
    kept = {row["item_id"] for row in decided.to_pylist() if row["keep"]}
    removed = [row for row in decided.to_pylist() if not row["keep"]]
    assert removed
    for row in removed:
        assert row["witness_id"] in kept
        # The larger picture is kept, and larger ones come later here.
        assert row["witness_id"] > row["item_id"]
        pair = vectors[[row_of[row["item_id"]], row_of[row["witness_id"]]]].astype(np.float64)
        assert pair[0] @ pair[1] >= 0.9 - 2e-3
    assert output.metrics["kept"] == len(kept)
    assert output.metrics["method"] == "cells"
    assert output.metrics["recall"] == 1.0
    across = [row for row in edges.to_pylist() if row["src"] < 2**20 < row["dst"]]
    assert across
    for name in ("dedup", "edges"):
        pieces = split_by_partition(
            output.tables[name], PARTITIONS, output.tables[name].column_names[0]
        )
        assert sum(piece.num_rows for piece in pieces.values()) == output.tables[name].num_rows


def test_only_what_passed_the_filter_competes(tmp_path: Path) -> None:
    one = [1.0, 0.0]
    corpus = build(tmp_path, [one, one, one], [True, True, False])
    decided = run(corpus).tables["dedup"].to_pylist()
    assert len(decided) == 2
    # The largest did not pass; the second largest is kept.
    assert [row["keep"] for row in decided] == [False, True]


def test_threshold_policy_and_levels_reach_the_engine(tmp_path: Path) -> None:
    vectors = vectors_of(1)
    corpus = build(tmp_path, vectors.tolist(), [True] * len(vectors))
    strict = run(corpus, threshold=0.99).metrics["kept"]
    loose = run(corpus, threshold=0.8, levels={"variant": 0.7, "subject": 0.2})
    assert loose.metrics["kept"] < strict
    assert loose.metrics["floor"] == 0.2
    smallest = run(corpus, threshold=0.8, keep="phash").tables["dedup"].to_pylist()
    assert all(row["witness_id"] < row["item_id"] for row in smallest if not row["keep"])


def test_an_empty_corpus_and_one_where_nothing_passed(tmp_path: Path) -> None:
    for corpus in (
        Corpus(str(tmp_path / "none"), Storage()),
        build(tmp_path / "dropped", [[1.0, 0.0]] * 4, [False] * 4),
    ):
        output = run(corpus)
        assert output.tables["dedup"].equals(DEDUP.empty_table())
        assert output.tables["edges"].equals(EDGES.empty_table())


def test_vectors_of_two_models_are_refused(tmp_path: Path) -> None:
    corpus = build(tmp_path, [[1.0, 0.0], [1.0, 0.0, 0.0]], [True, True])
    with pytest.raises(StageError, match="stage dedup: vectors differ in length"):
        run(corpus)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.3}, "less than or equal to 1"),
        ({"phash_distance": 33}, "less than or equal to 32"),
        (
            {"threshold": 0.9, "levels": {"variant": 0.95}},
            "variant must be lower than the level above it, 0.9",
        ),
        ({"graph": {"k": 64, "max_k": 32}}, "max_k must be at least k = 64, got 32"),
        ({"graph": {"method": "hnsw"}}, "faiss-ivf"),
        ({"communities": {"within": "cluster"}}, "'component' or 'community'"),
        ({"treshold": 0.9}, "treshold"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DedupSettings(**settings)


def test_any_threshold_alone_is_valid_and_threads_do_not_shape_the_output() -> None:
    for threshold in (-1.0, 0.0, 0.5, 1.0):
        assert DedupSettings(threshold=threshold).options().floor <= threshold
    one, four = DedupSettings(threads=1), DedupSettings(threads=4)
    assert one.fingerprint_fields() == four.fingerprint_fields()
    assert four.options().graph.threads == 4


def test_a_policy_over_unknown_columns_fails_before_anything_runs() -> None:
    stage = DedupStage(DedupSettings(keep="beauty desc"), Storage())
    with pytest.raises(ConfigurationError, match=r"'beauty desc' .* columns: aesthetic, aigc"):
        stage.check()
