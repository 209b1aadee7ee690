"""``winnow train-head`` on a planted watermark set, through the real stages."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import Config
from pipeline.console import Exit
from pipeline.heads import TrainedHead, train_head
from pipeline.query import read_table
from pipeline.runner import Runner
from stages.contract import ConfigurationError
from stages.corpus import Committed, Corpus, Stamp
from stages.heads.head import load_head
from stages.schemas import DEDUP
from stages.score import embedder_of
from stages.storage import Storage
from tests.pipeline.line import config_for, picture
from tests.stages.towers import tiny_model

SIZE = (320, 240)


def watermarked(image: Image.Image, number: int) -> Image.Image:
    """As previews of stock photographs are: a name across, and a translucent strip below."""
    width, height = image.size
    small = height // 14
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    draw.rectangle((0, height - int(small * 1.5), width, height), fill=(0, 0, 0, 150))
    font, big = ImageFont.load_default(small), ImageFont.load_default(height // 4)
    text = f"stockphoto.example  ID {number:06d}"
    draw.text((small // 2, height - int(small * 1.3)), text, font=font, fill=(255, 255, 255, 230))
    middle = (width // 2, height // 2)
    draw.text(middle, "STOCK", font=big, fill=(255, 255, 255, 170), anchor="mm")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def plant(folder: Path, images: list[Image.Image]) -> Path:
    """Every second image gets the watermark; returns the labels."""
    (folder / "in").mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "label"])
        for number, image in enumerate(images):
            marked = number % 2 == 0
            shown = watermarked(image, number * 7919 % 10**6) if marked else image
            shown.save(folder / "in" / f"{number:04d}.jpg", quality=90)
            rows.writerow([f"{number:04d}.jpg", "yes" if marked else "no"])
    return folder / "labels.csv"


def corpus_of(folder: Path) -> tuple[Config, Corpus]:
    clip, _ = tiny_model(folder)
    config = config_for(
        str(folder / "in"),
        str(folder / "out"),
        embed={**clip, "threads": 1},
        ingest={"partition_items": 64},
    )
    for name in ("ingest", "embed"):
        Runner(config).run(name)
    return config, Corpus(config.corpus, Storage())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Corpus, Path]:
    """Generated pictures, so that it runs everywhere."""
    folder = tmp_path_factory.mktemp("planted")
    plant(folder, [picture(seed, SIZE) for seed in range(120)])
    return *corpus_of(folder), folder


@pytest.fixture(scope="module")
def trained(planted: tuple[Config, Corpus, Path]) -> TrainedHead:
    _, corpus, folder = planted
    return train_head(corpus, folder / "labels.csv", str(folder / "watermark.safetensors"))


def test_a_planted_watermark_on_photographs_is_found(photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.jpg"))
    order = np.random.default_rng(7).permutation(len(files))[:300]
    images = [ImageOps.fit(Image.open(files[n]).convert("RGB"), SIZE) for n in order]
    labels = plant(tmp_path, images)
    _, corpus = corpus_of(tmp_path)
    found = train_head(corpus, labels, str(tmp_path / "watermark.safetensors"))
    assert found.held.auc.value >= 0.95
    assert len(found.held.labels) == 90
    assert found.held.brier < 0.1


def test_generated_pictures_are_told_apart_as_well(trained: TrainedHead) -> None:
    assert trained.held.auc.value >= 0.95
    assert trained.held.auc.low <= trained.held.auc.value <= trained.held.auc.high
    assert trained.trained + len(trained.held.labels) == 120
    assert not trained.groups


def test_the_head_loads_by_file_and_scores_as_it_was_measured(
    planted: tuple[Config, Corpus, Path], trained: TrainedHead
) -> None:
    config, corpus, folder = planted
    head = load_head(Path(trained.file))
    assert (head.name, head.table) == ("watermark", "embed")
    assert head.embedder == embedder_of(config.embed)
    assert head.training["auc"][0] == round(trained.held.auc.value, 4)
    raw = config.model_dump(mode="json")
    sections: dict[str, Any] = {"embed": raw["embed"], "ingest": raw["ingest"]}
    told = config_for(
        str(folder / "in"),
        config.corpus,
        **sections,
        score={"heads": {"watermark": {"file": trained.file}}},
    )
    report = Runner(told).run("score").stages[0]
    assert report.computed == 2
    marked = {
        row["key"]
        for row in csv.DictReader((folder / "labels.csv").open())
        if row["label"] == "yes"
    }
    rows = read_table(corpus, "score", ["key", "watermark"]).to_pylist()
    right = [(row["watermark"] >= 0.5) == (row["key"] in marked) for row in rows]
    assert np.mean(right) > 0.9


def test_the_same_labels_give_the_same_bytes_in_any_order(
    planted: tuple[Config, Corpus, Path], trained: TrainedHead, tmp_path: Path
) -> None:
    _, corpus, folder = planted
    head, *rows = (folder / "labels.csv").read_text().splitlines()
    turned = tmp_path / "labels.csv"
    turned.write_text("\n".join([head, *reversed(rows)]))
    again = train_head(corpus, turned, str(tmp_path / "watermark.safetensors"))
    assert Path(again.file).read_bytes() == Path(trained.file).read_bytes()
    assert Path(again.plot).read_bytes() == Path(trained.plot).read_bytes()
    other = train_head(corpus, turned, str(tmp_path / "other.safetensors"), seed=1)
    assert other.held.scores.tolist() != trained.held.scores.tolist()


def test_the_plot_shows_every_bin(trained: TrainedHead) -> None:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(Path(trained.plot).read_text(encoding="utf-8"))
    circles = [each for each in root.iter() if each.tag.endswith("circle")]
    assert len(circles) == len(trained.held.bins)
    text = " ".join(root.itertext())
    assert f"on {len(trained.held.labels)} held-out images" in text


def test_vectors_of_another_model_are_refused_by_the_stage(
    planted: tuple[Config, Corpus, Path], trained: TrainedHead, tmp_path: Path
) -> None:
    config, _, _ = planted
    other, _ = tiny_model(tmp_path, seed=3)
    changed = config_for(
        str(tmp_path),
        str(tmp_path / "out"),
        embed=other,
        score={"heads": {"watermark": {"file": trained.file}}},
    )
    with pytest.raises(ConfigurationError, match="the head was trained on vectors of open_clip/"):
        Runner(changed).check("score")


def test_copies_stay_on_one_side_so_that_what_is_learnt_by_heart_does_not_count(
    tmp_path: Path,
) -> None:
    labels = np.random.default_rng(0).permutation(np.arange(40) < 20)
    (tmp_path / "in").mkdir()
    lines = ["key,label"]
    for number in range(160):
        name = f"{number:03d}.jpg"
        picture(number // 4).save(tmp_path / "in" / name, quality=90)
        lines.append(f"{name},{int(labels[number // 4])}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    _, corpus = corpus_of(tmp_path)
    leaking = train_head(corpus, tmp_path / "labels.csv", str(tmp_path / "a.safetensors"))
    assert leaking.held.auc.value > 0.9, "each label is that of a picture, and nothing more"
    commit_clusters(corpus, of=4)
    honest = train_head(corpus, tmp_path / "labels.csv", str(tmp_path / "b.safetensors"))
    assert honest.groups
    assert honest.held.auc.value < 0.8


def commit_clusters(corpus: Corpus, of: int) -> None:
    """A table of ``dedup`` as it would be if every ``of`` images in a row were copies."""
    for partition in corpus.partitions():
        items = corpus.read("items", partition, ["item_id", "key"]).to_pylist()
        rows = [
            {"item_id": each["item_id"], "cluster": int(each["key"][:3]) // of} for each in items
        ]
        content = pa.Table.from_pylist(rows, schema=DEDUP)
        stamp = Stamp("recipe", "fingerprint", len(rows), len(rows), 0)
        corpus.commit("dedup", "dedup", partition, Committed(content), stamp)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "head.pt"), "must end in .safetensors"),
        (("-o", "h.safetensors", "--table", "embed_clip"), "no vectors in a table 'embed_clip'"),
    ],
)
def test_mistakes_are_told(
    planted: tuple[Config, Corpus, Path], arguments: tuple[str, ...], message: str
) -> None:
    _, corpus, folder = planted
    result = CliRunner().invoke(
        app, ["train-head", corpus.uri, str(folder / "labels.csv"), *arguments]
    )
    assert result.exit_code == Exit.USAGE
    assert message in " ".join(result.output.split())


def test_too_few_labels_are_counted(planted: tuple[Config, Corpus, Path], tmp_path: Path) -> None:
    _, corpus, folder = planted
    rows = (folder / "labels.csv").read_text().splitlines()[:16]
    (tmp_path / "few.csv").write_text("\n".join(rows))
    with pytest.raises(ConfigurationError, match="at least 10 different images .* yes has 8"):
        train_head(corpus, tmp_path / "few.csv", str(tmp_path / "h.safetensors"))


def test_the_command_prints_figures_and_how_to_use_the_head(
    planted: tuple[Config, Corpus, Path], tmp_path: Path
) -> None:
    _, corpus, folder = planted
    target = tmp_path / "mark.safetensors"
    result = CliRunner().invoke(
        app, ["train-head", corpus.uri, str(folder / "labels.csv"), "-o", str(target)]
    )
    assert result.exit_code == Exit.DONE, result.output
    text = " ".join(result.output.split())
    assert "84 images to fit, 36 held out (18 yes, 18 no)" in text
    assert "AUC" in text
    assert "copies are not known" in text
    assert "mark < 0.5" in text
    assert target.is_file()
