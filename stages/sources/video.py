"""Video files: frames at scene changes and at intervals, each an item like any other.

A frame is found again by its time stamp and decoded anew; nothing is written beside the
video. What stages read of a frame is a PNG whose bytes follow from its pixels alone (see
``to_png``), so its length and its SHA-256 mean for frames what they mean for files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.contract import Reason
from stages.sources.base import (
    READ_ERRORS,
    Candidate,
    Piece,
    Reader,
    SourceFile,
    SourceSettings,
    Unit,
    error_row,
    error_row_or_raise,
)
from stages.sources.frames import luminance_grid, scene_score
from stages.sources.texts import to_meta
from stages.sources.video_file import NotAVideoError, OpenVideo
from stages.storage import Storage

#: Bytes of video that give one frame, roughly; only used to pack videos into partitions.
_TYPICAL_BYTES = 500_000


@dataclass(frozen=True)
class Taken:
    """One frame that becomes a candidate.

    Args:
        number: Its number in the clip, from 0, in the order of showing.
        pts: Its time stamp in units of the stream; ``None`` where the stream has none.
        time: Seconds after the first frame.
        scene: Number of its scene in the clip, from 0.
    """

    number: int
    pts: int | None
    time: float
    scene: int


@dataclass
class Scan:
    """What one pass over a clip finds.

    Args:
        taken: The frames, in order.
        frames: Frames decoded.
        failed: Packets that could not be decoded.
        end: Seconds from the first frame to the end of the last.
        declared: Seconds that the file says the stream lasts; ``None`` where it does not.
    """

    taken: list[Taken]
    frames: int = 0
    failed: int = 0
    end: float = 0.0
    declared: float | None = None

    @property
    def cut_short(self) -> bool:
        """Whether more than a second and a twentieth of what the file declares is not there."""
        if self.declared is None:
            return False
        return self.end < self.declared - max(1.0, 0.05 * self.declared)


class VideoReader(Reader):
    """A whole clip is one unit: only decoding it tells where its scenes change."""

    def split(self, storage: Storage, file: SourceFile, settings: SourceSettings) -> list[Piece]:
        """The clip, whole."""
        del storage
        return [Piece(0, 1, min(settings.max_frames, max(1, file.size // _TYPICAL_BYTES)))]

    def candidates(self, storage: Storage, unit: Unit) -> Iterator[Candidate]:
        """The frames that are taken of the clip, and a row for what is broken in it."""
        if unit.stamp.startswith("!"):
            yield error_row(unit, Reason.MISSING, f"{unit.uri} is no regular file")
            return
        settings = unit.source_settings()
        try:
            with OpenVideo(storage, unit.uri) as video:
                found = scan(video, settings)
        except NotAVideoError as error:
            yield error_row(unit, error.reason, error.detail, key=_key(unit))
            return
        except READ_ERRORS as error:
            yield error_row_or_raise(storage, unit, error)
            return
        for one in found.taken:
            yield _candidate(unit, one)
        problem = _problem(found)
        if problem is not None:
            yield error_row(unit, *problem, key=_key(unit))


def scan(video: OpenVideo, settings: SourceSettings) -> Scan:
    """Decode a clip once and choose its frames.

    The first frame is taken, every frame that begins a scene, and one whenever
    ``interval_s`` have passed since the last. Of more than ``max_frames`` that many are kept,
    spread evenly.
    """
    taken: list[Taken] = []
    found = Scan(taken, declared=video.declared)
    before = None
    change, start, last, scene = 0.0, 0.0, 0.0, 0
    for number, frame in enumerate(video.frames()):
        now = video.seconds(frame, number)
        start = now if number == 0 else start
        grid = luminance_grid(frame)
        score, change = scene_score(before, grid, change)
        before = grid
        found.frames, found.end = number + 1, now - start + float(1 / video.rate)
        cut = settings.scene_threshold is not None and score >= settings.scene_threshold
        scene += cut
        due = settings.interval_s is not None and now - last >= settings.interval_s - 1e-6
        if (number == 0 or cut or due) and not frame.is_corrupt:
            taken.append(Taken(number, frame.pts, round(now - start, 3), scene))
            last = now
    found.failed = video.failed
    found.taken = _thinned(taken, settings.max_frames)
    return found


def _thinned(taken: Sequence[Taken], most: int) -> list[Taken]:
    """At most so many, spread evenly, the first among them."""
    if len(taken) <= most:
        return list(taken)
    return [taken[place * len(taken) // most] for place in range(most)]


def _problem(found: Scan) -> tuple[Reason, str] | None:
    """What is to be said of a clip beside its frames."""
    if not found.frames:
        detail = f"no frame of it can be decoded ({found.failed} packets failed)"
        return Reason.UNREADABLE, detail
    there = f"{len(found.taken)} frames were taken"
    if found.cut_short:
        detail = f"the video ends after {found.end:.1f} of {found.declared:.1f} s; {there}"
        return Reason.TRUNCATED, detail
    if found.failed:
        return Reason.UNREADABLE, f"{found.failed} packets cannot be decoded; {there}"
    return None


def _candidate(unit: Unit, one: Taken) -> Candidate:
    meta = {"clip": unit.uri, "frame": one.number, "time_s": one.time, "scene": one.scene}
    return Candidate(
        uri=unit.uri,
        key=f"{_key(unit)}#t={one.time:.3f}",
        source=unit.source,
        container="video",
        member=str(one.number),
        offset=one.pts,
        meta=to_meta(meta),
    )


def _key(unit: Unit) -> str:
    inside = unit.uri.removeprefix(unit.source.rstrip("/") + "/")
    return inside if inside != unit.uri else unit.uri.rsplit("/", 1)[-1]
