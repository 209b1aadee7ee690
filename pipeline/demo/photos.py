"""The photographs of the sample set: whole pictures and tiles of scikit-image's free ones.

Only files that ship inside the wheel and whose documentation gives them to the public domain,
under CC0, or without known copyright restrictions. Left out for want of such a statement:
the motorcycle pair, the moon, the printed page, the faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from pipeline.demo.canvas import Picture

_LONG_SIDE = 512
_PUBLIC_DOMAIN = "public domain"
_CC0 = "CC0-1.0"
_FREE = "no known copyright restrictions"


@dataclass(frozen=True)
class _Source:
    """A photograph in the wheel.

    Args:
        file: Its name in scikit-image's data folder.
        credit: Who made it.
        licence: As its documentation states.
        captions: English and Chinese.
        grid: Columns and rows of tiles to cut; 1 by 1 keeps it whole.
        skip: Tiles left out, numbered by rows from 0.
    """

    file: str
    credit: str
    licence: str
    captions: tuple[str, str]
    grid: tuple[int, int] = (1, 1)
    skip: frozenset[int] = frozenset()


_SOURCES = (
    _Source(
        "astronaut.png",
        "NASA",
        _PUBLIC_DOMAIN,
        ("Astronaut Eileen Collins in an orange space suit", "身穿橙色航天服的女宇航员"),
    ),
    _Source(
        "camera.png",
        "Lav Varshney",
        _CC0,
        ("A man with a film camera on a tripod", "一名男子在草地上用三脚架拍摄"),
    ),
    _Source(
        "chelsea.png",
        "Stefan van der Walt",
        _CC0,
        ("A ginger tabby cat looking to the side", "一只橘色虎斑猫的特写"),
    ),
    _Source(
        "coffee.png",
        "Rachel Michetti",
        _CC0,
        ("A cup of espresso on a red saucer", "木桌上红色杯碟里的一杯浓缩咖啡"),
    ),
    _Source(
        "coins.png",
        "Brooklyn Museum",
        _FREE,
        ("Rows of Greek coins from Pompeii", "庞贝出土的成排希腊钱币"),
    ),
    _Source(
        "rocket.jpg",
        "SpaceX",
        _PUBLIC_DOMAIN,
        ("A rocket on its launch pad at dusk", "黄昏时发射台上的火箭"),
    ),
    _Source(
        "cell.png",
        "Paul Müller and others",
        _CC0,
        ("A cell floating in saline, seen by holography", "盐水中漂浮的细胞"),
    ),
    _Source(
        "clock_motion.png",
        "Stefan van der Walt",
        _PUBLIC_DOMAIN,
        ("A wall clock blurred by motion", "因相机移动而模糊的挂钟"),
    ),
    _Source(
        "text.png",
        "Wikipedia",
        _PUBLIC_DOMAIN,
        ("Handwritten formulas on paper", "纸上手写的公式"),
    ),
    _Source(
        "hubble_deep_field.jpg",
        "NASA, ESA",
        _PUBLIC_DOMAIN,
        ("Distant galaxies in the Hubble deep field", "哈勃深空中的遥远星系"),
        grid=(4, 3),
    ),
    _Source(
        "retina.jpg",
        "Mikael Häggström",
        _CC0,
        ("Blood vessels of a human retina", "人眼视网膜的血管"),
        grid=(4, 4),
        skip=frozenset({0, 3, 12, 15}),
    ),
    _Source(
        "ihc.png",
        "CMMI",
        _FREE,
        ("Stained tissue under the microscope", "显微镜下的染色组织"),
        grid=(3, 3),
    ),
    _Source(
        "grass.png",
        "linolafett",
        _CC0,
        ("Blades of grass seen from above", "俯视的草地"),
        grid=(2, 2),
    ),
    _Source(
        "gravel.png",
        "CC0Textures",
        _CC0,
        ("Grey gravel", "灰色碎石"),
        grid=(2, 2),
    ),
    _Source(
        "brick.png",
        "CC0Textures",
        _CC0,
        ("A brick wall", "砖墙"),
        grid=(2, 2),
    ),
)


def photographs() -> Iterator[Picture]:
    """The photographs, each distinct: tiles of one photograph do not overlap.

    Raises:
        ImportError: If scikit-image is not installed, or came without its data folder.
    """
    folder = _data_folder()
    for source in _SOURCES:
        with Image.open(folder / source.file) as opened:
            image = opened.convert("RGB")
        whole = source.grid == (1, 1)
        for number, tile in _tiles(image, source):
            stem = Path(source.file).stem.replace("_", "-")
            yield Picture(
                name=f"photo-{stem}" if whole else f"photo-{stem}-{number:02d}",
                kind="photo",
                image=_sized(tile),
                captions=dict(zip(("en", "zh"), source.captions, strict=True)),
                meta={"credit": source.credit, "licence": source.licence},
            )


def _data_folder() -> Path:
    spec = find_spec("skimage")
    hint = "install it with: pip install 'winnow[demo]'"
    if spec is None or spec.origin is None:
        raise ImportError(f"the sample photographs come with scikit-image, not found here; {hint}")
    folder = Path(spec.origin).parent / "data"
    absent = [source.file for source in _SOURCES if not (folder / source.file).is_file()]
    if absent:
        raise ImportError(f"scikit-image at {folder} lacks {', '.join(absent)}; {hint}")
    return folder


def _tiles(image: Image.Image, source: _Source) -> Iterator[tuple[int, Image.Image]]:
    columns, rows = source.grid
    width, height = image.width // columns, image.height // rows
    for number in range(columns * rows):
        if number not in source.skip:
            x, y = number % columns * width, number // columns * height
            yield number, image.crop((x, y, x + width, y + height))


def _sized(image: Image.Image) -> Image.Image:
    """Scale so that the long side is usual for the set; small tiles grow to half of it."""
    long_side = max(image.size)
    target = min(max(long_side, _LONG_SIDE // 2 + 64), _LONG_SIDE)
    if target == long_side:
        return image
    size = [round(side * target / long_side) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
