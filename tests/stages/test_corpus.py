"""Corpus: joins, cuts, stamps and digests of columns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.contract import Quarantined, Reads, Reason, StageError
from stages.corpus import (
    Committed,
    Corpus,
    Partition,
    Stamp,
    column_digests,
    digest,
    split_by_partition,
)
from stages.schemas import EDGES, FILTER, TABLES, first_id
from stages.storage import Storage

PARTITIONS = [Partition(0, 0), Partition(0, 1), Partition(3, 2)]
STAMP = Stamp("recipe", "fingerprint", 3, 3, 0)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(str(tmp_path / "corpus"), Storage())


def rows_of(table: str, ids: list[int], **columns: list[object]) -> pa.Table:
    """Rows of a table; columns not given are null."""
    schema = TABLES[table]
    values = {"item_id": ids, **columns}
    return pa.table(
        [pa.array(values.get(each.name, [None] * len(ids)), each.type) for each in schema],
        schema=schema,
    )


def put(corpus: Corpus, table: str, partition: Partition, rows: pa.Table) -> None:
    corpus.commit(table, table, partition, Committed(rows), STAMP)


def test_a_join_takes_items_that_all_tables_have_and_hold_true(corpus: Corpus) -> None:
    first = PARTITIONS[0]
    put(corpus, "items", first, rows_of("items", [1, 2, 3, 5], width=[10, 20, 30, 50]))
    put(corpus, "profile", first, rows_of("profile", [2, 3, 5], sharpness=[0.5, 0.25, 1.0]))
    passed: list[object] = [True, True, False, None]
    put(corpus, "filter", first, rows_of("filter", [1, 2, 3, 5], passed=passed))
    reads = (
        Reads("profile", ("sharpness",)),
        Reads("items", ("width",)),
        Reads("filter", (), where="passed"),
    )
    joined = corpus.join(reads, first)
    assert joined.to_pylist() == [{"item_id": 2, "sharpness": 0.5, "width": 20}]
    assert joined.column_names == ["item_id", "sharpness", "width"]
    unfiltered = corpus.join(reads[:2], first)
    assert unfiltered.column("item_id").to_pylist() == [2, 3, 5]
    with_clause = corpus.join((Reads("filter", ("passed",), where="passed"),), first)
    assert with_clause.column_names == ["item_id", "passed"]


def test_a_join_of_all_partitions_is_empty_and_typed_where_there_are_none(corpus: Corpus) -> None:
    joined = corpus.join((Reads("items", ("uri", "width")), Reads("embed", ("vector",))))
    assert joined.num_rows == 0
    assert joined.schema.field("vector").type == pa.list_(pa.float16())


def test_a_column_that_two_tables_have_is_refused(corpus: Corpus) -> None:
    first = PARTITIONS[0]
    put(corpus, "ocr", first, rows_of("ocr", [1]))
    with pytest.raises(ValueError, match="two tables of the join both have a column 'text'"):
        corpus.join((Reads("ocr", ("text",)), Reads("ocr", ("text",))), first)


@settings(max_examples=60, deadline=None)
@given(
    ids=st.sets(st.integers(0, 2), max_size=3).flatmap(
        lambda parts: st.sets(
            st.tuples(st.sampled_from(sorted(parts) or [0]), st.integers(0, (1 << 20) - 1)),
            max_size=30,
        )
    ),
    seed=st.integers(0, 1000),
)
def test_cutting_by_partition_loses_and_reorders_nothing(
    ids: set[tuple[int, int]], seed: int
) -> None:
    items = [first_id(part) + row for part, row in sorted(ids)]
    shuffled = np.random.default_rng(seed).permutation(np.array(items, dtype=np.int64))
    pieces = split_by_partition(
        rows_of("filter", shuffled.tolist(), clause=[str(each) for each in shuffled]), PARTITIONS
    )
    assert list(pieces) == PARTITIONS
    assert [x for each in pieces.values() for x in each["item_id"].to_pylist()] == items
    for partition, piece in pieces.items():
        assert {each >> 20 for each in piece["item_id"].to_pylist()} <= {partition.part}
        assert piece["clause"].to_pylist() == [str(each) for each in piece["item_id"].to_pylist()]


def test_edges_are_cut_by_their_first_id_and_ordered_by_both() -> None:
    far = first_id(1)
    edges = pa.table([[far, 2, 2], [1, far, 1], [0.9, 0.8, 0.7]], schema=EDGES)
    pieces = split_by_partition(edges, PARTITIONS, "src")
    assert pieces[PARTITIONS[0]].select(["src", "dst"]).to_pylist() == [
        {"src": 2, "dst": 1},
        {"src": 2, "dst": far},
    ]
    assert pieces[PARTITIONS[1]]["src"].to_pylist() == [far]


def test_a_row_of_no_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 rows belong to no partition"):
        split_by_partition(rows_of("filter", [1, first_id(7)]), PARTITIONS)


cells = st.one_of(
    st.tuples(st.just(pa.int64()), st.lists(st.none() | st.integers(-9, 9), max_size=40)),
    st.tuples(st.just(pa.bool_()), st.lists(st.none() | st.booleans(), max_size=40)),
    st.tuples(st.just(pa.string()), st.lists(st.none() | st.text(max_size=4), max_size=40)),
    st.tuples(
        st.just(pa.list_(pa.float32())),
        st.lists(st.none() | st.lists(st.floats(width=32, allow_nan=False), max_size=3)),
    ),
)


@settings(max_examples=150, deadline=None)
@given(column=cells, data=st.data())
def test_a_digest_is_of_values_and_of_nothing_else(
    column: tuple[pa.DataType, list[object]], data: st.DataObject
) -> None:
    kind, values = column
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    middle = data.draw(st.integers(start, stop))
    whole = pa.table({"x": pa.array(values, kind)})
    plain = column_digests(pa.table({"x": pa.array(values[start:stop], kind)}))
    assert column_digests(whole.slice(start, stop - start)) == plain
    chunks = [whole.slice(start, middle - start), whole.slice(middle, stop - middle)]
    assert column_digests(pa.concat_tables(chunks)) == plain
    if start < stop:
        other = [*values[start : stop - 1], None if values[stop - 1] is not None else _some(kind)]
        assert column_digests(pa.table({"x": pa.array(other, kind)})) != plain


def _some(kind: pa.DataType) -> object:
    return [1.0] if pa.types.is_list(kind) else {"int64": 1, "bool": True, "string": "x"}[str(kind)]


def test_what_lies_under_nulls_does_not_count() -> None:
    hidden = pa.array(np.arange(5), mask=np.array([True, False, True, False, True]))
    assert column_digests(pa.table({"x": hidden})) == column_digests(
        pa.table({"x": pa.array([None, 1, None, 3, None], pa.int64())})
    )


def test_a_digest_tells_types_and_columns_apart() -> None:
    small = column_digests(pa.table({"a": pa.array([1], pa.int32()), "b": pa.array([1])}))
    assert small["a"] != small["b"]
    assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
    assert digest("a", "bc") != digest("ab", "c")


def test_stamps_come_from_footers_and_from_the_mark_alike(corpus: Corpus) -> None:
    stamps = {}
    for number, partition in enumerate(PARTITIONS):
        stamps[partition] = Stamp(f"r{number}", f"f{number}", 1, 1, 0, {"passed": "x"})
        rows = rows_of("filter", [first_id(partition.part)])
        corpus.commit("filter", "filter", partition, Committed(rows), stamps[partition])
    assert corpus.stamps("filter") == stamps
    for batch in (0, 3):
        assert not corpus.is_complete("filter", batch)
        whole = {each: stamp for each, stamp in stamps.items() if each.batch == batch}
        corpus.complete("filter", batch, whole)
        assert corpus.is_complete("filter", batch)
    assert corpus.stamps("filter") == stamps
    assert corpus.stamps("profile") == {}


def test_a_marked_batch_is_not_opened_file_by_file(corpus: Corpus) -> None:
    for partition in PARTITIONS[:2]:
        put(corpus, "filter", partition, rows_of("filter", [first_id(partition.part)]))
    corpus.complete("filter", 0, corpus.stamps("filter"))
    for partition in PARTITIONS[:2]:
        path = Path(corpus.table_uri("filter", partition))
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(b"not Parquet any more")
        os.utime(path, ns=times)
    assert set(corpus.stamps("filter")) == set(PARTITIONS[:2])


def test_a_partition_removed_by_hand_is_not_in_the_stamps(corpus: Corpus) -> None:
    for partition in PARTITIONS[:2]:
        put(corpus, "filter", partition, rows_of("filter", [first_id(partition.part)]))
    corpus.complete("filter", 0, corpus.stamps("filter"))
    corpus.drop("filter", PARTITIONS[1])
    assert set(corpus.stamps("filter")) == {PARTITIONS[0]}
    with pytest.raises(StageError, match="has no batch 0 partition 1.*run the stage"):
        corpus.read("filter", PARTITIONS[1])


def test_foreign_and_damaged_files_are_named(corpus: Corpus) -> None:
    path = Path(corpus.table_uri("filter", PARTITIONS[0]))
    path.parent.mkdir(parents=True)
    pq.write_table(FILTER.empty_table(), path)
    with pytest.raises(StageError, match=r"part-00000\.parquet was not written by winnow: move"):
        corpus.stamps("filter")
    path.write_bytes(b"junk")
    with pytest.raises(StageError, match=r"part-00000\.parquet is damaged"):
        corpus.stamps("filter")


def test_a_commit_replaces_an_earlier_quarantine(corpus: Corpus) -> None:
    first = PARTITIONS[0]
    taken = [Quarantined(each, "u", "k", Reason.EMPTY, "none") for each in (5, 2)]
    corpus.commit("filter", "filter", first, Committed(rows_of("filter", [1]), taken), STAMP)
    found = corpus.read_quarantine("filter", first)
    assert found.column("item_id").to_pylist() == [2, 5]
    assert found.column("stage").to_pylist() == ["filter", "filter"]
    put(corpus, "filter", first, rows_of("filter", [1, 2, 5]))
    assert corpus.read_quarantine("filter", first).num_rows == 0
    assert not corpus.storage.exists(corpus.quarantine_uri("filter", first))
