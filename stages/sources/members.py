"""The members of a tar, by their headers alone, and where reading them stopped.

``tarfile`` ends without a word at the first broken header and at an end-of-archive mark
with more archives behind it, and takes the sizes of its extension headers on trust. Here
the formats it reads (V7, ustar, GNU long names, pax) are read so that nothing is lost
unseen.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from stages.contract import Reason

BLOCK = 512
#: Read ahead so that a header and the small sidecars behind it cost one request.
_READ_AHEAD = 64 * 1024
_SCAN = 1 << 20
#: Longer extension headers (names, pax records) are taken for damage.
_EXTENSION_LIMIT = 1 << 20

_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_KINDS = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"5": "folder",
    b"6": "a pipe",
    b"S": "a sparse file, whose data do not lie in one piece",
}
#: Types without data blocks, whatever their size field says.
_WITHOUT_DATA = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})


@dataclass(frozen=True)
class Member:
    """One entry of a tar.

    Args:
        name: Its path inside the tar; bytes that are not UTF-8 come as surrogates.
        offset: First byte of its data.
        length: Bytes of its data.
        kind: ``file``, ``folder``, or in words what else it is.
        cut: Whether the tar ends before its data do.
    """

    name: str
    offset: int
    length: int
    kind: str
    cut: bool


@dataclass(frozen=True)
class Ending:
    """Why a tar could not be read to its end."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class _Header:
    name: str
    size: int
    kind: bytes


@dataclass
class _Extension:
    """What extension headers say about the member behind them."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


@dataclass
class _Position:
    offset: int = 0
    after: str = "the start"
    extension: _Extension = field(default_factory=_Extension)


class TarMembers:
    """Walks through the headers of a tar.

    Args:
        file: The tar, open for random access. Data of members are skipped, not read.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self.size: int = file.size()
        self._file = io.BufferedReader(file, _READ_AHEAD)
        #: Set after iteration if the tar could not be read to its end.
        self.ending: Ending | None = None

    def read(self, member: Member) -> bytes:
        """The data of a member; cheap for small members right after their header."""
        return self._read(member.offset, member.length)

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def __iter__(self) -> Iterator[Member]:
        """Members in the order of the file."""
        self.ending = self._refuse()
        position = _Position()
        while self.ending is None:
            block = self._read(position.offset, BLOCK)
            if len(block) < BLOCK:
                self.ending = self._truncated(position)
            elif not block.strip(b"\x00"):
                following = self._next_archive(position.offset)
                if following is None:
                    return
                position = _Position(following, position.after)
            else:
                yield from self._step(block, position)

    def _refuse(self) -> Ending | None:
        if self.size == 0:
            return Ending(Reason.EMPTY, "the tar has 0 bytes")
        head = self._read(0, 8)
        for magic, name in _COMPRESSIONS.items():
            if head.startswith(magic):
                return Ending(
                    Reason.UNSUPPORTED,
                    f"the tar is compressed with {name}, so its members cannot be read by "
                    "range: decompress it first",
                )
        return None

    def _step(self, block: bytes, position: _Position) -> Iterator[Member]:
        """Take one header; moves ``position`` on, or sets ``ending``."""
        try:
            header = _parse(block)
            if header.kind in b"LKxg":
                self._extend(header, position)
                return
        except ValueError as error:
            self.ending = self._broken(position, error)
            return
        member = self._member(header, position)
        following = member.offset
        if header.kind not in _WITHOUT_DATA:
            following += _padded(member.length)
        yield member
        position.after = member.name
        position.offset = following
        position.extension = _Extension()
        if member.cut:
            self.ending = self._truncated(_Position(self.size, member.name))

    def _member(self, header: _Header, position: _Position) -> Member:
        extension = position.extension
        name = extension.name if extension.name is not None else header.name
        size = extension.size if extension.size is not None else header.size
        kind = _KINDS.get(header.kind, "file")
        if extension.sparse:
            kind = _KINDS[b"S"]
        elif header.kind in b"\x000" and name.endswith("/"):  # how V7 writes folders
            kind = "folder"
        offset = position.offset + BLOCK
        length = 0 if header.kind in _WITHOUT_DATA else size
        return Member(name, offset, length, kind, offset + length > self.size)

    def _extend(self, header: _Header, position: _Position) -> None:
        if header.size > _EXTENSION_LIMIT:
            raise ValueError(f"an extension header of {header.size} bytes")
        data = self._read(position.offset + BLOCK, header.size)
        if len(data) < header.size:
            self.ending = self._truncated(_Position(self.size, position.after))
            return
        if header.kind == b"L":
            position.extension.name = _text(data)
        elif header.kind == b"x":
            _apply_pax(data, position.extension)
        position.offset += BLOCK + _padded(header.size)

    def _truncated(self, position: _Position) -> Ending:
        return Ending(
            Reason.TRUNCATED,
            f"the tar ends at byte {self.size} (after {_printable(position.after)}) without "
            "an end-of-archive mark: what followed, if anything, is lost",
        )

    def _broken(self, position: _Position, error: Exception) -> Ending:
        return Ending(
            Reason.UNREADABLE,
            f"broken header at byte {position.offset} (after {_printable(position.after)}): "
            f"{error}; the {self.size - position.offset} bytes from there were not read",
        )

    def _next_archive(self, mark: int) -> int | None:
        """Where another archive begins behind an end-of-archive mark (``cat a.tar b.tar``)."""
        position = mark
        while data := self._read(position, _SCAN):
            filled = data.lstrip(b"\x00")
            if filled:
                return position + (len(data) - len(filled)) // BLOCK * BLOCK
            position += len(data)
        return None


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _parse(block: bytes) -> _Header:
    """One 512-byte header.

    Raises:
        ValueError: If the checksum or a number is wrong.
    """
    if _number(block[148:156]) not in _checksums(block):
        raise ValueError("the checksum is wrong")
    name = _text(block[:100])
    kind = block[156:157]
    # GNU tar keeps other things where ustar has the prefix of the name.
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\x00" else ""
    return _Header(f"{prefix}/{name}" if prefix else name, _number(block[124:136]), kind)


def _checksums(block: bytes) -> tuple[int, int]:
    """The sum of all bytes with the checksum as spaces; some old tars add signed bytes."""
    counted = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(counted)
    return unsigned, unsigned - 256 * sum(byte > 127 for byte in counted)


def _number(digits: bytes) -> int:
    """A number in octal, or for large ones in base 256 after a byte 0x80."""
    if digits[0] == 0x80:
        return int.from_bytes(digits[1:], "big")
    text = digits.split(b"\x00", 1)[0].strip(b" ")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise ValueError(f"{digits!r} is no octal number")
    return int(text, 8)


def _text(data: bytes) -> str:
    return data.split(b"\x00", 1)[0].decode("utf-8", errors="surrogateescape")


def _apply_pax(data: bytes, extension: _Extension) -> None:
    """Take what matters from pax records: ``length keyword=value`` and a line break each.

    Raises:
        ValueError: If a record is malformed.
    """
    position = 0
    while position < len(data):
        head, space, _ = data[position : position + 20].partition(b" ")
        if not space or not head.isdigit() or int(head) <= len(head) + 1:
            raise ValueError("a malformed pax record")
        record = data[position + len(head) + 1 : position + int(head) - 1]
        keyword, _, value = record.partition(b"=")
        if keyword == b"path":
            extension.name = value.decode("utf-8", errors="surrogateescape")
        elif keyword == b"size":
            if not value.isdigit() or len(value) > 20:
                raise ValueError("a malformed pax size")
            extension.size = int(value)
        elif keyword.startswith(b"GNU.sparse."):
            extension.sparse = True
        position += int(head)


def _printable(name: str) -> str:
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")
