"""Tables and SQL over a finished corpus."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import Config
from pipeline.query import encode, query, read_table, table_names, write_rows
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.schemas import TABLES
from stages.storage import Storage


@pytest.fixture
def corpus(small_run: Config) -> Corpus:
    return Corpus(small_run.corpus, Storage())


def test_every_table_can_be_read_and_asked(corpus: Corpus) -> None:
    written = set(TABLES) - {"pairs", "paired"}  # off by default
    assert set(table_names(corpus)) == written
    for name in sorted(written):
        rows = read_table(corpus, name)
        assert rows.column_names == TABLES[name].names
        counted = query(corpus, f"select count(*) as n from {name}").to_pylist()
        assert counted == [{"n": rows.num_rows}]


def test_columns_of_items_are_lent_to_other_tables(corpus: Corpus) -> None:
    rows = read_table(corpus, "dedup", ["uri", "keep", "width"])
    assert rows.column_names == ["uri", "keep", "width"]
    items = {row["uri"]: row for row in read_table(corpus, "items").to_pylist()}
    decided = {row["item_id"]: row["keep"] for row in read_table(corpus, "dedup").to_pylist()}
    assert rows.num_rows == len(decided)
    for row in rows.to_pylist():
        assert row["width"] == items[row["uri"]]["width"]
        assert row["keep"] == decided[items[row["uri"]]["item_id"]]


def test_an_item_that_never_became_one_has_nulls_to_lend(corpus: Corpus) -> None:
    rows = read_table(corpus, "quarantine", ["uri", "reason", "width"]).to_pylist()
    assert {row["reason"] for row in rows} == {"truncated", "empty", "not_an_image"}
    assert {row["width"] for row in rows} == {None}


def test_rows_come_in_the_order_of_items_whatever_is_asked_for(corpus: Corpus) -> None:
    whole = read_table(corpus, "dedup")
    assert whole.column("item_id").to_pylist() == sorted(whole.column("item_id").to_pylist())
    assert read_table(corpus, "dedup", ["keep"]).column("keep") == whole.column("keep")
    edges = read_table(corpus, "edges").select(["src", "dst"]).to_pylist()
    assert edges == sorted(edges, key=lambda row: (row["src"], row["dst"]))


def test_unknown_names_list_the_known_ones(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no table 'dedupe'; the tables are items, "):
        read_table(corpus, "dedupe")
    with pytest.raises(ConfigurationError, match="no column 'kep'; it has item_id, .*from items "):
        read_table(corpus, "dedup", ["kep"])
    with pytest.raises(ConfigurationError, match="table 'edges' has no column 'uri'"):
        read_table(corpus, "edges", ["src", "uri"])
    with pytest.raises(ConfigurationError, match="has not been written: run the stage"):
        read_table(Corpus(str(tmp_path / "empty"), Storage()), "items")


@pytest.mark.parametrize("name", ["embed", "ocr", "caption", "profile", "quarantine"])
def test_rows_survive_every_format(corpus: Corpus, tmp_path: Path, name: str) -> None:
    rows = read_table(corpus, name)
    assert rows.num_rows
    expected = rows.to_pylist()
    write_rows(Storage(), rows, str(tmp_path / "x.parquet"))
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == expected
    lines = encode(rows, "x.jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == expected
    table = list(csv.DictReader(io.StringIO(encode(rows, "x.csv").decode())))
    assert len(table) == rows.num_rows
    for got, row in zip(table, expected, strict=True):
        for column, value in row.items():
            if isinstance(value, list):
                assert json.loads(got[column]) == value
            elif isinstance(value, str):
                assert got[column] == value


def test_another_ending_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ConfigurationError, match=r"must end in one of \.parquet, \.csv, \.jsonl"):
        encode(read_table(corpus, "filter"), "x.xlsx")


def test_sql_joins_tables_in_any_case(corpus: Corpus) -> None:
    rows = query(
        corpus,
        "SELECT i.key, D.keep, len(vector) AS d FROM ITEMS i JOIN Dedup D USING (item_id) "
        "JOIN embed USING (item_id) ORDER BY item_id",
    )
    assert rows.column_names == ["key", "keep", "d"]
    assert set(rows.column("d").to_pylist()) == {256}
    reasons = query(corpus, "select reason, count(*) n from quarantine group by 1 order by 1")
    assert reasons.to_pylist() == [
        {"reason": "empty", "n": 1},
        {"reason": "not_an_image", "n": 1},
        {"reason": "truncated", "n": 1},
    ]
    near = query(corpus, "select min(similarity) >= -1 as fine from edges")
    assert near.to_pylist() == [{"fine": True}]


def test_columns_of_one_name_are_told_apart(corpus: Corpus) -> None:
    joined = "select i.item_id, d.item_id, i.key from items i join dedup d using (item_id)"
    assert query(corpus, joined).column_names == ["item_id", "item_id_1", "key"]
    assert query(corpus, "select 1 a, 2 a_1, 3 a").to_pylist() == [{"a": 1, "a_1": 2, "a_2": 3}]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("selec 1", "syntax error"),
        ("select nothing from items", "nothing"),
        ("select * from no_such_table", "no_such_table"),
        ("select cast(uri as int) from items", "Could not convert"),
    ],
)
def test_bad_sql_says_what_is_wrong_and_which_tables_there_are(
    corpus: Corpus, statement: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        query(corpus, statement)
    assert "tables of" in str(caught.value)


def test_a_query_reaches_nothing_but_the_tables(corpus: Corpus, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    local = pa.table({"x": [1]})
    target = tmp_path / "out.csv"
    for statement in (
        f"select * from read_csv('{secret}')",
        f"select * from '{secret}'",
        f"copy (select 1) to '{target}'",
        f"attach '{tmp_path / 'other.db'}' as other",
        f"set enable_external_access = true; select * from read_csv('{secret}')",
        "select * from local",
    ):
        with pytest.raises(ConfigurationError):
            query(corpus, statement)
    assert local.num_rows == 1
    assert not target.exists()
    assert not (tmp_path / "other.db").exists()
