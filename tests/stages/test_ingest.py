from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from stages.batches import update_plans
from stages.contract import Output
from stages.corpus import Corpus, Partition
from stages.ingest import CANDIDATES, IngestSettings, IngestStage
from stages.schemas import ITEMS, first_id
from stages.sources import SourceSettings
from stages.storage import Storage
from tests.stages.sources.made import encoded, run_ingest, tar_of


def _stage_and_table(tmp_path: Path) -> tuple[IngestStage, pa.Table]:
    members = [(f"{n:02d}.jpg", encoded(n) if n % 5 else b"junk") for n in range(20)]
    (tmp_path / "a.tar").write_bytes(tar_of([*members, ("z.txt", b"alone")])[:-1024])
    corpus = Corpus(str(tmp_path / "corpus"), Storage())
    update_plans(corpus.storage, corpus.uri, [SourceSettings(uri=str(tmp_path / "a.tar"))], 8)
    stage = IngestStage(IngestSettings(), corpus.storage)
    return stage, stage.load(corpus, Partition(0, 0))


def _facts(output: Output) -> tuple[list[object], list[object]]:
    return output.rows.to_pylist(), list(output.quarantined)


def test_candidates_have_the_ids_of_their_partition(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(number))
    source = SourceSettings(uri=str(tmp_path), exclude=["corpus/*"])
    result = run_ingest(tmp_path / "corpus", source, partition_items=2)
    assert result.candidates.schema == CANDIDATES
    assert [row["item_id"] for row in result.rows] == [
        *(0, 1),
        *(first_id(1), first_id(1) + 1),
        first_id(2),
    ]


def test_pieces_of_a_partition_give_what_the_whole_gives(tmp_path: Path) -> None:
    stage, table = _stage_and_table(tmp_path)
    whole = stage.process(table)
    assert whole.rows.schema == ITEMS
    rows, quarantined = _facts(whole)
    for size in (1, 3, 11):
        pieces = [
            _facts(stage.process(table.slice(start, size)))
            for start in range(0, table.num_rows, size)
        ]
        assert [row for piece in pieces for row in piece[0]] == rows
        assert [one for piece in pieces for one in piece[1]] == quarantined


def test_threads_change_nothing(tmp_path: Path) -> None:
    stage, table = _stage_and_table(tmp_path)
    many = IngestStage(IngestSettings(threads=8), stage.storage)
    assert _facts(many.process(table)) == _facts(stage.process(table))
    assert IngestSettings(threads=8, partition_items=9).fingerprint_fields() == (
        IngestSettings().fingerprint_fields()
    )


def test_a_whole_line_of_kinds_together(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of([("k.jpg", encoded(1)), ("k.txt", b"words")]))
    (tmp_path / "list.jsonl").write_text(json.dumps({"path": str(photos / "nothing.jpg")}))
    result = run_ingest(
        tmp_path / "corpus",
        SourceSettings(uri=str(photos / "dreambooth_subjects")),
        SourceSettings(uri=str(tmp_path / "a.tar")),
        SourceSettings(uri=str(tmp_path / "list.jsonl")),
        partition_items=50,
    )
    files = [path for path in (photos / "dreambooth_subjects").rglob("*") if path.is_file()]
    assert len(result.rows) + len(result.quarantined) == len(files) + 2
    assert len(result.rows) == 77 + 1
    assert set(result.reasons.values()) == {"not_an_image", "no_image", "missing"}
