"""``winnow filter explore``: counts of clauses and quantiles, against plain Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.console import Exit
from pipeline.filters.explore import LEVELS, explore_filters
from pipeline.query import read_table
from pipeline.registry import STAGES
from pipeline.state import StateReader
from stages.corpus import Committed, Corpus, Stamp
from stages.schemas import TABLES, schema_of
from stages.storage import Storage
from tests.pipeline.line import config_for, picture

CLAUSES = {
    "wide": "width >= 100",
    "sharp": "sharpness > 50",
    "pleasing": "aesthetic is null or aesthetic > 4.5",
    "cast": "CAST(alt_text AS INTEGER) > 3",
}
SOURCES = {"{}/0*": {"clauses": {"sharp": None, "wide": "width >= 200"}}}
COUNT = 40


def write(folder: Path) -> tuple[Any, Corpus, list[dict[str, Any]]]:
    """A corpus whose tables of ``ingest``, ``profile`` and ``score`` pass for up to date."""
    source = folder / "in"
    source.mkdir()
    for number in range(COUNT):
        picture(0, (8, 8)).save(source / f"{number:02d}.png")
    sources = {key.format(source): value for key, value in SOURCES.items()}
    config = config_for(
        str(source), str(folder / "out"), filter={"clauses": CLAUSES, "sources": sources}
    )
    from pipeline.runner import Runner

    Runner(config).run("ingest")
    corpus = Corpus(config.corpus, Storage())
    rng = np.random.default_rng(0)
    rows = []
    for item in read_table(corpus, "items").to_pylist():
        known = rng.random() < 0.7
        rows.append(
            {
                **item,
                "width": int(rng.integers(50, 300)),
                "alt_text": [None, "x", "2", "7"][int(rng.integers(4))],
                "sharpness": float(np.float32(rng.uniform(0, 150))),
                "aesthetic": float(np.float32(rng.uniform(2, 8))) if known else None,
            }
        )
    for name in ("profile", "score", "items"):
        commit(config, corpus, name, rows)
    return config, corpus, rows


def commit(config: Any, corpus: Corpus, table: str, rows: list[dict[str, Any]]) -> None:
    """Write rows with the recipe that the stage would have had."""
    reader = StateReader(config, corpus)
    state = None
    for stage in STAGES:
        state = reader.read(stage)
        if table in ("items" if stage.name == "ingest" else "", stage.name):
            break
    assert state is not None
    for partition, recipe in state.recipes.items():
        mine = [row for row in rows if row["item_id"] >> 20 == partition.part]
        schema = schema_of(table, [])
        columns = [{name: row.get(name) for name in schema.names} for row in mine]
        import pyarrow as pa

        content = pa.Table.from_pylist(columns, schema=TABLES[table])
        stamp = Stamp(recipe, recipe, len(mine), len(mine), 0)
        corpus.commit(state.stage.name, table, partition, Committed(content), stamp)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Corpus, list[dict[str, Any]]]:
    return write(tmp_path_factory.mktemp("explore"))


def fails(row: dict[str, Any], name: str, *, changed: bool) -> bool:
    """Whether a clause is false for a row; a cast that fails is no reason."""
    if name == "wide":
        return row["width"] < (200 if changed else 100)
    if name == "sharp":
        return not row["sharpness"] > 50
    if name == "pleasing":
        return row["aesthetic"] is not None and not row["aesthetic"] > 4.5
    return row["alt_text"] == "2"


def test_clauses_are_counted_alone_on_top_and_in_order(
    made: tuple[Any, Corpus, list[dict[str, Any]]],
) -> None:
    config, corpus, rows = made
    found = explore_filters(config, corpus)
    assert found.items == COUNT
    assert [rule.source is None for rule in found.rules] == [False, True]
    for rule, changed in zip(found.rules, (True, False), strict=True):
        mine = [row for row in rows if row["key"].startswith("0") == changed]
        names = [name for name in CLAUSES if not (changed and name == "sharp")]
        assert [each.name for each in rule.clauses] == names
        false = [{name for name in names if fails(r, name, changed=changed)} for r in mine]
        assert rule.items == len(mine)
        assert rule.passed == sum(not each for each in false)
        for place, each in enumerate(rule.clauses):
            before = set(names[:place])
            assert each.alone == sum(each.name in names_of for names_of in false)
            assert each.unique == sum(names_of == {each.name} for names_of in false)
            assert each.in_order == sum(
                each.name in names_of and not names_of & before for names_of in false
            )
    assert sum(rule.items for rule in found.rules) == COUNT


def test_quantiles_are_those_of_the_values(
    made: tuple[Any, Corpus, list[dict[str, Any]]],
) -> None:
    config, corpus, rows = made
    signals = {each.name: each for each in explore_filters(config, corpus).signals}
    for name in ("width", "sharpness", "aesthetic"):
        values = np.array([row[name] for row in rows if row[name] is not None], dtype=float)
        signal = signals[name]
        assert (signal.values, signal.missing) == (len(values), COUNT - len(values))
        assert (signal.minimum, signal.maximum) == (values.min(), values.max())
        expected = np.quantile(values, LEVELS)
        assert list(signal.quantiles.values()) == pytest.approx(expected.tolist())
    assert signals["nsfw"].quantiles == {}
    assert signals["nsfw"].minimum is None
    assert not {"item_id", "phash", "offset"} & set(signals)


def test_the_command_prints_a_table_or_json(
    made: tuple[Any, Corpus, list[dict[str, Any]]], tmp_path: Path
) -> None:
    config, _, _ = made
    file = tmp_path / "run.yaml"
    file.write_text(config.to_yaml())
    plain = CliRunner().invoke(app, ["filter", "explore", str(file)])
    assert plain.exit_code == Exit.DONE, plain.output
    for word in ("pleasing", "on top", "sharpness", "null for all images: "):
        assert word in plain.output
    result = CliRunner().invoke(app, ["filter", "explore", str(file), "--json"])
    parsed = json.loads(result.output)
    assert parsed["items"] == COUNT
    assert {each["name"] for each in parsed["signals"]} >= {"width", "aesthetic"}
    changed = ["--set", "filter.clauses.wide=width > 10000", "--json"]
    stricter = json.loads(
        CliRunner().invoke(app, ["filter", "explore", str(file), *changed]).output
    )
    assert stricter["rules"][-1]["clauses"][0]["alone"] == stricter["rules"][-1]["items"]


def test_what_has_not_run_and_what_cannot_work_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(0).save(tmp_path / "in" / "0.png")
    config = config_for(str(tmp_path / "in"), str(tmp_path / "out"))
    file = tmp_path / "run.yaml"
    file.write_text(config.to_yaml())
    result = CliRunner().invoke(app, ["filter", "explore", str(file)])
    assert result.exit_code == Exit.USAGE
    from pipeline.runner import Runner

    Runner(config).run("ingest")
    result = CliRunner().invoke(app, ["filter", "explore", str(file)])
    assert result.exit_code == Exit.USAGE
    words = " ".join(result.output.split())
    assert "profile and score must have run with this configuration" in words
    wrong = ["filter", "explore", str(file), "--set", "filter.clauses.x=widht > 1"]
    result = CliRunner().invoke(app, wrong)
    assert result.exit_code == Exit.USAGE
    assert "did you mean 'width'" in " ".join(result.output.split())
