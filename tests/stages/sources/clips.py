"""Small videos made with PyAV, of scenes that are known."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

#: Backgrounds that differ by more than 30 grey levels from one to the next.
COLOURS = ((30, 60, 120), (230, 190, 60), (40, 20, 30), (200, 230, 240), (90, 30, 90))
SIZE = (96, 64)


def scene_frame(scene: int, step: int, size: tuple[int, int] = SIZE) -> Pixels:
    """A frame of a scene: its colour, and a bright square that moves a pixel each frame."""
    width, height = size
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = COLOURS[scene % len(COLOURS)]
    left = step % max(1, width - 16)
    pixels[height // 2 - 8 : height // 2 + 8, left : left + 16] = (250, 250, 250)
    return pixels


def scenes(*lengths: int, size: tuple[int, int] = SIZE) -> list[Pixels]:
    """Frames of scenes with so many frames each."""
    return [
        scene_frame(n, step, size) for n, length in enumerate(lengths) for step in range(length)
    ]


def write_clip(
    path: Path,
    frames: Sequence[Pixels],
    codec: str = "libx264",
    *,
    rate: int = 10,
    gop: int = 12,
    form: str | None = None,
    sound: bool = False,
) -> Path:
    """Encode frames; with ``sound`` a second of silence is added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form) as container:
        height, width = frames[0].shape[:2]
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = gop
        stream.codec_context.thread_count = 1
        silence = container.add_stream("aac", rate=8000) if sound else None
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if silence is not None:
            _add_silence(container, silence)
    return path


def write_sound(path: Path) -> Path:
    """A file with a second of silence and no picture."""
    with av.open(str(path), "w") as container:
        _add_silence(container, container.add_stream("aac", rate=8000))
    return path


def _add_silence(container: av.container.OutputContainer, stream: av.AudioStream) -> None:
    for number in range(8):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 8000, number * 1024
        frame.time_base = Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def all_frames(path: Path) -> list[Pixels]:
    """Every frame of a clip, decoded from its start to its end."""
    from stages.sources.frames import to_rgb

    with av.open(io.BytesIO(path.read_bytes())) as container:
        return [to_rgb(frame) for frame in container.decode(video=0)]
