"""Zero-shot tags over a tiny model of random weights: right vectors, right order, right words."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.caption import CaptionSettings, CaptionStage
from stages.contract import ConfigurationError
from stages.embed import EmbedderSettings, EmbedSettings
from stages.schemas import ITEMS, OCR
from stages.storage import Storage
from stages.tagging import Tagger, TagSettings
from tests.stages.towers import tiny_model


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> EmbedderSettings:
    settings, _ = tiny_model(tmp_path_factory.mktemp("model"))
    return EmbedderSettings(**settings)


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    place = tmp_path / "things.txt"
    place.write_text("# things\na dog\t狗\na red door\t红色的门\n\nsnow\n", encoding="utf-8")
    return str(place)


def vectors(rows: list[np.ndarray | None]) -> pa.ChunkedArray:
    values = [None if row is None else row.astype(np.float16) for row in rows]
    return pa.chunked_array([pa.array(values, pa.list_(pa.float16()))])


def test_the_nearest_names_come_first(clip: EmbedderSettings, vocabulary: str) -> None:
    settings = TagSettings(table="embed_clip", vocabulary=vocabulary, threshold=-1.0, most=2)
    tagger = Tagger(settings, {"embed_clip": clip})
    tagger.load()
    texts = tagger._texts
    assert texts is not None
    door, nothing, snow = tagger.tags(vectors([texts[1], None, texts[2]]))
    assert (door[0].name, door[0].zh) == ("a red door", "红色的门")
    assert door[0].score == pytest.approx(1.0, abs=1e-2)
    assert (snow[0].name, snow[0].zh) == ("snow", "")
    assert (len(door), nothing) == (2, [])
    assert door[0].score >= door[1].score


def test_a_threshold_leaves_doubtful_tags_out(clip: EmbedderSettings, vocabulary: str) -> None:
    settings = TagSettings(table="embed_clip", vocabulary=vocabulary, threshold=0.9999)
    tagger = Tagger(settings, {"embed_clip": clip})
    tagger.load()
    assert tagger._texts is not None
    assert tagger.tags(vectors([-tagger._texts[0]])) == [[]]


def test_the_composer_says_what_the_tags_say(
    clip: EmbedderSettings, vocabulary: str, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "a.png")
    tags = TagSettings(table="embed_clip", vocabulary=vocabulary, threshold=0.98, most=1)
    settings = CaptionSettings(tags=tags).beside({"embed": EmbedSettings(more={"clip": clip})})
    stage = CaptionStage(settings, Storage())
    stage.check()
    stage.setup()
    assert stage._tagger is not None
    assert stage._tagger._texts is not None
    row = {"item_id": 0, "uri": str(tmp_path / "a.png"), "key": "a"}
    table = pa.Table.from_pylist([row], schema=ITEMS)
    table = table.append_column(OCR.field("lines"), pa.array([[]], OCR.field("lines").type))
    table = table.append_column("tags", vectors([stage._tagger._texts[1]]))
    (said,) = stage.process(table).rows.to_pylist()
    assert "It seems to show a red door." in said["en_long"]
    assert "画面中似乎有红色的门。" in said["zh_long"]
    assert said["en_tags"].startswith("red door, ")
    assert said["en_prompt"].startswith("a red door")
    assert said["flags"] == []


def test_the_words_count_and_not_where_they_lie(vocabulary: str, tmp_path: Path) -> None:
    def fields(**options: str) -> dict[str, object]:
        return CaptionSettings(tags=TagSettings(**options)).fingerprint_fields()

    again = tmp_path / "again.txt"
    again.write_bytes(Path(vocabulary).read_bytes())
    assert fields(vocabulary=vocabulary) == fields(vocabulary=str(again))
    again.write_text("a cat\t猫\n", encoding="utf-8")
    assert fields(vocabulary=vocabulary) != fields(vocabulary=str(again)) != fields()
    assert "tags" not in CaptionSettings().fingerprint_fields()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "embed_clip"}, "is no table of vectors; there are embed"),
        ({}, "builtin has no text tower"),
        ({"vocabulary": "no-such-file.txt"}, "no-such-file.txt"),
    ],
)
def test_what_cannot_work_is_said_first(options: dict[str, str], message: str) -> None:
    settings = CaptionSettings(tags=TagSettings(**options)).beside({"embed": EmbedSettings()})
    with pytest.raises(ConfigurationError, match=message):
        CaptionStage(settings, Storage()).check()


def test_the_vocabulary_of_the_package_is_bilingual_and_without_repeats() -> None:
    words = TagSettings().read_vocabulary()
    assert len(words) > 100
    assert all(name.isascii() and zh and not zh.isascii() for name, zh in words)
    assert len({name for name, _ in words}) == len({zh for _, zh in words}) == len(words)
