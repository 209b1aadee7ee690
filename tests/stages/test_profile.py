"""The profile stage on encoded images: rows, nulls, quarantine, repeatability."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError

from stages.contract import Reason
from stages.inspection import inspect
from stages.profile import ProfileSettings, ProfileStage
from stages.schemas import ITEMS, PROFILE
from stages.storage import Storage


def picture(seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(values).resize((160, 120), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def items(folder: Path, files: dict[str, bytes]) -> pa.Table:
    rows = []
    for index, (name, data) in enumerate(files.items()):
        (folder / name).write_bytes(data)
        rows.append({"item_id": index, "uri": str(folder / name), "key": name, "length": len(data)})
    return pa.Table.from_pylist(rows, schema=ITEMS)


def test_one_row_an_item_with_the_columns_of_the_table(tmp_path: Path) -> None:
    table = items(
        tmp_path,
        {
            "a.jpg": encoded(picture(), "JPEG", quality=70),
            "b.png": encoded(picture(), "PNG"),
            "c.webp": encoded(picture(), "WEBP", lossless=True),
        },
    )
    output = ProfileStage(ProfileSettings(), Storage()).process(table)
    assert output.quarantined == []
    assert output.rows.schema == PROFILE
    jpeg, png, webp = output.rows.to_pylist()
    assert jpeg["jpeg_quality"] == 70
    assert png["jpeg_quality"] is None
    assert png["size_ratio"] == pytest.approx(table["length"][1].as_py() / (160 * 120 * 3))
    assert png["compression_ratio"] == pytest.approx(1 / png["size_ratio"])
    assert {row["reencode_quality"] for row in (jpeg, png, webp)} == {75}
    # The same pixels have the same signals, whatever encoded them.
    for row in (png, webp):
        del row["item_id"], row["size_ratio"], row["compression_ratio"]
    assert png == webp


def test_alpha_and_animation_are_seen_in_the_file(tmp_path: Path) -> None:
    clear = picture().convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 160, 60))
    frames = {"save_all": True, "append_images": [picture(1), picture(2)]}
    files = {
        "a.png": encoded(clear, "PNG"),
        "b.webp": encoded(clear, "WEBP", lossless=True),
        "c.gif": encoded(picture(), "GIF", **frames),
        "d.webp": encoded(picture(), "WEBP", **frames),
        "e.jpg": encoded(picture(), "JPEG"),
    }
    table = items(tmp_path, files)
    looked = [inspect(data, 10**6) for data in files.values()]
    for name in ("format", "frames"):
        place = ITEMS.get_field_index(name)
        values = pa.array([getattr(each, name) for each in looked], ITEMS.field(name).type)
        table = table.set_column(place, ITEMS.field(name), values)
    rows = ProfileStage(ProfileSettings(), Storage()).process(table).rows
    assert rows["alpha_share"].to_pylist() == [0.5, 0.5, 0, 0, 0]
    assert rows["animated"].to_pylist() == [False, False, True, True, False]


def test_broken_items_are_quarantined_and_the_others_stay(tmp_path: Path) -> None:
    whole = encoded(picture(), "PNG")
    table = items(tmp_path, {"a.png": whole, "b.png": whole[:300], "c.png": whole})
    (tmp_path / "c.png").unlink()
    output = ProfileStage(ProfileSettings(), Storage()).process(table)
    assert output.rows["item_id"].to_pylist() == [0]
    reasons = {item.item_id: item.reason for item in output.quarantined}
    assert reasons[2] == Reason.MISSING
    assert set(reasons) == {1, 2}


def test_rows_do_not_depend_on_threads_and_repeat(tmp_path: Path) -> None:
    files = {f"{seed}.jpg": encoded(picture(seed), "JPEG") for seed in range(9)}
    table = items(tmp_path, files)
    once = ProfileStage(ProfileSettings(), Storage()).process(table)
    again = ProfileStage(ProfileSettings(threads=4), Storage()).process(table)
    assert once.rows.equals(again.rows)


def test_reencode_quality_shapes_rows_and_threads_do_not() -> None:
    default = ProfileSettings()
    assert ProfileSettings(threads=8).fingerprint_fields() == default.fingerprint_fields()
    other = ProfileSettings(reencode_quality=80)
    assert other.fingerprint_fields() != default.fingerprint_fields()
    with pytest.raises(ValidationError, match="less than or equal to 95"):
        ProfileSettings(reencode_quality=96)
