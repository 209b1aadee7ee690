"""Writes the sample set: two sources, sidecars, and the truth about every file."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.demo.broken import broken_files
from pipeline.demo.canvas import Picture
from pipeline.demo.copies import Encoded, encode, plan
from pipeline.demo.oddities import oddities
from pipeline.demo.patterns import patterns
from pipeline.demo.photos import photographs
from pipeline.demo.posters import posters
from pipeline.demo.scenes import scenes
from pipeline.demo.truth import SOURCE_FOLDERS, Truth, TruthItem

_FORMATS = {
    "photo": ("JPEG", "JPEG", "WEBP"),
    "poster": ("PNG", "JPEG", "JPEG", "WEBP"),
    "scene": ("JPEG", "PNG", "WEBP", "JPEG"),
}
_TARS = 2
_SAMPLES_PER_TAR = 30
_ORPHAN_KEY = "caption-without-image"

# Mirrored or recoloured, these can become another original of the set.
_NEVER_COPIED = ("scene-flat", "scene-gradient")


@dataclass(frozen=True)
class _Planted:
    """A file about to be written, with its truth and its sidecars by extension."""

    stem: str
    extension: str
    data: bytes
    truth: TruthItem
    sidecars: dict[str, bytes] = field(default_factory=dict)


def write_sample_set(folder: Path, seed: int = 0) -> Truth:
    """Write the sample set into a folder.

    ``images/`` holds files with sidecars, ``tars/`` two WebDataset tars, ``truth.jsonl``
    what is known of each. The same seed and library versions give the same bytes, and files
    that already hold them are left alone, so that a second run finds nothing new.

    Args:
        folder: Where to write; made if absent. An earlier set in it is replaced.
        seed: Of all that is drawn by chance; at least 0.

    Returns:
        What is known of each file and tar member, sorted by place.

    Raises:
        ImportError: If scikit-image, which brings the photographs, is not installed.
    """
    chance = np.random.default_rng(seed)
    originals = list(_originals(chance))
    copies = list(_copies(originals, chance))
    in_tars = _for_tars(originals, copies, chance)
    loose = [
        planted for planted in chain(originals, copies, _broken(chance), _odd(chance))
        if planted.stem not in in_tars
    ]  # fmt: skip
    items = [_write_file(folder, planted) for planted in loose]
    boxed = [planted for planted in (*originals, *copies) if planted.stem in in_tars]
    boxed.sort(key=lambda planted: in_tars.index(planted.stem))
    for number in range(_TARS):
        part = boxed[number * _SAMPLES_PER_TAR : (number + 1) * _SAMPLES_PER_TAR]
        items += _write_tar(folder, f"tars/sample-{number:03d}.tar", part)
    truth = Truth(tuple(sorted(items, key=lambda item: item.place)))
    _remove_strays(folder, truth)
    truth.write(folder / "truth.jsonl")
    return truth


def _remove_strays(folder: Path, truth: Truth) -> None:
    """Remove what an earlier set with another seed left behind, going by its own truth."""
    if not (folder / "truth.jsonl").is_file():
        return
    wanted = {item.path for item in truth.items}
    for item in Truth.read(folder / "truth.jsonl").items:
        parts = Path(item.path).parts
        ours = parts[0] in SOURCE_FOLDERS and ".." not in parts
        if ours and item.path not in wanted:
            for extension in ("", ".txt", ".json"):
                path = folder / item.path
                (path.with_suffix(extension) if extension else path).unlink(missing_ok=True)


def _originals(chance: np.random.Generator) -> Iterator[_Planted]:
    pictures = chain(photographs(), posters(chance), scenes(chance), patterns(chance))
    for number, picture in enumerate(pictures):
        forms = _FORMATS[picture.kind]
        encoded = encode(picture.name, picture.image, forms[number % len(forms)])
        sidecars, caption, language = _sidecars(picture, number)
        truth = TruthItem(
            path=f"images/{picture.kind}s/{encoded.name}.{encoded.extension}",
            kind=picture.kind,  # type: ignore[arg-type]
            group=picture.name,
            lines=picture.lines,
            caption=caption,
            language=language,
        )
        yield _Planted(encoded.name, encoded.extension, encoded.data, truth, sidecars)


def _sidecars(picture: Picture, number: int) -> tuple[dict[str, bytes], str | None, str | None]:
    """Photographs name their maker and licence; of the rest, three quarters have captions."""
    language = ("en", "zh")[number % 2]
    caption = picture.captions[language]
    if picture.meta or number % 4 == 2:
        row = {"caption": caption, **picture.meta}
        text = json.dumps(row, ensure_ascii=False, indent=1)
        return {"json": text.encode()}, caption, language
    if number % 4 == 3:
        return {}, None, None
    return {"txt": f"{caption}\n".encode()}, caption, language


def _copies(originals: list[_Planted], chance: np.random.Generator) -> Iterator[_Planted]:
    by_name = {planted.stem: planted for planted in originals}
    names = [name for name in by_name if not name.startswith(_NEVER_COPIED)]
    for name, transform in plan(names, chance):
        original = by_name[name]
        copy = transform(Encoded(name, original.extension, original.data))
        truth = TruthItem(
            path=f"images/copies/{copy.name}.{copy.extension}",
            kind="copy",
            group=name,
            transform=transform.name,
            expected=transform.expected,
        )
        yield _Planted(copy.name, copy.extension, copy.data, truth)


def _broken(chance: np.random.Generator) -> Iterator[_Planted]:
    for file in broken_files(chance):
        stem, extension = file.name.rsplit(".", 1)
        path = f"images/broken/{file.name}"
        truth = TruthItem(path, "broken", f"broken-{file.name}", reason=file.reason)
        yield _Planted(stem, extension, file.data, truth)


def _odd(chance: np.random.Generator) -> Iterator[_Planted]:
    for file in oddities(chance):
        stem, extension = file.name.rsplit(".", 1)
        path = f"images/odd/{file.name}"
        truth = TruthItem(path, "oddity", f"odd-{file.name}", transform=file.what)
        yield _Planted(stem, extension, file.data, truth)


def _for_tars(
    originals: Iterable[_Planted], copies: Iterable[_Planted], chance: np.random.Generator
) -> list[str]:
    """Stems of the samples that go into tars, so that copies also cross sources."""
    stems = sorted(planted.stem for planted in (*originals, *copies))
    # The showpieces stay where a person looks first.
    stems = [stem for stem in stems if "chelsea" not in stem and "-coffee" not in stem]
    picks = chance.choice(len(stems), _TARS * _SAMPLES_PER_TAR, replace=False)
    return [stems[int(pick)] for pick in picks]


def _write_file(folder: Path, planted: _Planted) -> TruthItem:
    path = folder / planted.truth.path
    for extension, data in planted.sidecars.items():
        _put(path.with_suffix(f".{extension}"), data)
    _put(path, planted.data)
    return planted.truth


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def _write_tar(folder: Path, path: str, samples: list[_Planted]) -> list[TruthItem]:
    """A WebDataset tar of samples, and one caption that has lost its image."""
    members = {
        f"{sample.stem}.{extension}": data
        for sample in samples
        for extension, data in [(sample.extension, sample.data), *sample.sidecars.items()]
    }
    members[f"{_ORPHAN_KEY}.txt"] = "一张不见了的照片\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(members.items()):
            header = tarfile.TarInfo(name)
            header.size, header.mode = len(data), 0o644
            tar.addfile(header, io.BytesIO(data))
    _put(folder / path, buffer.getvalue())
    orphan = TruthItem(path, "broken", f"{path}-{_ORPHAN_KEY}", key=_ORPHAN_KEY, reason="no_image")
    return [*(replace(s.truth, path=path, key=s.stem) for s in samples), orphan]
