"""Shards as the ``shard`` stage writes them, read as training data."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from generator import S3DiT
from generator.codecs import BlockDct
from generator.data import BatchOptions
from generator.shards import ShardError, Shards, read_weights
from generator.text import HashedWords
from generator.train import Trainer
from tests.generator.toys import OPTIONS, TOY
from tests.stages.test_shard import make_corpus, write

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90), (0, 0, 0)]


def encoded(number: int) -> bytes:
    """Four pixels wide and three high as shown; the second is a JPEG that lies on its side."""
    stream = io.BytesIO()
    if number == 1:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (3, 4), COLOURS[1]).save(stream, "JPEG", quality=95, exif=exif)
    else:
        Image.new("RGB", (4, 3), COLOURS[number]).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Five images through the stage itself: ``index.json`` of three shards."""
    corpus = make_corpus(tmp_path, [encoded(number) for number in range(len(COLOURS))])
    write(corpus, max_samples=2)
    return Path(corpus.uri) / "shards" / "index.json"


def by_hand(folder: Path, records: list[dict]) -> Path:
    """Shards with these records and the first image."""
    entries = []
    with tarfile.open(folder / "a.tar", "w") as tar:
        for number, record in enumerate(records):
            for name, data in (("png", encoded(0)), ("json", json.dumps(record).encode())):
                member = tarfile.TarInfo(f"{number}.{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            entry = {"key": str(number), "extension": "png", "item_id": number}
            entries.append({**entry, "width": 4, "height": 3})
    shards = [{"shard": "a.tar", "samples": entries}]
    (folder / "index.json").write_text(json.dumps({"format": "webdataset", "shards": shards}))
    return folder / "index.json"


def test_what_the_stage_wrote_comes_back(index: Path) -> None:
    data = Shards(index)
    assert len(data) == 5
    for number in range(5):
        picture, caption = data.load(number, np.random.default_rng(0))
        assert picture.shape == (3, 4, 3)
        assert data.size(number) == (3, 4)
        assert np.abs(picture.astype(int) - COLOURS[number]).max() < 6
        record = data.record(number)
        assert record["item_id"] == data.item_id(number)
        sha = hashlib.sha256(encoded(number)).hexdigest()
        assert record["provenance"]["sha256"] == sha
        assert caption == f"picture {number}"


def test_captions_are_drawn_from_those_there(tmp_path: Path) -> None:
    captions = {"en": {"long": "one", "tags": None}, "zh": {"short": "二", "prompt": ""}}
    place = by_hand(
        tmp_path,
        [{"captions": captions, "alt_text": "alt"}, {"captions": {}, "alt_text": "alt"}, {}],
    )
    data, draws = Shards(place), [np.random.default_rng(seed) for seed in range(40)]
    assert {data.load(0, draw)[1] for draw in draws} == {"one", "二"}
    assert {Shards(place, languages=("zh",)).load(0, draw)[1] for draw in draws} == {"二"}
    assert Shards(place, levels=("medium",)).load(0, draws[0])[1] == "alt"
    assert [data.load(number, draws[0])[1] for number in (1, 2)] == ["alt", ""]


def test_weights_by_item(index: Path, tmp_path: Path) -> None:
    table = pa.table({"item_id": [0, 2], "weight": [2.0, 0.5], "other": [1, 1]})
    pq.write_table(table, tmp_path / "w.parquet")
    data = Shards(index, read_weights(tmp_path / "w.parquet"))
    assert [data.weight(number) for number in range(5)] == [2.0, 0, 0.5, 0, 0]
    assert Shards(index).weight(3) == 1.0


def test_a_run_over_shards(index: Path) -> None:
    batches = BatchOptions(areas=(16 * 16,), weighting="loss")
    options = dataclasses.replace(OPTIONS, batches=batches)
    trainer = Trainer(S3DiT(TOY), BlockDct(), HashedWords(48), Shards(index), options)
    losses = trainer.run(until=3)
    assert len(losses) == 3


def test_what_is_broken_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"nowhere\.json is missing"):
        Shards(tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match="a caption's level must be of"):
        Shards(index, levels=("tiny",))
    tar = index.parent / "shard-000000.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[:700])
    with pytest.raises(ShardError, match=r"shard-000000\.tar"):
        Shards(index).load(1, np.random.default_rng(0))
    tar.write_bytes(whole.replace(b"IHDR", b"IHDX"))
    with pytest.raises(ShardError, match="cannot be decoded"):
        Shards(index).load(0, np.random.default_rng(0))
    tar.unlink()
    with pytest.raises(ShardError, match="is missing, which index.json names"):
        Shards(index)
    index.write_text(json.dumps({"format": "mds"}))
    with pytest.raises(ShardError, match="not the index of WebDataset shards"):
        Shards(index)
    index.write_text("{")
    with pytest.raises(ShardError, match="is not JSON"):
        Shards(index)
