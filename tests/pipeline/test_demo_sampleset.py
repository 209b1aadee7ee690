"""The sample set of the demo: what it holds, and how findings are held against its truth."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from pipeline.demo import Truth, TruthItem, compare, photos, write_sample_set
from pipeline.demo.canvas import Face, font, font_path, glyphs
from pipeline.demo.run import demo_config
from stages.contract import ItemError, Reason
from stages.embedders.builtin import BuiltinEmbedder
from stages.images import decode
from stages.inspection import inspect

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample set on disk."""
    pytest.importorskip("skimage", reason="scikit-image brings the photographs")
    path = tmp_path_factory.mktemp("demo")
    write_sample_set(path)
    return path


@pytest.fixture(scope="module")
def truth(folder: Path) -> Truth:
    """What is known of the sample set."""
    return Truth.read(folder / "truth.jsonl")


@pytest.fixture(scope="module")
def contents(folder: Path, truth: Truth) -> dict[str, bytes]:
    """Encoded images by place."""
    return dict(_contents(folder, truth))


def _contents(folder: Path, truth: Truth) -> Iterator[tuple[str, bytes]]:
    boxed: dict[tuple[str, str], bytes] = {}
    for path in sorted((folder / "tars").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                stem, extension = member.name.split(".")
                if extension not in {"txt", "json"}:
                    file = tar.extractfile(member)
                    assert file is not None
                    boxed[f"tars/{path.name}", stem] = file.read()
    for item in truth.items:
        if item.reason != "no_image":
            here = folder / item.path
            yield item.place, boxed[item.path, item.key] if item.key else here.read_bytes()


def _stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_set_has_about_three_hundred_items_of_every_kind(truth: Truth) -> None:
    counts = truth.counts()
    assert 290 <= len(truth.items) <= 320
    assert counts["photo"] >= 50
    assert counts["poster"] >= 65
    assert counts["scene"] >= 75
    assert counts["copy"] >= 65
    assert counts["oddity"] >= 13
    assert {item.expected for item in truth.items} == {None, "exact", "near-easy", "near-hard"}


def test_every_file_and_tar_member_is_in_the_truth_once(folder: Path, truth: Truth) -> None:
    places = [item.place for item in truth.items]
    assert len(set(places)) == len(places)
    stems = {item.path.rsplit(".", 1)[0] for item in truth.items if not item.key}
    images = [path for path in (folder / "images").rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix() for path in images}
    assert {item.path for item in truth.items if not item.key} <= files
    assert {path.rsplit(".", 1)[0] for path in files} == stems
    members = {(item.path, item.key) for item in truth.items if item.key}
    for path in (folder / "tars").iterdir():
        with tarfile.open(path) as tar:
            keys = {name.split(".")[0] for name in tar.getnames()}
        assert {(f"tars/{path.name}", key) for key in keys} == {
            member for member in members if member[0] == f"tars/{path.name}"
        }
        assert len(keys) == 31


def test_sidecars_say_what_the_truth_says(folder: Path, truth: Truth) -> None:
    seen = {"en": 0, "zh": 0}
    for item in truth.items:
        path = folder / item.path
        if item.key or item.caption is None or item.language is None:
            continue
        if path.with_suffix(".txt").is_file():
            caption = path.with_suffix(".txt").read_text("utf-8").strip()
        else:
            caption = json.loads(path.with_suffix(".json").read_text("utf-8"))["caption"]
        assert caption == item.caption
        seen[item.language] += 1
    assert min(seen.values()) >= 40


def test_writing_again_changes_nothing_and_removes_only_its_own_strays(folder: Path) -> None:
    before = _stamps(folder)
    own = Truth.read(folder / "truth.jsonl")
    stray = folder / "images/copies/of-another-seed.jpg"
    foreign = folder / "images/photos/put-here-by-the-user.jpg"
    outside_file = folder / "outside.jpg"
    for path in (stray, foreign, outside_file):
        path.write_bytes(b"x")
    extra = TruthItem("images/copies/of-another-seed.jpg", "copy", "g", expected="exact")
    outside = TruthItem("images/../outside.jpg", "copy", "g")
    Truth((*own.items, extra, outside)).write(folder / "truth.jsonl")
    assert write_sample_set(folder) == own
    assert not stray.exists()
    for path in (foreign, outside_file):
        assert path.exists()
        path.unlink()
    after = _stamps(folder)
    before.pop(str(folder / "truth.jsonl"))
    after.pop(str(folder / "truth.jsonl"))
    assert after == before


@pytest.mark.parametrize("face", ["Sans", "Serif"])
def test_the_fonts_have_every_glyph_of_the_texts(face: Face) -> None:
    drawn = font(face, 32)
    absent = bytes(drawn.getmask("\uffff"))
    assert any(absent)
    assert [letter for letter in glyphs(face) if bytes(drawn.getmask(letter)) == absent] == []


def test_the_fonts_are_small_and_licensed() -> None:
    sizes = [font_path(face).stat().st_size for face in ("Sans", "Serif")]
    assert sum(sizes) < 150_000
    licence = font_path("Sans").with_name("OFL.txt").read_text("utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence


def test_few_originals_look_like_copies_of_each_other(
    truth: Truth, contents: dict[str, bytes]
) -> None:
    originals = [
        item for item in truth.items if item.kind in {"photo", "poster", "scene", "oddity"}
    ]
    images = [decode(contents[item.place]) for item in originals]
    embedder = BuiltinEmbedder()
    vectors = embedder.encode([embedder.prepare(image) for image in images])
    similarity = vectors @ vectors.T - 2 * np.eye(len(vectors))
    threshold = demo_config(Path("demo")).dedup.threshold
    rows, columns = np.nonzero(np.triu(similarity >= threshold))
    pairs = [
        (originals[row].place, originals[column].place)
        for row, column in zip(rows, columns, strict=True)
    ]
    # Posters of one layout, whose text the embedder hardly sees, and cuttings of one texture.
    assert len(pairs) <= 5, pairs
    alike = ("posters/", "photos/photo-brick")
    assert all(any(each in place for each in alike) for pair in pairs for place in pair), pairs
    assert len({contents[item.place] for item in originals}) == len(originals)


def test_exact_copies_are_exact_and_near_copies_are_near(
    truth: Truth, contents: dict[str, bytes]
) -> None:
    originals = {item.group: item for item in truth.items if item.expected is None}
    for copy in (item for item in truth.items if item.expected is not None):
        data, other = contents[copy.place], contents[originals[copy.group].place]
        assert (data == other) == (copy.expected == "exact"), copy.place
        if copy.expected == "near-easy":
            assert _correlation(data, other) > 0.97, copy.place


def _correlation(*encoded: bytes) -> float:
    thumbs = [np.asarray(decode(data).resize((16, 16)), float).ravel() for data in encoded]
    return float(np.corrcoef(np.stack(thumbs))[0, 1])


def test_broken_files_are_broken_in_every_way_a_file_can_be(
    truth: Truth, contents: dict[str, bytes]
) -> None:
    broken = [item for item in truth.items if item.kind == "broken"]
    reasons = {"empty", "truncated", "not_an_image", "too_large"}
    reasons |= {"unsupported", "unreadable", "no_image"}
    assert {str(item.reason) for item in broken} == reasons <= set(Reason)
    for item in broken:
        if item.reason != "no_image":
            with pytest.raises(ItemError) as caught:
                inspect(contents[item.place], max_pixels=200_000_000)
            assert caught.value.reason == item.reason, item.place


def test_the_bomb_is_a_whole_png_of_declared_size(contents: dict[str, bytes]) -> None:
    data = contents["images/broken/decompression-bomb.png"]
    assert len(data) < 250_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (40_000, 40_000)
    start = data.index(b"IDAT")
    length = struct.unpack(">I", data[start - 4 : start])[0]
    stream = zlib.decompressobj()
    total, rest = 0, data[start + 4 : start + 4 + length]
    while not stream.eof:
        total += len(stream.decompress(rest, 1 << 22))
        rest = stream.unconsumed_tail
    assert total == 40_000 * (1 + 40_000 // 8)


def test_oddities_are_good_files(truth: Truth, contents: dict[str, bytes]) -> None:
    odd = [item for item in truth.items if item.kind == "oddity"]
    for item in odd:
        inspect(contents[item.place], max_pixels=200_000_000)
    opened = {str(i.transform): Image.open(io.BytesIO(contents[i.place])) for i in odd}
    assert opened["cmyk"].mode == "CMYK"
    assert opened["16-bit"].mode.startswith("I;16")
    assert getattr(opened["animation"], "n_frames", 1) == 6
    assert opened["exif-orientation"].getexif()[0x0112] == 6
    assert opened["wrong-extension"].format == "JPEG"
    assert "transparency" in opened["palette-transparency"].info
    assert opened["grey-alpha"].mode == "LA"
    assert opened["progressive"].info["progressive"]
    assert ("avif" in opened) == features.check("avif")


def test_without_scikit_image_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(photos, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 'winnow\[demo\]'"):
        write_sample_set(tmp_path)


# ---- compare ----

_SMALL = Truth(
    (
        TruthItem("images/photos/a.jpg", "photo", "a"),
        TruthItem("images/copies/a--same.jpg", "copy", "a", expected="exact"),
        TruthItem("tars/x.tar", "copy", "a", key="a--half", expected="near-easy"),
        TruthItem("images/copies/a--crop.jpg", "copy", "a", expected="near-hard"),
        TruthItem("images/posters/p.png", "poster", "p", lines=("春日 Music", "Room 203")),
        TruthItem("images/copies/p--jpeg.jpg", "copy", "p", expected="near-easy"),
        TruthItem("images/broken/e.jpg", "broken", "e", reason="empty"),
        TruthItem("images/odd/中文名.jpg", "oddity", "o"),
    )
)


def _outcomes(*changes: dict[str, Any]) -> Rows:
    """Perfect outcomes of the small truth, with changes by item id."""
    fields = ("status", "cluster", "witness_id", "reason", "ocr_text")
    rows: list[tuple[Any, ...]] = [
        ("kept", 0, None, None, None),
        ("removed", 0, 0, "exact", None),
        ("removed", 0, 0, "semantic", None),
        ("removed", 0, 0, "semantic", None),
        ("removed", 4, 5, "semantic", None),
        ("kept", 4, None, None, "春日MUSIC\nroom203"),
        ("quarantined", None, None, "empty", None),
        ("kept", 7, None, None, ""),
    ]
    outcomes = [
        {"item_id": n, "uri": f"/data/images/demo/{item.path}", "key": item.key or "whatever"}
        | dict(zip(fields, row, strict=True))
        for n, (item, row) in enumerate(zip(_SMALL.items, rows, strict=True))
    ]
    for change in changes:
        outcomes[change["item_id"]] |= change
    return outcomes


def test_a_perfect_run_scores_full_marks() -> None:
    result = compare(_SMALL, pa.Table.from_pylist(_outcomes()))
    scores = (result.exact, result.near_easy, result.near_hard, result.broken, result.oddities)
    assert [(score.found, score.total) for score in scores] == [
        (1, 1), (2, 2), (1, 1), (1, 1), (1, 1),
    ]  # fmt: skip
    assert (result.poster_lines.found, result.poster_lines.total) == (2, 2)
    assert result.false_merges == result.not_compared == result.good_quarantined == ()
    assert result.unaccounted == result.unknown == ()


def test_an_exact_copy_kept_twice_is_missed_a_near_copy_is_not() -> None:
    kept = {"status": "kept", "witness_id": None, "reason": None}
    result = compare(_SMALL, _outcomes({"item_id": 1, **kept}, {"item_id": 2, **kept}))
    assert result.exact.missed == ("images/copies/a--same.jpg",)
    assert result.near_easy.missed == ()


def test_a_copy_in_another_cluster_is_missed() -> None:
    result = compare(_SMALL, _outcomes({"item_id": 2, "cluster": 2, "status": "kept"}))
    assert (result.near_easy.found, result.near_easy.missed) == (1, ("tars/x.tar::a--half",))


def test_a_removal_because_of_another_group_is_a_false_merge() -> None:
    change = {"item_id": 7, "status": "removed", "cluster": 0, "witness_id": 0}
    result = compare(_SMALL, _outcomes(change))
    assert result.false_merges == (("images/odd/中文名.jpg", "images/photos/a.jpg"),)


def test_what_a_filter_dropped_is_not_compared() -> None:
    filtered = {"item_id": 4, "status": "filtered", "cluster": None, "witness_id": None}
    result = compare(_SMALL, _outcomes(filtered))
    assert result.not_compared == ("images/copies/p--jpeg.jpg",)
    assert result.near_easy.total == 1


def test_the_wrong_reason_and_good_files_in_quarantine_are_told() -> None:
    out = {"status": "quarantined", "cluster": None}
    wrong = {"item_id": 6, "reason": "truncated"}
    result = compare(_SMALL, _outcomes(wrong, {"item_id": 7, "reason": "unreadable", **out}))
    assert result.broken.missed == ("images/broken/e.jpg",)
    assert result.oddities.found == 0
    assert result.good_quarantined == ("images/odd/中文名.jpg",)


def test_lines_that_ocr_did_not_read_are_named() -> None:
    result = compare(_SMALL, _outcomes({"item_id": 5, "ocr_text": "春日\nMusic"}))
    assert result.poster_lines.missed == ("p: Room 203",)


def test_missing_and_foreign_outcomes_are_told() -> None:
    rows = _outcomes()
    foreign = {**rows[7], "item_id": 8, "uri": "/data/images/photos/b.jpg"}
    result = compare(_SMALL, [*rows[:7], foreign])
    assert result.unaccounted == ("images/odd/中文名.jpg",)
    assert result.unknown == ("images/photos/b.jpg",)
    assert result.oddities.found == 0


def test_outcomes_that_contradict_themselves_are_refused() -> None:
    rows = _outcomes()
    with pytest.raises(ValueError, match="two outcomes"):
        compare(_SMALL, [*rows, {**rows[0], "item_id": 99}])
    with pytest.raises(ValueError, match="item 77, which is not among"):
        compare(_SMALL, _outcomes({"item_id": 1, "witness_id": 77}))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)), st.sets(st.sampled_from([1, 2, 3])))
def test_order_does_not_matter_and_each_loss_costs_one(order: list[int], lost: set[int]) -> None:
    alone = [{"item_id": n, "cluster": 100 + n, "status": "kept"} for n in lost]
    rows = _outcomes(*alone)
    result = compare(_SMALL, [rows[n] for n in order])
    assert result == compare(_SMALL, rows)
    found = result.exact.found + result.near_easy.found + result.near_hard.found
    assert found == 4 - len(lost)


def test_the_truth_survives_its_file(tmp_path: Path) -> None:
    _SMALL.write(tmp_path / "truth.jsonl")
    assert Truth.read(tmp_path / "truth.jsonl") == _SMALL
    item = replace(_SMALL.items[0], group="b")
    Truth((item,)).write(tmp_path / "truth.jsonl")
    text = (tmp_path / "truth.jsonl").read_text("utf-8")
    (tmp_path / "truth.jsonl").write_text(text.replace('"group"', '"gruop"'), "utf-8")
    with pytest.raises(ValueError, match="line 1: missing or unknown fields: group, gruop"):
        Truth.read(tmp_path / "truth.jsonl")
