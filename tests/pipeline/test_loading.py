"""Shards load in training code: webdataset, and a torch DataLoader with two workers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.runner import Runner
from tests.pipeline.line import config_for, write_pictures

webdataset = pytest.importorskip("webdataset")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loading")
    write_pictures(folder / "in")
    Runner(config_for(str(folder / "in"), str(folder / "out"), shard={"max_samples": 8})).run()
    return folder / "out" / "shards"


def image_hashes(samples: Iterator[dict[str, Any]]) -> dict[str, str]:
    found = {}
    for sample in samples:
        extension = next(key for key in sample if not key.startswith("_") and key != "json")
        key = sample["__key__"]
        assert key not in found, "a sample came twice"
        found[key] = hashlib.sha256(sample[extension]).hexdigest()
        assert json.loads(sample["json"])["provenance"]["sha256"] == found[key]
    return found


def expected(shards: Path) -> dict[str, str]:
    index = json.loads((shards / "index.json").read_bytes())
    assert len(index["shards"]) > 1
    return {
        sample["key"]: sample["sha256"] for shard in index["shards"] for sample in shard["samples"]
    }


def test_webdataset_reads_every_sample(shards: Path) -> None:
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    dataset = webdataset.WebDataset(urls, shardshuffle=False)
    assert image_hashes(iter(dataset)) == expected(shards)


def test_a_data_loader_with_two_workers_reads_every_sample_once(shards: Path) -> None:
    from torch.utils.data import DataLoader

    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    dataset = webdataset.WebDataset(urls, shardshuffle=False)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    assert image_hashes(iter(loader)) == expected(shards)
