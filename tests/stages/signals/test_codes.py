"""QR codes, drawn by the library that reads them, in places where one is or is not."""

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from stages.signals.codes import finder_marks, qr_code
from tests.stages.signals.pictures import grey, noise, pattern, reopened, signals


def code(text: str = "https://example.org/item?id=12345", module: int = 4) -> Image.Image:
    drawn = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    modules = np.asarray(drawn.to_image(scale=1, add_quiet_zones=True))
    return grey(np.kron(modules, np.ones((module, module))))


def scene(part: Image.Image, angle: float = 0) -> Image.Image:
    base = pattern().resize((512, 400), Image.Resampling.BICUBIC)
    turned = part.convert("RGBA").rotate(angle, Image.Resampling.BICUBIC, expand=True)
    base.paste(turned, (60, 30), turned)
    return base


@pytest.mark.parametrize("module", [2, 3, 4, 7])
@pytest.mark.parametrize("angle", [0, 12, 90, 180, 200])
def test_a_code_is_found_at_any_size_and_angle(module: int, angle: float) -> None:
    assert signals(scene(code(module=module), angle))["qr_code"] is True


def test_a_code_is_found_light_on_dark_and_after_jpeg() -> None:
    inverted = Image.eval(code(), lambda value: 255 - value)
    assert signals(scene(inverted))["qr_code"] is True
    assert signals(reopened(scene(code()), "JPEG", quality=50))["qr_code"] is True


def test_a_code_is_found_in_a_large_image_where_the_working_copy_still_shows_it() -> None:
    large = Image.new("RGB", (2000, 1500), (210, 200, 190))
    large.paste(code(module=12), (700, 500))
    assert signals(large)["qr_code"] is True


def test_no_code_in_noise_flat_images_and_rings() -> None:
    for image in (noise(300, 300), pattern(), grey(np.full((100, 100), 200))):
        assert signals(image)["qr_code"] is False
    y, x = np.mgrid[0:300, 0:300]
    rings = (np.hypot(y - 150, x - 150) // 10 % 2) * 255
    assert signals(grey(rings))["qr_code"] is False


def test_a_code_too_damaged_to_read_counts_and_two_of_its_marks_do_not() -> None:
    modules = np.asarray(code("hello", module=6).convert("L"))
    marks = finder_marks(modules)
    assert len(marks) == 3
    for kept, expected in ((3, True), (2, False)):
        damaged = np.full_like(modules, 255)
        for x, y, size, _ in marks[:kept]:
            half = size // 2 + 6
            place = np.s_[y - half : y + half + 1, x - half : x + half + 1]
            damaged[place] = modules[place]
        assert len(finder_marks(damaged)) == kept
        assert qr_code(damaged) is expected


def test_one_mark_is_where_it_was_drawn() -> None:
    values = np.full((120, 150), 255, dtype=np.uint8)
    for inset, level in ((0, 0), (5, 255), (10, 0)):
        values[40 + inset : 75 - inset, 60 + inset : 95 - inset] = level
    ((x, y, size, dark),) = finder_marks(values)
    assert abs(x - 77) <= 1
    assert abs(y - 57) <= 1
    assert (size, dark) == (35, 1)
