"""Every file of a folder of real photographs has exactly one outcome, by the tables alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.conftest import ROOT

# Written against the files on disk, not against the code that made them.
_OUTCOMES = """
with quarantined as (select item_id, uri from read_parquet('{0}/quarantine/*/*/part-*.parquet')),
     items as (select item_id, uri from read_parquet('{0}/items/*/part-*.parquet')),
     filtered as (select item_id from read_parquet('{0}/filter/*/part-*.parquet') where not passed),
     dedup as (select * from read_parquet('{0}/dedup/*/part-*.parquet'))
select uri, 'quarantined' as outcome from quarantined
union all
select uri, 'filtered' from items join filtered using (item_id)
 where item_id not in (select item_id from quarantined)
union all
select uri, 'removed' from items join dedup using (item_id)
 where not keep and witness_id in (select item_id from dedup where keep)
   and item_id not in (select item_id from quarantined)
union all
select uri, 'kept' from items join dedup using (item_id)
 where keep and item_id not in (select item_id from quarantined)
"""


@pytest.mark.slow
def test_every_file_under_the_source_has_one_outcome(photos: Path, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    (source / "dreambooth").symlink_to(photos / "dreambooth_subjects")
    (source / "copies").mkdir()
    for number, path in enumerate(sorted((photos / "clothing").rglob("*.jpg"))[:20]):
        for copy in range(1 + number % 2):
            (source / "copies" / f"{number}_{copy}.jpg").write_bytes(path.read_bytes())
    corpus = tmp_path / "out"
    settings = [f"source.uri={source}", f"corpus={corpus}", "run.executor=local"]
    arguments = [part for each in settings for part in ("--set", each)]
    config = str(ROOT / "configs" / "quickstart.yaml")
    run = CliRunner().invoke(app, ["run", config, *arguments])
    assert run.exit_code == 0, run.output

    rows = duckdb.sql(_OUTCOMES.format(corpus)).fetchall()
    per_file = Counter(uri for uri, _ in rows)
    files = {
        str(path) for folder in source.iterdir() for path in folder.rglob("*") if path.is_file()
    }
    assert set(per_file) == files
    assert set(per_file.values()) == {1}

    totals = Counter(outcome for _, outcome in rows)
    assert totals["removed"] >= 10
    status = CliRunner().invoke(app, ["status", config, *arguments])
    said = " + ".join(
        f"{totals[each]:,} {each}" for each in ("kept", "removed", "filtered", "quarantined")
    )
    assert f"ledger  {len(files):,} items = {said}" in " ".join(status.output.split("\n"))
