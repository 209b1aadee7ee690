from __future__ import annotations

import io
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.contract import ItemError
from stages.images import ImageReader, decode, map_images, read_images, to_rgb
from stages.storage import Storage
from tests.conftest import S3Server
from tests.stages.sources.made import encoded, picture, tar_of

COLUMNS = ("uri", "container", "member", "offset", "length", "key")


def _row(uri: Path, **rest: object) -> dict[str, object]:
    return {**dict.fromkeys(COLUMNS), "uri": str(uri), "key": uri.name, **rest}


def _table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist([{"item_id": n, **row} for n, row in enumerate(rows)])


@pytest.mark.parametrize("threads", [1, 4])
def test_bytes_come_back_in_order_from_every_container(tmp_path: Path, threads: int) -> None:
    images = [encoded(n) for n in range(20)]
    rows = []
    tar = tar_of([(f"{n}.jpg", data) for n, data in enumerate(images)])
    (tmp_path / "a.tar").write_bytes(tar)
    structs = [{"bytes": data, "path": None} for data in images]
    pq.write_table(pa.table({"image": structs}), tmp_path / "a.parquet", row_group_size=3)
    for number, data in enumerate(images):
        (tmp_path / f"{number}.jpg").write_bytes(data)
        rows.append(_row(tmp_path / f"{number}.jpg", length=len(data)))
        rows.append(_row(tmp_path / "a.tar", offset=tar.index(data), length=len(data)))
        rows.append(
            _row(tmp_path / "a.parquet", container="parquet", member="image", offset=number)
        )
    found = list(read_images(_table(rows), Storage(), threads=threads))
    assert found == [data for data in images for _ in range(3)]


def test_what_is_gone_or_changed_is_an_error_of_the_item(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    pq.write_table(pa.table({"image": [b"1", None]}), tmp_path / "a.parquet")
    rows = [
        _row(tmp_path / "gone.jpg"),
        _row(tmp_path / "a.jpg", length=4),
        _row(tmp_path / "a.jpg", offset=3, length=9),
        _row(tmp_path),
        _row(tmp_path / "a.parquet", container="parquet", member="image", offset=1),
        _row(tmp_path / "a.parquet", container="parquet", member="image", offset=7),
        _row(tmp_path / "a.jpg", container="parquet", member="image", offset=0),
        _row(tmp_path / "a.jpg", length=5),
    ]
    *errors, good = read_images(_table(rows), Storage())
    assert good == b"12345"
    assert [error.reason.value for error in errors if isinstance(error, ItemError)] == [
        *("missing", "changed", "changed", "unreadable", "missing", "changed", "unreadable")
    ]


def test_a_broken_parquet_page_is_the_item_s_fault_on_object_storage_too(
    s3: S3Server, tmp_path: Path
) -> None:
    sink = io.BytesIO()
    table = pa.table({"image": [bytes(range(256)) * 40] * 50})
    pq.write_table(table, sink, compression="snappy", use_dictionary=False)
    data = bytearray(sink.getvalue())
    data[60:400] = b"\xff" * 340
    bucket = f"pages-{uuid.uuid4().hex[:8]}"
    s3.filesystem().create_dir(bucket)
    for uri in (str(tmp_path / "a.parquet"), f"s3://{bucket}/a.parquet"):
        Storage().write(uri, bytes(data))
        row = {**dict.fromkeys(COLUMNS), "container": "parquet", "member": "image", "offset": 3}
        with (
            ImageReader(Storage()) as reader,
            pytest.raises(ItemError, match="Corrupt snappy") as caught,
        ):
            reader.read({**row, "uri": uri})
        assert caught.value.reason.value == "unreadable"


def test_a_limit_is_checked_before_reading(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(bytes(100))
    with ImageReader(Storage(), max_bytes=99) as reader:
        for rest in ({}, {"offset": 0, "length": 100}):
            with pytest.raises(ItemError, match="more than max_bytes = 99"):
                reader.read(_row(tmp_path / "a.jpg", **rest))
        assert reader.read(_row(tmp_path / "a.jpg", offset=0, length=99)) == bytes(99)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = to_rgb(
        picture(1).convert("L").convert(mode)
        if mode == "I;16"
        else picture(1).convert("RGB").convert(mode)
    )
    assert (image.mode, image.size) == ("RGB", (48, 32))


def test_transparency_is_laid_over_white_and_sixteen_bits_keep_their_range() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert to_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16))
    sink = io.BytesIO()
    deep.save(sink, "PNG")
    assert decode(sink.getvalue()).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_an_image_is_turned_by_its_orientation_and_leaves_its_file(
    kind: str, orientation: int | None
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    buffer, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    smooth = Image.fromarray(values).resize((50, 30))
    smooth.save(buffer, kind, exif=exif, lossless=True, quality=95)
    with Image.open(io.BytesIO(buffer.getvalue())) as opened:
        stored = np.asarray(opened) if kind != "TIFF" else np.asarray(smooth)
    ways = {
        2: lambda it: it[:, ::-1],
        3: lambda it: it[::-1, ::-1],
        4: lambda it: it[::-1],
        5: lambda it: it.transpose(1, 0, 2),
        6: lambda it: np.rot90(it, -1),
        7: lambda it: it[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90,
    }
    image = decode(buffer.getvalue())
    assert np.array_equal(np.asarray(image), ways.get(orientation or 1, lambda it: it)(stored))
    # The file's decoder may hold as much memory as the pixels.
    assert type(image) is Image.Image


def test_a_function_that_fails_quarantines_its_item_only(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(number))
    (tmp_path / "3.jpg").write_bytes(b"junk")

    def width(image: Image.Image, row: dict[str, object]) -> dict[str, object]:
        if row["key"] == "1.jpg":
            raise KeyError("no such thing")
        return {"width": image.width, "bytes": len(row["data"])}  # type: ignore[arg-type]

    table = _table([_row(tmp_path / f"{number}.jpg") for number in range(4)])
    results = map_images(table, Storage(), width, threads=2)
    assert results[0] == {"width": 48, "bytes": len(encoded(0))}
    reasons = [r.reason.value for r in results if isinstance(r, ItemError)]
    assert reasons == ["stage_error", "unreadable"]
