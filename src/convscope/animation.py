"""Frames as an animation: GIF and APNG by Pillow, MP4 where ffmpeg is there. Pixels in, bytes out; no torch.

All frames (N, H, W, 3) uint8 are of one size and stand 80 ms each, the last one two seconds, so that it can be looked at.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.errors import ShapeError, UsageError

FRAME, LAST = 80, 2000  # ms
SUFFIXES = (".gif", ".apng", ".mp4")


def encoded(frames: NDArray[np.uint8], suffix: str) -> bytes:
    """The frames as the bytes of a file. The same frames give the same bytes (MP4: with the same ffmpeg).

    GIF has 256 colours a frame; APNG and its colours are exact; MP4 has even sides (a row or column is repeated) and halves
    the resolution of colour. Errors: UsageError for another suffix, for no frames, or where MP4 lacks ffmpeg.

    >>> encoded(np.zeros((2, 4, 4, 3), np.uint8), ".gif")[:6]
    b'GIF89a'
    """
    if suffix not in SUFFIXES:
        raise UsageError(f"an animation as {suffix!r}", "that is none", f"use one of {', '.join(SUFFIXES)}")
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape[1:]:
        raise ShapeError("frames must be (N, H, W, 3) uint8", f"got {frames.shape} {frames.dtype}", "colour them first")
    if len(frames) == 0:
        raise UsageError("an animation without frames", "there is nothing to show", "give at least one")
    return _mp4(frames) if suffix == ".mp4" else _by_pillow(frames, suffix)


def _by_pillow(frames: NDArray[np.uint8], suffix: str) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    if suffix == ".gif":
        images = [image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    stream = io.BytesIO()
    images[0].save(stream, {".gif": "GIF", ".apng": "PNG"}[suffix], save_all=True, append_images=images[1:],
                   duration=[FRAME] * (len(images) - 1) + [LAST], loop=0)
    return stream.getvalue()


def _mp4(frames: NDArray[np.uint8]) -> bytes:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise UsageError("an animation as .mp4", "ffmpeg is not on the PATH", "install ffmpeg, or save as .gif or .apng")
    even = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    _, height, width, _ = even.shape
    held = np.repeat(even[-1:], LAST // FRAME - 1, axis=0)
    with tempfile.TemporaryDirectory() as folder:  # MP4 is not written from front to back: a pipe would not do
        file = Path(folder) / "out.mp4"
        command = [ffmpeg, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
                   "-r", f"{1000 / FRAME:g}", "-i", "pipe:0", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
                   "-map_metadata", "-1", "-fflags", "+bitexact", str(file)]
        done = subprocess.run(command, input=np.concatenate([even, held]).tobytes(), capture_output=True, check=False)
        if done.returncode != 0 or not file.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise UsageError("an animation as .mp4", f"ffmpeg says: {said[-1]}", "save as .gif or .apng")
        return file.read_bytes()
