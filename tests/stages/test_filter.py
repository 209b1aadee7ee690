"""The filter stage: who is dropped, by which clause, and what no clause may do."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.query import read_table
from pipeline.runner import Runner
from stages.contract import ConfigurationError, Output, StageError
from stages.corpus import Corpus
from stages.filter import DEFAULT_CLAUSES, FilterSettings, FilterStage
from stages.filtering.clauses import clause_schema
from stages.schemas import FILTER
from stages.score import ScoreSettings
from stages.storage import Storage
from tests.pipeline.line import config_for


def stage(clauses: dict[str, str]) -> FilterStage:
    return FilterStage(FilterSettings(clauses=clauses), Storage())


def rows(*values: dict[str, Any]) -> pa.Table:
    numbered = [{"item_id": index, **value} for index, value in enumerate(values)]
    return pa.Table.from_pylist(numbered, schema=clause_schema())


def dropped(output: Output) -> list[str | None]:
    return output.rows["clause"].to_pylist()


SIZES = st.one_of(st.none(), st.integers(1, 200))
SCORES = st.one_of(st.none(), st.floats(0, 10, width=32))
CLAUSES = {
    "wide": "width >= 50",
    "shape": "width <= 3 * height",
    "score": "aesthetic > 4.5",
    "either": "contrast > 2 or height > 100",
}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(SIZES, SIZES, SCORES, SCORES), max_size=30),
    st.permutations(sorted(CLAUSES)),
    st.integers(0, 4),
)
def test_every_item_passes_all_clauses_or_fails_the_first_it_names(
    values: list[tuple[Any, ...]], order: list[str], count: int
) -> None:
    table = rows(
        *({"width": w, "height": h, "aesthetic": a, "contrast": c} for w, h, a, c in values)
    )
    clauses = {name: CLAUSES[name] for name in order[:count]}
    output = stage(clauses).process(table)
    assert output.quarantined == []
    assert output.rows.schema == FILTER
    assert output.rows["item_id"].to_pylist() == table["item_id"].to_pylist()
    database = duckdb.connect()
    for row in output.rows.to_pylist():
        database.register("one", table.filter(pc.equal(table["item_id"], row["item_id"])))
        results = {
            name: database.execute(f"SELECT {sql} FROM one").fetchall()[0][0]
            for name, sql in clauses.items()
        }
        failed = [name for name, value in results.items() if value is False]
        assert row["clause"] == (failed[0] if failed else None)
        assert row["passed"] == (not failed)


def test_null_passes_and_order_names_the_clause() -> None:
    table = rows({"width": 10, "height": 10}, {"width": 10, "height": 90}, {"aesthetic": 1.0})
    clauses = {"w": "width >= 50", "h": "height >= 50", "a": "aesthetic > 4.5"}
    assert dropped(stage(clauses).process(table)) == ["w", "w", "a"]
    backwards = dict(reversed(clauses.items()))
    assert dropped(stage(backwards).process(table)) == ["h", "w", "a"]
    assert stage({}).process(table).rows["passed"].to_pylist() == [True] * 3


def test_rows_keep_their_order_when_there_are_many() -> None:
    table = rows(*({"width": index % 7} for index in range(10_000)))
    output = stage({"w": "width <> 3"}).process(table)
    assert dropped(output) == ["w" if index % 7 == 3 else None for index in range(10_000)]


def test_default_clauses_keep_a_photo_and_drop_what_they_name() -> None:
    photo = {
        "width": 640,
        "height": 480,
        "size_ratio": 0.09,
        "jpeg_quality": 90,
        "contrast": 55.0,
        "entropy": 7.3,
        "letterbox": 0.2,
    }
    changes: dict[str, dict[str, Any]] = {
        "min_side": {"width": 63},
        "max_aspect": {"width": 4801, "height": 1200},
        "not_blank": {"contrast": 0.5},
        "not_crushed": {"size_ratio": 0.001},
        "min_jpeg_quality": {"jpeg_quality": 4},
        "max_letterbox": {"letterbox": 0.6},
    }
    assert set(changes) == set(DEFAULT_CLAUSES)
    defaults = FilterStage(FilterSettings(), Storage())
    defaults.check()
    table = rows(photo, *({**photo, **change} for change in changes.values()))
    assert dropped(defaults.process(table)) == [None, *changes]


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        ("widht >= 50", "no column 'widht'; did you mean 'width'.*columns are item_id, .*phash"),
        ("width", "gives INTEGER, but must give true or false"),
        ("width >", "syntax error"),
        ("", "must be one expression"),
        ("true); DROP TABLE row; SELECT (true", "must be one expression"),
        ("width > avg(width)", "cannot contain aggregates"),
        ("row_number() OVER () < 5", "cannot contain window functions"),
        ("width > (SELECT 5)", "subquery"),
        ("random() < 0.5", r"random\(\), which differs from run to run"),
        ("(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "file system operations"),
        ("(SELECT count(*) FROM '/etc/passwd') > 0", "filter.clauses.c = "),
    ],
)
def test_a_clause_that_cannot_work_is_refused_before_anything_runs(
    clause: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        stage({"good": "width > 1", "c": clause}).check()
    assert "filter.clauses.c" in str(error.value)


def test_comments_json_and_quotes_are_plain_sql() -> None:
    clauses = {"a": "width > 3 -- small", "b": "meta->>'$.licence' = 'cc0' or meta is null"}
    table = rows({"width": 5, "meta": '{"licence": "cc0"}'}, {"width": 5, "meta": "{}"}, {})
    clauses_stage = stage(clauses)
    clauses_stage.check()
    assert dropped(clauses_stage.process(table)) == [None, None, None]
    table = rows({"width": 5, "meta": '{"licence": "by-nc"}'})
    assert dropped(clauses_stage.process(table)) == ["b"]


def test_a_clause_that_fails_on_a_row_is_named_and_earlier_clauses_guard_it() -> None:
    table = rows({"key": "12", "width": 1}, {"key": "x", "width": 0})
    with pytest.raises(StageError, match=r"filter\.clauses\.c = .*Could not convert string 'x'"):
        stage({"c": "CAST(key AS INTEGER) > 3"}).process(table)
    guarded = stage({"w": "width > 0", "c": "CAST(key AS INTEGER) > 3"})
    assert dropped(guarded.process(table)) == [None, "w"]


def test_the_order_of_clauses_is_part_of_the_fingerprint() -> None:
    one = FilterSettings(clauses={"a": "width > 1", "b": "height > 1"})
    other = FilterSettings(clauses={"b": "height > 1", "a": "width > 1"})
    assert one.fingerprint_fields() != other.fingerprint_fields()


PATTERNS = {
    "/in/a": {"wide": None, "tall": "height >= 120"},
    "/in/b/*.png": {"score": "aesthetic > 8", "wide": "width >= 10"},
    "s3://[bc]*": {"added": "contrast > 5", "shape": None},
}
URIS = [
    ("/in/a", "/in/a/deep/1.jpg"),
    ("/in/b", "/in/b/x/2.png"),
    ("/in/b", "/in/b/3.jpg"),
    ("/in/b", "/in/b/it's [4].png"),
    ("s3://bucket/x", "s3://bucket/x/5.tar"),
    ("s3://abc", "s3://abc/6.tar"),
    (None, None),
]


def clauses_of(source: str | None, uri: str | None) -> dict[str, str]:
    """The clauses that should hold, said in Python."""
    chosen: dict[str, str | None] = {}
    if source == "/in/a":
        chosen = PATTERNS["/in/a"]
    elif uri and uri.startswith("/in/b/") and uri.endswith(".png"):
        chosen = PATTERNS["/in/b/*.png"]
    elif uri and (uri.startswith(("s3://b", "s3://c"))):
        chosen = PATTERNS["s3://[bc]*"]
    mixed = {**CLAUSES, **chosen}
    return {name: sql for name, sql in mixed.items() if sql is not None}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(URIS), SIZES, SIZES, SCORES, SCORES), min_size=1, max_size=16
    )
)
def test_kept_and_filtered_are_all_and_the_named_clause_is_the_first_that_is_false(
    values: list[tuple[Any, ...]],
) -> None:
    table = rows(
        *(
            {"source": s, "uri": u, "width": w, "height": h, "aesthetic": a, "contrast": c}
            for (s, u), w, h, a, c in values
        )
    )
    sources = {name: {"clauses": changes} for name, changes in PATTERNS.items()}
    chosen = FilterStage(FilterSettings(clauses=CLAUSES, sources=sources), Storage())
    chosen.check()
    output = chosen.process(table).rows
    kept = output.filter(output["passed"])["item_id"].to_pylist()
    filtered = output.filter(pc.invert(output["passed"]))["item_id"].to_pylist()
    assert sorted(kept + filtered) == table["item_id"].to_pylist()
    assert output["item_id"].to_pylist() == table["item_id"].to_pylist()
    database = duckdb.connect()
    for row, ((source, uri), *_) in zip(output.to_pylist(), values, strict=True):
        database.register("one", table.filter(pc.equal(table["item_id"], row["item_id"])))
        held = clauses_of(source, uri)
        results = database.execute(f"SELECT {', '.join(held.values())} FROM one").fetchall()[0]
        verdicts = dict(zip(held, results, strict=True))
        if row["passed"]:
            assert row["clause"] is None
            assert False not in verdicts.values()
            continue
        before = list(held)[: list(held).index(row["clause"])]
        assert verdicts[row["clause"]] is False
        assert all(verdicts[name] is not False for name in before)


def test_the_first_source_that_fits_holds_and_relative_paths_do_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "photos")
    table = rows(
        {"source": place, "uri": f"{place}/1.jpg", "width": 70},
        {"source": place, "uri": f"{place}/2.png", "width": 70},
        {"source": "/elsewhere", "uri": "/elsewhere/3.jpg", "width": 70},
    )
    sources = {
        "photos/*.png": {"clauses": {"w": "width > 90"}},
        "photos": {"clauses": {"w": None}},
    }
    both = FilterStage(FilterSettings(clauses={"w": "width > 80"}, sources=sources), Storage())
    assert dropped(both.process(table)) == [None, "w", "w"]
    turned = dict(reversed(sources.items()))
    other = FilterStage(FilterSettings(clauses={"w": "width > 80"}, sources=turned), Storage())
    assert dropped(other.process(table)) == [None, None, "w"]
    assert both.settings.fingerprint_fields() != other.settings.fingerprint_fields()


def test_mistakes_in_sources_are_named() -> None:
    with pytest.raises(ValidationError, match="x.clauses.w is null, but there is no clause 'w'"):
        FilterSettings(clauses={}, sources={"x": {"clauses": {"w": None}}})
    wrong = {"s3://a": {"clauses": {"w": "widht > 1"}}}
    with pytest.raises(
        ConfigurationError, match=r"filter.sources.s3://a.clauses.w = .*did you mean 'width'"
    ):
        FilterStage(FilterSettings(sources=wrong), Storage()).check()


def test_scores_of_further_heads_are_columns() -> None:
    heads = ScoreSettings(heads={"glare": {"file": "x"}})
    told = FilterSettings(clauses={"g": "glare < 0.5"}).beside({"score": heads})
    FilterStage(told, Storage()).check()
    with pytest.raises(ConfigurationError, match="no column 'glare'"):
        stage({"g": "glare < 0.5"}).check()
    table = pa.Table.from_pylist(
        [{"item_id": 0, "glare": 0.9}, {"item_id": 1, "glare": None}], schema=told.columns
    )
    assert dropped(FilterStage(told, Storage()).process(table)) == ["g", None]


def test_the_defaults_drop_none_of_the_real_photographs(photos: Path, tmp_path: Path) -> None:
    some = sorted(photos.rglob("*.jpg"))[::20]
    for number, path in enumerate(some):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.jpg").write_bytes(path.read_bytes())
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    for name in ("ingest", "profile", "score", "filter"):
        Runner(config).run(name)
    found = read_table(Corpus(config.corpus, Storage()), "filter")
    assert found.num_rows == len(some)
    assert pc.all(found["passed"]).as_py()
