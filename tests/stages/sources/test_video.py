"""Videos as a source: which frames are taken, that they are found again, what is broken."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.contract import ItemError, Reason
from stages.images import ImageReader, decode
from stages.sources import SourceSettings
from stages.sources.frames import to_png
from stages.storage import Storage
from tests.stages.sources.clips import all_frames, scene_frame, scenes, write_clip, write_sound
from tests.stages.sources.made import Result, encoded, run_ingest

FORMATS = [
    ("libx264", "a.mp4", None),
    ("libx264", "a.h264", "h264"),  # no time stamps
    ("libx264", "a.ts", "mpegts"),  # no index
    ("libx265", "a.mkv", None),
    ("mpeg4", "a.avi", None),
    ("mpeg2video", "a.mpg", "mpeg"),
    ("libvpx-vp9", "a.webm", None),
]


def ingest(tmp_path: Path, *, place: Path | None = None, **settings: Any) -> Result:
    source = SourceSettings(uri=str(place or tmp_path / "in"), **settings)
    return run_ingest(tmp_path / "corpus", source)


def metas(result: Result) -> list[dict[str, Any]]:
    return [json.loads(row["meta"]) for row in result.rows]


def test_frames_are_taken_where_scenes_begin_and_at_intervals(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in" / "sub" / "clip.mp4", scenes(25, 8, 14), rate=10, sound=True)
    result = ingest(tmp_path, interval_s=1.0)
    assert not result.quarantined
    found = metas(result)
    assert [meta["frame"] for meta in found] == [0, 10, 20, 25, 33, 43]
    assert [meta["time_s"] for meta in found] == [0.0, 1.0, 2.0, 2.5, 3.3, 4.3]
    assert [meta["scene"] for meta in found] == [0, 0, 0, 1, 2, 2]
    assert {meta["clip"] for meta in found} == {str(clip)}
    row = result.rows[3]
    assert row["key"] == "sub/clip.mp4#t=2.500"
    assert (row["container"], row["member"], row["format"]) == ("video", "25", "png")
    assert (row["width"], row["height"], row["mode"]) == (96, 64, "RGB")
    assert row["uri"] == str(clip)


def test_settings_choose_how_many_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "in" / "clip.mp4", scenes(25, 8, 14), rate=10)
    corpus = tmp_path / "corpus"

    def taken(**settings: Any) -> list[int]:
        source = SourceSettings(uri=str(tmp_path / "in"), kind="video", **settings)
        return [meta["frame"] for meta in metas(run_ingest(corpus, source))]

    assert taken(interval_s=None) == [0, 25, 33]
    assert taken(scene_threshold=None, interval_s=2.0) == [0, 20, 40]
    assert taken(scene_threshold=None, interval_s=None) == [0]
    # The plan remembers the settings, so the same rows are computed anew.
    assert taken(interval_s=0.5, max_frames=4) == [0, 10, 25, 33]
    assert taken(interval_s=0.1, scene_threshold=None, max_frames=10_000) == list(range(47))


@pytest.mark.parametrize(("codec", "name", "form"), FORMATS)
def test_a_frame_is_found_again_in_any_order(
    tmp_path: Path, codec: str, name: str, form: str | None
) -> None:
    clip = write_clip(tmp_path / "in" / name, scenes(20, 20), codec, form=form)
    result = ingest(tmp_path, interval_s=0.3)
    assert not result.quarantined
    assert len(result.rows) >= (6 if form == "h264" else 12)  # which says 25 frames a second
    truth = all_frames(clip)
    rows = list(result.rows)
    random.Random(0).shuffle(rows)
    with ImageReader(Storage()) as reader:
        for row in [*result.rows, *rows]:
            data = reader.read(row)
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
            assert len(data) == row["length"] == row["bytes"]
            seen = np.asarray(decode(data))
            number = json.loads(row["meta"])["frame"]
            assert np.array_equal(seen, truth[number]), (name, number)


def test_what_is_drawn_is_what_is_read(tmp_path: Path) -> None:
    frames = scenes(20, 20)
    write_clip(tmp_path / "in" / "a.mkv", frames, "ffv1")
    result = ingest(tmp_path, interval_s=0.5)
    with ImageReader(Storage()) as reader:
        for row, meta in zip(result.rows, metas(result), strict=True):
            seen = np.asarray(decode(reader.read(row))).astype(int)
            # Chroma is stored at half the size, so edges of the square are softer.
            assert np.median(np.abs(seen - frames[meta["frame"]])) <= 2


def test_broken_files_have_a_row_that_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    whole = write_clip(tmp_path / "whole.mp4", scenes(20, 20)).read_bytes()
    write_clip(tmp_path / "whole.avi", scenes(60), "mpeg4", rate=10)
    files = {
        "empty.mp4": b"",
        "cut.mp4": whole[: len(whole) // 2],
        "text.mp4": b"hello " * 100,
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "noise.webm": b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(4000),
    }
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_sound(folder / "sound.mp4")
    result = ingest(tmp_path, kind="video")
    assert not result.rows
    assert result.reasons == {
        "empty.mp4": "empty",
        "cut.mp4": "truncated",
        "text.mp4": "not_an_image",
        "playlist.mp4": "not_an_image",
        "noise.webm": "truncated",
        "sound.mp4": "no_image",
    }
    details = {one.key: one.detail for one in result.quarantined}
    assert "index is not there" in details["cut.mp4"]
    assert "no moving pictures, only audio" in details["sound.mp4"]


def test_the_good_part_of_a_truncated_clip_is_taken(tmp_path: Path) -> None:
    frames = scenes(30, 30, size=(320, 240))
    clip = write_clip(tmp_path / "in" / "a.avi", frames, "mpeg4", rate=10)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 2 // 3])
    result = ingest(tmp_path, interval_s=1.0)
    assert 1 <= len(result.rows) < 7
    assert result.reasons == {"a.avi": "truncated"}
    assert "of 6.0 s" in result.quarantined[0].detail
    with ImageReader(Storage()) as reader:
        for row in result.rows:
            assert hashlib.sha256(reader.read(row)).hexdigest() == row["sha256"]


def test_damage_in_the_middle_is_said_and_the_rest_taken(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in" / "a.mkv", scenes(30, 30), "libvpx-vp9", rate=10, gop=5)
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = random.Random(2).randbytes(40)
    clip.write_bytes(bytes(data))
    result = ingest(tmp_path, interval_s=0.5)
    assert len(result.rows) >= 5
    with ImageReader(Storage()) as reader:
        for row in result.rows:
            assert hashlib.sha256(reader.read(row)).hexdigest() == row["sha256"]


def test_a_clip_that_is_gone_or_another_one_now(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in" / "a.mp4", scenes(20, 20))
    result = ingest(tmp_path, interval_s=1.0)
    last = result.rows[-1]
    write_clip(clip, scenes(5))
    with ImageReader(Storage()) as reader, pytest.raises(ItemError, match="no frame") as short:
        reader.read({**last, "offset": last["offset"] + 1})
    assert short.value.reason is Reason.CHANGED
    with ImageReader(Storage()) as reader, pytest.raises(ItemError) as changed:
        reader.read(last)
    assert changed.value.reason is Reason.CHANGED
    clip.unlink()
    with ImageReader(Storage()) as reader, pytest.raises(ItemError) as gone:
        reader.read(last)
    assert gone.value.reason is Reason.MISSING


def test_auto_knows_videos_and_a_folder_of_images_points_to_kind_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in" / "a.mp4", scenes(10))
    (tmp_path / "in" / "notes.md").write_text("x")
    assert len(ingest(tmp_path).rows) == 1
    assert len(run_ingest(tmp_path / "c2", SourceSettings(uri=str(clip))).rows) == 1
    (tmp_path / "in" / "b.jpg").write_bytes(encoded(1))
    folder = SourceSettings(uri=str(tmp_path / "in"), exclude=["*.md"])
    alone = run_ingest(tmp_path / "c3", folder)
    assert [row["key"] for row in alone.rows] == ["b.jpg"]
    assert "kind: video" in alone.quarantined[0].detail
    # Named twice, the file counts for the more special kind.
    both = run_ingest(tmp_path / "c4", folder, folder.model_copy(update={"kind": "video"}))
    assert sorted(row["container"] or "file" for row in both.rows) == ["file", "video"]
    assert not both.quarantined


def test_videos_on_an_object_store(tmp_path: Path, s3: Any) -> None:
    write_clip(tmp_path / "in" / "a.mp4", scenes(20, 20))
    write_clip(tmp_path / "in" / "b.ts", scenes(20), "mpeg2video", form="mpegts")
    (tmp_path / "in" / "c.mp4").write_bytes(b"")
    s3.upload(tmp_path / "in", "ingest-video/clips")
    source = SourceSettings(uri="s3://ingest-video/clips", interval_s=1.0)
    result = run_ingest("s3://ingest-video/corpus", source, storage=Storage())
    local = ingest(tmp_path, interval_s=1.0)
    assert [row["sha256"] for row in result.rows] == [row["sha256"] for row in local.rows]
    assert result.reasons == {"c.mp4": "empty"}
    with ImageReader(Storage()) as reader:
        for row in reversed(result.rows):
            assert hashlib.sha256(reader.read(row)).hexdigest() == row["sha256"]


@pytest.mark.parametrize("size", [(1, 1), (96, 64), (333, 217)])
def test_the_png_of_pixels_is_read_as_those_pixels(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    data = to_png(pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(image), pixels)
    assert data == to_png(pixels.copy())


def test_a_turned_clip_is_shown_as_people_see_it(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in" / "a.mp4", scenes(4))
    (plain,) = all_frames(clip)[:1]
    data = bytearray(clip.read_bytes())
    # The matrix of the track's header (ISO 14496-12, 8.3.2): a quarter turn clockwise.
    at = data.index(b"tkhd") + 4 + 40
    width = plain.shape[0] << 16
    matrix = (0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, width, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9I", *matrix)
    clip.write_bytes(bytes(data))
    (row,) = ingest(tmp_path, interval_s=None).rows
    assert (row["width"], row["height"]) == (64, 96)
    with ImageReader(Storage()) as reader:
        assert np.array_equal(np.asarray(decode(reader.read(row))), np.rot90(plain, -1))


def test_motion_is_no_change_of_scene(tmp_path: Path) -> None:
    frames = [scene_frame(0, 3 * step) for step in range(40)]
    write_clip(tmp_path / "in" / "a.mp4", frames)
    assert [meta["frame"] for meta in metas(ingest(tmp_path, interval_s=None))] == [0]
