"""Animations: read back by Pillow frame by frame; MP4 through whatever ffmpeg the PATH has, or not.

Turns red: in `animation.py`, `+ [LAST]` -> `+ [FRAME]`; `mode="edge"` -> `mode="constant"`.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from convscope import animation
from convscope.errors import ShapeError, StoreError, UsageError
from convscope.results import Picture, Table

FAKE = """#!{python}
import json, pathlib, sys
pixels = sys.stdin.buffer.read()
pathlib.Path({log!r}).write_text(json.dumps([sys.argv[1:], list(pixels)]))
if {fails}:
    sys.exit("no such encoder")
pathlib.Path(sys.argv[-1]).write_bytes(b"an mp4")
"""


def frames(n: int = 4, h: int = 6, w: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, h, w, 3), np.uint8)


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: bool = False) -> Path:
    """An ffmpeg that writes down what it was told."""
    log, program = folder / "log.json", folder / "ffmpeg"
    program.write_text(FAKE.format(python=sys.executable, log=str(log), fails=fails))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return log


def test_apng_keeps_every_pixel_and_holds_the_last_frame() -> None:
    given = frames()
    found = Image.open(io.BytesIO(animation.encoded(given, ".apng")))
    assert (found.format, found.n_frames, found.info["loop"]) == ("PNG", 4, 0)  # type: ignore[attr-defined]
    times: list[float] = []
    for frame, wanted in zip(ImageSequence.Iterator(found), given, strict=True):
        np.testing.assert_array_equal(np.array(frame.convert("RGB")), wanted)
        times.append(frame.info["duration"])
    assert times == [80, 80, 80, 2000]


def test_gif_has_a_palette_a_frame() -> None:
    given = frames()  # 30 colours a frame: all of them fit
    found = Image.open(io.BytesIO(animation.encoded(given, ".gif")))
    times: list[float] = []
    for frame, wanted in zip(ImageSequence.Iterator(found), given, strict=True):
        assert np.abs(np.array(frame.convert("RGB")).astype(int) - wanted).mean() < 3
        times.append(frame.info["duration"])
    assert times == [80, 80, 80, 2000]


def test_mp4_goes_through_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, given = fake(tmp_path, monkeypatch), frames()
    assert animation.encoded(given, ".mp4") == b"an mp4"
    words, pixels = json.loads(log.read_text())
    assert words[words.index("-s") + 1] == "6x6"  # an odd side is made even
    assert words[words.index("-r") + 1] == "12.5"
    shown = np.array(pixels, np.uint8).reshape(-1, 6, 6, 3)
    np.testing.assert_array_equal(shown[:4, :, :5], given)
    np.testing.assert_array_equal(shown[:4, :, 5], given[:, :, 4])
    assert len(shown) == 4 + 24  # the last one stands for two seconds


def test_mp4_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"ffmpeg is not on the PATH; install ffmpeg, or save as .gif or .apng"):
        animation.encoded(frames(), ".mp4")
    fake(tmp_path, monkeypatch, fails=True)
    with pytest.raises(UsageError, match=r"ffmpeg says: no such encoder; save as .gif or .apng"):
        animation.encoded(frames(), ".mp4")


def test_what_is_no_animation_is_refused() -> None:
    with pytest.raises(UsageError, match=r"an animation as '.avi'; that is none; use one of .gif, .apng, .mp4"):
        animation.encoded(frames(), ".avi")
    with pytest.raises(UsageError, match=r"an animation without frames; there is nothing to show; give at least one"):
        animation.encoded(frames(0), ".gif")
    with pytest.raises(ShapeError, match=r"frames must be \(N, H, W, 3\) uint8; got \(4, 6, 5\) uint8; colour them first"):
        animation.encoded(frames()[..., 0], ".gif")


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".GIF"])
def test_a_picture_is_saved_as_its_tiles(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    given = frames()
    Picture(tiles=given, units=tuple("abcd"), scale="rgb").save(path)
    assert path.read_bytes() == animation.encoded(given, suffix.lower())
    signed = Picture(tiles=np.linspace(-1, 1, 60).reshape(2, 6, 5), units=("a", "b"), signed=True)
    with Image.open(signed.save(tmp_path / "y.gif")) as moving:
        assert moving.n_frames == 2  # type: ignore[attr-defined]


def test_only_pictures_move_and_no_half_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"cannot save a table as 'x.gif'"):
        Table(columns={"a": np.arange(3)}).save(tmp_path / "x.gif")
    monkeypatch.setenv("PATH", "")
    picture = Picture(tiles=frames(), units=tuple("abcd"), scale="rgb")
    with pytest.raises(UsageError, match="ffmpeg"):
        picture.save(tmp_path / "x.mp4")
    with pytest.raises(StoreError, match="cannot write"):
        picture.save(tmp_path / "nowhere" / "x.gif")
    assert list(tmp_path.iterdir()) == []
