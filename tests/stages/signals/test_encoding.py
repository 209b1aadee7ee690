"""Signals of the encoding, on files whose right answer is known."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from stages.signals import encoding
from stages.signals.working import working_copy
from tests.stages.signals.pictures import encoded, noise, reopened


def luminance_table(data: bytes) -> list[int]:
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, JpegImageFile)
        return list(image.quantization[0])


def quality(data: bytes) -> int | None:
    with Image.open(io.BytesIO(data)) as image:
        return encoding.jpeg_quality(getattr(image, "quantization", None))


def reencoded(image: Image.Image, at: int = 75) -> float:
    return encoding.reencoded_bytes_per_pixel(working_copy(image).pixels, at)


def test_size_ratio_is_one_for_raw_bytes_and_small_for_compressed() -> None:
    assert encoding.size_ratio(100 * 50 * 3, 100, 50) == 1
    assert encoding.size_ratio(1500, 100, 50) == pytest.approx(0.1)


def test_over_compression_lowers_the_size_ratio() -> None:
    ratios = [encoding.size_ratio(len(encoded(noise(), quality=q)), 64, 64) for q in (5, 50, 95)]
    assert ratios == sorted(ratios)


def test_compression_ratio_is_the_inverse_and_high_where_over_compressed() -> None:
    assert encoding.compression_ratio(1500, 100, 50) == pytest.approx(10)
    sizes = [len(encoded(noise(), quality=q)) for q in (5, 50, 95)]
    ratios = [encoding.compression_ratio(size, 64, 64) for size in sizes]
    assert ratios == sorted(ratios, reverse=True)
    for size, ratio in zip(sizes, ratios, strict=True):
        assert ratio * encoding.size_ratio(size, 64, 64) == pytest.approx(1)


def test_jpeg_quality_is_what_the_file_was_saved_at() -> None:
    image = noise(16, 16)
    for saved in range(1, 101):
        assert quality(encoded(image, quality=saved)) == saved


def test_jpeg_quality_is_null_without_a_known_table() -> None:
    image = noise(16, 16)
    for kind in ("PNG", "WEBP", "GIF", "BMP"):
        assert quality(encoded(image, kind)) is None
    assert quality(encoded(image, qtables=[[10] * 64, [10] * 64])) is None
    assert encoding.jpeg_quality({1: [16] * 64}) is None
    assert encoding.jpeg_quality({0: [16] * 63}) is None


def test_jpeg_quality_of_a_grey_image_and_of_slightly_different_tables() -> None:
    image = noise(16, 16)
    assert quality(encoded(image.convert("L"), quality=60)) == 60
    for saved in (10, 35, 60, 90):
        tables = {0: luminance_table(encoded(image, quality=saved))}
        for place in (5, 20, 40):
            tables[0][place] += 1
        estimate = encoding.jpeg_quality(tables)
        assert estimate is not None
        assert abs(estimate - saved) <= 1


def test_jpeg_quality_of_tables_of_sixteen_bits() -> None:
    annex = np.array(luminance_table(encoded(noise(16, 16), quality=50)))
    # Quality 5 scales by ten; libjpeg cuts at 255 only for baseline files.
    assert encoding.jpeg_quality({0: (annex * 10).tolist()}) == 5


def test_reencoded_bytes_count_information_not_headers_or_size() -> None:
    flat = [Image.new("RGB", (side, side), (90, 60, 30)) for side in (64, 256, 1024)]
    # A flat 16 x 16 block needs a few bits in each of its six 8 x 8 units.
    assert all(reencoded(image) < 0.03 for image in flat)
    assert reencoded(noise()) > 0.5
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).convert("RGB")
    assert reencoded(ramp) < 0.1


@pytest.mark.parametrize("size", [(64, 64), (200, 300), (1, 1), (5, 300), (300, 5), (16, 16)])
def test_reencoded_bytes_rise_with_quality_and_equal_themselves(size: tuple[int, int]) -> None:
    image = noise(*size)
    values = [reencoded(image, at) for at in (10, 75, 95)]
    assert values == sorted(values)
    assert values[1] == reencoded(image)
    assert reencoded(reopened(image, "WEBP", lossless=True)) == values[1]


def test_reencoded_bytes_of_a_sample_are_near_those_of_the_whole() -> None:
    smooth = noise(24, 32).resize((512, 384), Image.Resampling.BICUBIC)
    for image in (smooth, noise(384, 512)):
        whole = encoded(image, quality=75, subsampling="4:2:0")
        expected = (len(whole) - whole.rindex(b"\xff\xda")) / (512 * 384)
        assert reencoded(image) == pytest.approx(expected, rel=0.2)


def test_alpha_share_is_the_share_of_pixels_that_are_not_opaque() -> None:
    image = Image.new("RGBA", (10, 10), (200, 10, 10, 255))
    assert encoding.alpha_share(image) == 0
    image.paste((0, 0, 0, 0), (0, 0, 10, 5))
    assert encoding.alpha_share(image) == 0.5
    image.putpixel((0, 9), (0, 0, 0, 254))
    assert encoding.alpha_share(image) == pytest.approx(0.51)
    for kind in ("PNG", "WEBP"):
        data = encoded(image, kind, lossless=True) if kind == "WEBP" else encoded(image, kind)
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            assert encoding.alpha_share(opened) == pytest.approx(0.51)


def test_alpha_share_of_palettes_and_of_modes_without_alpha() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 0), 0)
    with Image.open(io.BytesIO(encoded(palette, "GIF", transparency=0))) as opened:
        opened.load()
        assert encoding.alpha_share(opened) == pytest.approx(1 / 16)
    for mode in ("RGB", "L", "CMYK", "I;16"):
        assert encoding.alpha_share(Image.new(mode, (3, 3))) == 0


@pytest.mark.parametrize(
    ("frames", "kind", "expected"),
    [
        (1, "gif", False),
        (3, "gif", True),
        (2, "webp", True),
        (7, "tiff", False),
        (None, "gif", None),
    ],
)
def test_animated_is_more_than_one_frame_in_time(
    frames: int | None, kind: str, expected: bool | None
) -> None:
    assert encoding.animated(frames, kind) is expected
