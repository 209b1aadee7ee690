"""Labels: which images they mean, and the line of every mistake."""

from pathlib import Path

import pytest

from pipeline.heads.labels import read_labels
from pipeline.query import read_table
from pipeline.runner import Runner
from stages.contract import ConfigurationError
from stages.corpus import Corpus
from stages.storage import Storage
from tests.pipeline.line import config_for, picture


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two folders with pictures of the same keys, and one more."""
    folder = tmp_path_factory.mktemp("labels")
    for name in ("one", "two"):
        (folder / name).mkdir()
        for seed in range(3):
            picture(seed).save(folder / name / f"{seed}.jpg")
    picture(9).save(folder / "two" / "it's, 9.jpg")
    sources = [{"uri": str(folder / name)} for name in ("one", "two")]
    config = config_for(sources, str(folder / "out"))
    Runner(config).run("ingest")
    return Corpus(config.corpus, Storage())


def write(folder: Path, text: str) -> Path:
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8-sig")
    return file


def test_images_are_named_by_id_uri_or_key(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = read_table(corpus, "items", ["item_id", "uri", "key"]).to_pylist()
    monkeypatch.chdir(Path(corpus.uri).parent)
    by_uri = f"label,uri\nyes,{items[0]['uri']}\n0,two/0.jpg\n"
    found = read_labels(corpus, write(tmp_path, by_uri))
    second = next(each for each in items if each["uri"].endswith("two/0.jpg"))
    assert found.ids.tolist() == [items[0]["item_id"], second["item_id"]]
    assert found.labels.tolist() == [True, False]
    by_id = f"item_id,uri,label\n00{items[1]['item_id']},nothing,No\n{items[0]['item_id']},,TRUE\n"
    found = read_labels(corpus, write(tmp_path, by_id))
    assert found.ids.tolist() == [items[0]["item_id"], items[1]["item_id"]]
    assert found.labels.tolist() == [True, False]
    found = read_labels(corpus, write(tmp_path, 'key,label\n"it\'s, 9.jpg",1\n"it\'s, 9.jpg",1\n'))
    assert found.labels.tolist() == [True], "the same label twice counts once"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the column label and one of item_id, uri, key; it has none"),
        ("key,mark\n", "it has key, mark"),
        ("key,label\n", "holds no labels"),
        ("key,label\n0.jpg,1\n1.jpg,maybe\n", "line 3: label must be 0, 1, yes or no, got 'maybe'"),
        ("key,label\n,1\n", "line 2: key is missing or wrong"),
        ("item_id,label\n-3,1\n", "line 2: item_id is missing or wrong, got '-3'"),
        ("item_id,label\n99999999999,1\n", "line 2: no item of the corpus has item_id '99999"),
        ("uri,label\n/gone.jpg,1\n", "line 2: no item of the corpus has uri '/gone.jpg'"),
        ("key,label\n0.jpg,1\n", "line 2: 2 items have key '0.jpg': name it by item_id"),
        ('key,label\n"it\'s, 9.jpg",1\n"it\'s, 9.jpg",no\n', "line 3 contradicts line 2"),
    ],
)
def test_mistakes_come_with_their_line(
    corpus: Corpus, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_labels(corpus, write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_said(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the labels in"):
        read_labels(corpus, tmp_path / "gone.csv")
    (tmp_path / "bytes.csv").write_bytes(b"key,label\n\xff\xfe,1\n")
    with pytest.raises(ConfigurationError, match="cannot read the labels in"):
        read_labels(corpus, tmp_path / "bytes.csv")
