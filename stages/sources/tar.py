"""WebDataset tars: members that share a key are one sample."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from stages.contract import Reason
from stages.sources.base import (
    IMAGE_EXTENSIONS,
    READ_ERRORS,
    Candidate,
    Piece,
    Reader,
    SourceFile,
    SourceSettings,
    Unit,
    error_row,
    error_row_or_raise,
    extension,
)
from stages.sources.members import Member, TarMembers
from stages.sources.sidecars import SIDECAR_LIMIT, Description, describe
from stages.sources.texts import clean_text
from stages.storage import Storage

#: An image of a web data set takes about this much; only used to pack tars into partitions.
_TYPICAL_BYTES = 100_000

#: The key ends at the first dot of the base name, as in the webdataset library.
_KEY = re.compile(r"^((?:.*/|)[^./][^.]*)[.]([^/]*)$", re.DOTALL)


@dataclass
class _Sample:
    images: list[Member] = field(default_factory=list)
    sidecars: list[tuple[str, bytes | None]] = field(default_factory=list)
    odd: list[Member] = field(default_factory=list)


class TarReader(Reader):
    """A whole tar is one unit: only reading it tells what it holds."""

    def split(self, storage: Storage, file: SourceFile, settings: SourceSettings) -> list[Piece]:
        """The tar, whole."""
        del storage, settings
        return [Piece(0, max(1, file.size), max(1, file.size // _TYPICAL_BYTES))]

    def candidates(self, storage: Storage, unit: Unit) -> Iterator[Candidate]:
        """Every image of every sample, samples in the order their keys first appear.

        Members of a sample need not be neighbours. What cannot be an item has a row that
        says why: samples without an image, links, what a truncated tar has lost.
        """
        if unit.stamp.startswith("!"):
            yield error_row(unit, Reason.MISSING, f"{unit.uri} is no regular file")
            return
        try:
            with storage.open(unit.uri) as file:
                members = TarMembers(file)
                samples = _group(members)
        except READ_ERRORS as error:
            yield error_row_or_raise(storage, unit, error)
            return
        settings = unit.source_settings()
        for key, sample in samples.items():
            yield from _of_sample(unit, key, sample, settings)
        if members.ending is not None:
            yield error_row(unit, members.ending.reason, members.ending.detail)


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member; the whole name and nothing where it has no key."""
    match = _KEY.match(name)
    return (match.group(1), match.group(2)) if match else (name, "")


def _group(members: TarMembers) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for member in members:
        if member.kind == "folder":
            continue
        key, suffix = split_name(member.name)
        sample = samples.setdefault(key, _Sample())
        if member.kind != "file":
            sample.odd.append(member)
        elif extension(member.name) in IMAGE_EXTENSIONS:
            sample.images.append(member)
        else:
            sample.sidecars.append((suffix or member.name, _read(members, member)))
    return samples


def _read(members: TarMembers, member: Member) -> bytes | None:
    if member.cut or member.length > SIDECAR_LIMIT:
        return None
    return members.read(member)


def _of_sample(
    unit: Unit, key: str, sample: _Sample, settings: SourceSettings
) -> Iterator[Candidate]:
    key = clean_text(key)
    if sample.images:
        description = describe(sample.sidecars, settings.language)
        for member in sample.images:
            yield _of_image(unit, key, member, description)
    elif sample.sidecars:
        names = ", ".join(clean_text(name) for name, _ in sample.sidecars[:5])
        detail = f"sample {key} holds {names} but no image"
        yield error_row(unit, Reason.NO_IMAGE, detail, key=key)
    for member in sample.odd:
        detail = f"member {clean_text(member.name)} is {member.kind}"
        yield error_row(unit, Reason.UNSUPPORTED, detail, key=key)


def _of_image(unit: Unit, key: str, member: Member, description: Description) -> Candidate:
    name = clean_text(member.name)
    reason = detail = None
    if member.cut:
        reason = Reason.TRUNCATED.value
        detail = f"the tar ends inside {name}, which has {member.length} bytes"
    return Candidate(
        uri=unit.uri,
        key=key,
        source=unit.source,
        container="tar",
        member=name,
        offset=member.offset,
        length=member.length,
        alt_text=description.alt_text,
        language=description.language,
        meta=description.meta,
        error_reason=reason,
        error_detail=detail,
    )
