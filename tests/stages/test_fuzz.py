"""Thousands of damaged images and tars: each is read or quarantined with a reason.

The work runs in a process of its own, so that a crash and a hang are seen and named.
"""

from __future__ import annotations

import io
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stages.contract import ItemError, Reason
from stages.inspection import inspect
from stages.sources import SourceSettings, Unit, reader_of
from stages.storage import Storage
from tests.stages.sources.made import encoded, picture, run_ingest, tar_of

IMAGES_PER_FORMAT = 300
TARS = 400
#: Seconds that one damaged file may take; a sound one of this size takes a millisecond.
PATIENCE = 20.0

_REASONS = {reason.value for reason in Reason} - {"worker_crash", "stage_error"}


def _seeds() -> dict[str, bytes]:
    """One small sound image of every kind that Pillow writes."""
    frames = io.BytesIO()
    picture(1).save(frames, "GIF", save_all=True, append_images=[picture(n) for n in (2, 3)])
    return {
        "jpeg": encoded(1),
        "jpeg progressive": encoded(2, progressive=True),
        "jpeg cmyk": encoded(3, mode="CMYK"),
        "png": encoded(4, "PNG"),
        "png 16": encoded(5, "PNG", mode="I;16"),
        "png palette": encoded(6, "PNG", mode="P"),
        "webp": encoded(7, "WEBP"),
        "webp lossless": encoded(8, "WEBP", lossless=True),
        "gif animated": frames.getvalue(),
        "bmp": encoded(9, "BMP"),
        "tiff": encoded(10, "TIFF"),
        "tiff lzw": encoded(11, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encoded(12, "TIFF", compression="jpeg"),
        "avif": encoded(13, "AVIF"),
        "jpeg 2000": encoded(14, "JPEG2000"),
    }


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 4, 32])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _splice(data: bytearray, rng: random.Random) -> None:
    start, other = rng.randrange(len(data)), rng.randrange(len(data))
    length = rng.randrange(1, 64)
    data[start : start + length] = data[other : other + rng.randrange(1, 64)]


def _edit_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(min(64, len(data)))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


def _lengths(data: bytearray, rng: random.Random) -> None:
    """Overwrite what may be a length or a count with an extreme value."""
    width = rng.choice([2, 4, 8])
    at = rng.randrange(max(1, len(data) - width))
    value = rng.choice([0, 1, (1 << (8 * width - 1)) - 1, (1 << (8 * width)) - 1, len(data)])
    data[at : at + width] = value.to_bytes(width, rng.choice(["big", "little"]))  # type: ignore[arg-type]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 200)]
    data[start:start] = piece * rng.randrange(1, 20)


def _tail(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.randrange(1, 2000))


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip_bits, _cut, _splice, _edit_header, _lengths, _repeat, _tail),
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A damaged copy: one to three mutations, one after another."""
    copy = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        if copy:
            rng.choice(_MUTATIONS)(copy, rng)
    return bytes(copy)


def _damaged_images() -> Iterator[tuple[str, bytes]]:
    rng = random.Random(20_261)
    for name, data in _seeds().items():
        for number in range(IMAGES_PER_FORMAT):
            yield f"{name} {number}", mutated(data, rng)


def _damaged_tars() -> Iterator[tuple[str, bytes]]:
    rng = random.Random(20_262)
    seeds = list(_seeds().items())
    for number in range(TARS):
        members = [
            *((f"d/{n}.{name.split()[0]}", data) for n, (name, data) in enumerate(seeds[:6])),
            *((f"d/{n}.txt", b"caption") for n in range(6)),
            *((f"d/{n}.json", b'{"a": [1, 2]}') for n in range(3)),
            ("d/" + "long" * 60 + ".jpg", seeds[0][1]),
        ]
        rng.shuffle(members)
        yield f"tar {number}", _damage_tar(bytearray(tar_of(members)), rng)


def _damage_tar(data: bytearray, rng: random.Random) -> bytes:
    blocks = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    at = rng.choice(blocks)
    kind = rng.randrange(6)
    if kind == 0:
        del data[rng.randrange(len(data)) :]
    elif kind == 1:
        data[at + rng.randrange(512)] ^= 1 << rng.randrange(8)
    elif kind == 2:  # a wrong header with a right checksum
        field = rng.choice([(0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (345, 155)])
        data[at + field[0] : at + sum(field)] = rng.choice(
            [bytes(field[1]), rng.randbytes(field[1]), b"7" * field[1], b"\x80" + b"\xff" * 200]
        )[: field[1]].ljust(field[1], b"\x00")
        _sign(data, at)
    elif kind == 3:
        other = rng.choice(blocks)
        data[at : at + 512], data[other : other + 512] = (
            data[other : other + 512],
            data[at : at + 512],
        )
    elif kind == 4:
        data[at + 156 : at + 157] = rng.choice([b"L", b"K", b"x", b"g", b"S", b"1", b"5", b"Z"])
        _sign(data, at)
    else:
        return mutated(bytes(data), rng)
    return bytes(data)


def _sign(data: bytearray, at: int) -> None:
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\x00 " % sum(data[at : at + 512])


def _look(data: bytes) -> str:
    try:
        found = inspect(data, 1_000_000)
    except ItemError as error:
        return error.reason.value if error.detail else "no detail"
    assert found.width > 0
    assert found.height > 0
    return "read"


def _look_at_tar(folder: Path, data: bytes) -> str:
    """The real enumeration; what it lists lies inside the file, and it accounts for all."""
    file = folder / "shard.tar"
    file.write_bytes(data)
    settings = SourceSettings(uri=str(file))
    unit = Unit(str(file), "tar", str(file), 0, len(data), "", (), settings.shaping())
    found = list(reader_of("tar").candidates(Storage(), unit))
    for one in found:
        if one.error_reason is None:
            assert one.offset is not None
            assert one.length is not None
            assert one.offset + one.length <= len(data)
            _look(data[one.offset : one.offset + one.length])
    reasons = {one.error_reason for one in found} - {None}
    assert reasons <= _REASONS
    for one in found:
        str(one.key + (one.alt_text or "") + (one.meta or "")).encode("utf-8")
    endings = [one.error_reason for one in found if one.key == file.name]
    return str(endings[-1]) if endings else "read"


def _work(kind: str, folder: Path, pipe: Connection) -> None:
    if kind == "images":
        for name, data in _damaged_images():
            pipe.send((name, _look(data)))
    else:
        for name, data in _damaged_tars():
            pipe.send((name, _look_at_tar(folder, data)))
    pipe.send(None)


def _watch(kind: str, folder: Path) -> Counter[str]:
    """Run all cases in a child; fail with the case that crashed it or kept it too long."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(kind, folder, sender), daemon=True)
    child.start()
    sender.close()
    outcomes: Counter[str] = Counter()
    last: Any = "the start"
    try:
        while True:
            # The first answer waits for the child's imports too.
            assert receiver.poll(PATIENCE if outcomes else 120), f"hangs on what follows {last}"
            answer = receiver.recv()
            if answer is None:
                return outcomes
            last = answer
            outcomes[answer[1]] += 1
    except EOFError:
        raise AssertionError(f"crashed on what follows {last}") from None
    finally:
        child.kill()
        child.join()


def test_damaged_images_are_read_or_have_a_reason(tmp_path: Path) -> None:
    outcomes = _watch("images", tmp_path)
    assert sum(outcomes.values()) == IMAGES_PER_FORMAT * len(_seeds())
    assert set(outcomes) <= _REASONS | {"read"}
    # The damage is real, and not so great that nothing behind the header is tried.
    assert 0.1 < outcomes["read"] / sum(outcomes.values()) < 0.9
    assert outcomes["truncated"] > 100


def test_damaged_tars_are_read_or_have_a_reason(tmp_path: Path) -> None:
    outcomes = _watch("tars", tmp_path)
    assert sum(outcomes.values()) == TARS
    assert set(outcomes) <= _REASONS | {"read"}
    # Some damage only touches names or pixels; the rest must have been noticed.
    assert outcomes["truncated"] > TARS / 20
    assert outcomes["unreadable"] > TARS / 10


def test_damaged_files_through_the_whole_of_ingest(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    images = [case for number, case in enumerate(_damaged_images()) if number % 40 == 0]
    for name, data in images:
        (folder / f"{name}.jpg").write_bytes(data)
    result = run_ingest(tmp_path / "c", SourceSettings(uri=str(folder)), partition_items=50)
    assert len(result.rows) + len(result.quarantined) == len(images)
    assert set(result.reasons.values()) <= _REASONS
