"""Video files as PyAV opens them: their moving pictures, and single frames found again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import pyarrow as pa

from stages.contract import ItemError, Reason
from stages.sources.frames import to_png, to_rgb
from stages.storage import Storage

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

#: Largest frame that a decoder makes room for, in pixels: a header may say anything.
MAX_PIXELS = 100_000_000
_BUFFER = 1 << 18
#: Demuxers in use. Others read files or addresses that a playlist inside the file names.
_FORMATS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,live_flv,asf,"
    "ogg,h264,hevc,m4v,mjpeg,ivf,obu,av1,mxf,dv,gif,nut,rm,wtv,"
    "mp3,wav,flac,aac"
)
#: Back from the wanted frame, in seconds, where a seek lands behind it.
_STEPS_BACK = (0.0, 2.0, 20.0)
#: Seconds of video that are decoded rather than sought over.
_DECODE_ON = 5


class NotAVideoError(Exception):
    """A file that holds no pictures that can be decoded.

    Args:
        reason: The quarantine code.
        detail: One sentence for the user.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class OpenVideo:
    """A video file with its first stream of moving pictures; not to be shared by threads.

    Args:
        storage: Where the uri is resolved.
        uri: The file.

    Raises:
        NotAVideoError: If it is empty, no video, or holds none.
        OSError: If it cannot be read.
    """

    def __init__(self, storage: Storage, uri: str) -> None:
        self._file: pa.NativeFile = storage.open(uri)
        try:
            self.container = _open(self._file)
            self.stream = _picture_stream(self.container)
        except BaseException:
            self._file.close()
            raise
        self.failed = 0

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close decoder and file."""
        self.container.close()
        self._file.close()

    def frames(self) -> Iterator[VideoFrame]:
        """Decode from where the file stands; packets that cannot be decoded are counted."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self.failed += 1
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except av.EOFError:
                return
            except av.FFmpegError:
                self.failed += 1

    def seconds(self, frame: VideoFrame, number: int) -> float:
        """When a frame is shown, by its time stamp or else by its number and the rate."""
        if frame.pts is not None and self.stream.time_base is not None:
            return float(frame.pts * self.stream.time_base)
        return float(number / self.rate)

    @property
    def rate(self) -> Fraction:
        """Frames a second, as the file says; 25 where it does not."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def declared(self) -> float | None:
        """Seconds that the pictures last, as the file says by its clock or by its frames."""
        stream, base = self.stream, self.stream.time_base
        if stream.duration is not None and base is not None:
            # Of a truncated AVI, FFmpeg cuts the duration down, but not the number of frames.
            return max(float(stream.duration * base), float(stream.frames / self.rate))
        # With sound beside it, the longer of the two sets the length of the file.
        alone = len(self.container.streams) == 1
        return self.container.duration / 1e6 if alone and self.container.duration else None


class FrameFinder:
    """Decodes given frames of videos again; safe to share between threads.

    The clip read last stays open, so that frames in order cost no seek.

    Args:
        storage: Where uris are resolved.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._uri: str | None = None
        self._video: OpenVideo | None = None
        self._decoding: Iterator[VideoFrame] = iter(())
        self._at: int | None = None  # number of the frame decoded last; unknown after a seek
        self._last: int | None = None  # its time stamp

    def close(self) -> None:
        """Close the clip that is open."""
        with self._lock:
            self._forget()

    def png(self, uri: str, number: int, pts: int | None) -> bytes:
        """One frame as a PNG.

        Args:
            uri: The video.
            number: The frame's number, for streams without time stamps.
            pts: Its time stamp, where it has one.

        Raises:
            ItemError: If there is no such frame any more.
            OSError: If the file cannot be read.
        """
        with self._lock:
            try:
                frame = self._by_number(uri, number) if pts is None else self._by_time(uri, pts)
            except NotAVideoError as error:
                self._forget()
                raise ItemError(error.reason, error.detail) from error
            except BaseException:
                self._forget()
                raise
            if frame is None:
                where = "" if pts is None else f" at time stamp {pts}"
                raise ItemError(Reason.CHANGED, f"{uri} has no frame {number}{where} any more")
            return to_png(to_rgb(frame, self._open(uri).stream.sample_aspect_ratio))

    def _open(self, uri: str) -> OpenVideo:
        if self._video is None or self._uri != uri:
            self._forget()
            self._video, self._uri = OpenVideo(self._storage, uri), uri
            self._decoding = self._video.frames()
            self._at, self._last = -1, None
        return self._video

    def _forget(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video, self._uri = None, None

    def _by_number(self, uri: str, number: int) -> VideoFrame | None:
        self._open(uri)
        if self._at is None or self._at >= number:
            self._forget()
            self._open(uri)
        for self._at, frame in enumerate(self._decoding, (self._at or 0) + 1):  # noqa: B020
            if self._at == number:
                return frame
        return None

    def _by_time(self, uri: str, pts: int) -> VideoFrame | None:
        """Decode up to the frame: on from the last one where it is near, else after a seek.

        Where no seek leads to it, from the start.
        """
        video = self._open(uri)
        base = video.stream.time_base or Fraction(1, 1)
        if self._last is not None and 0 < (pts - self._last) * base <= _DECODE_ON:
            frame = self._until(pts, from_key=False)
            if frame is not None:
                return frame
        for back in _STEPS_BACK:
            try:
                video.container.seek(pts - int(back / base), stream=video.stream)
            except _ffmpeg_error():
                break
            self._decoding, self._at = video.frames(), None
            frame = self._until(pts, from_key=True)
            if frame is not None:
                return frame
        self._forget()
        self._open(uri)
        return self._until(pts, from_key=False)

    def _until(self, pts: int, *, from_key: bool) -> VideoFrame | None:
        """The frame with a time stamp, decoding on.

        Frames before the first key frame after a seek lack what they refer to.
        """
        whole = not from_key
        for frame in self._decoding:
            whole = whole or frame.key_frame
            self._last, self._at = frame.pts, None
            if frame.pts == pts and whole and not frame.is_corrupt:
                return frame
            if frame.pts is not None and frame.pts > pts and whole:
                return None
        return None


def _ffmpeg_error() -> type[Exception]:
    import av

    return av.FFmpegError


def _open(file: pa.NativeFile) -> InputContainer:
    import av

    if file.size() == 0:
        raise NotAVideoError(Reason.EMPTY, "the file has 0 bytes")
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    try:
        return av.open(
            file, "r", container_options=options, buffer_size=_BUFFER, metadata_errors="ignore"
        )
    except av.FFmpegError as error:
        raise _unknown(file.read_at(16, 0), error) from error


def _unknown(head: bytes, error: av.FFmpegError) -> NotAVideoError:
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free"}:
        return NotAVideoError(
            Reason.TRUNCATED,
            "it begins like an MP4 or QuickTime video, but its index is not there: cut off, or "
            "never finished",
        )
    if head.startswith((b"\x1a\x45\xdf\xa3", b"RIFF", b"FLV")):
        return NotAVideoError(
            Reason.TRUNCATED, f"it begins like a video, but cannot be opened: {error.strerror}"
        )
    return NotAVideoError(
        Reason.NOT_AN_IMAGE, f"no known video format: it begins {head[:8].hex(' ')}"
    )


def _picture_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; the cover of a piece of music is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        context = stream.codec_context
        if context is None:
            raise NotAVideoError(Reason.UNSUPPORTED, "no decoder for its pictures is known")
        if context.width * context.height > MAX_PIXELS:
            raise NotAVideoError(
                Reason.TOO_LARGE,
                f"frames of {context.width} x {context.height} pixels, more than {MAX_PIXELS}",
            )
        context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
        context.thread_count = 1
        return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise NotAVideoError(
        Reason.NO_IMAGE, f"the file holds no moving pictures, only {', '.join(kinds) or 'nothing'}"
    )
