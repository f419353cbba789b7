"""Pixels of files, and what a network reads of them.

Mutations that turn this red (each tried): divide 16 bits by 256 · composite on black · forget `exif_transpose` ·
`int(` -> `round(` for the longer side in `_resized` · swap mean and std in `inverse` · drop the BGR flip in `inverse` ·
`np.rint` -> truncation in `inverse` · accept `resize_to` below the crop.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convscope.errors import DataError, ShapeError, StoreError, UnknownName, UsageError
from convscope.images import PRESETS, Preprocess, load_image, preset, read_image, sized

RNG = np.random.default_rng(0)


def picture(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def test_rgb_and_grey_come_back_bit_equal(tmp_path: Path) -> None:
    for shape in ((5, 7, 3), (5, 7)):
        pixels = picture(*shape)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        found, notes = read_image(tmp_path / "a.png")
        assert found.dtype == np.uint8
        assert notes == ()
        np.testing.assert_array_equal(found, pixels.reshape(5, 7, -1))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    found, notes = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found[0, :2], [[200, 0, 0], [255, 255, 255]])
    assert abs(int(found[0, 2, 1]) - 127) <= 1  # (1 − 128/255)·255
    assert notes == ("transparent: laid on white",)


def test_grey_with_transparency_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), [[[10], [255]]])


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), [[[255, 0, 0], [255, 255, 255]]])
    image.save(tmp_path / "b.png")
    np.testing.assert_array_equal(load_image(tmp_path / "b.png"), [[[255, 0, 0], [0, 0, 255]]])


def test_sixteen_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 32767, 65535]], np.uint16)).save(tmp_path / "a.png")
    found, notes = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found.ravel(), [0, 1, 127, 255])
    assert notes == ("16 bits: divided by 257",)


def test_one_bit_and_cmyk(tmp_path: Path) -> None:
    Image.new("1", (2, 2), 1).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").tolist() == [[[255], [255]], [[255], [255]]]
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "b.jpg", quality=100)
    found, notes = read_image(tmp_path / "b.jpg")
    assert found.shape == (8, 8, 3)
    assert np.abs(found[0, 0].astype(int) - [255, 0, 0]).max() <= 3
    assert notes == ("CMYK: turned into RGB",)


def test_turned_by_exif(tmp_path: Path) -> None:
    pixels = picture(4, 6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found, notes = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found, np.rot90(pixels, -1))
    assert notes == ("turned upright (EXIF)",)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    found, notes = read_image(tmp_path / "a.gif")
    assert found[0, 0].tolist() == [255, 0, 0]
    assert "several frames: the first was taken" in notes


def test_large_and_tiny(tmp_path: Path) -> None:
    for size in ((3000, 2000), (1, 1)):
        Image.new("RGB", size, "red").save(tmp_path / "a.png")
        x = PRESETS["imagenet"](load_image(tmp_path / "a.png"))
        assert x.shape == (3, 224, 224)
        red = (np.array([1, 0, 0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        np.testing.assert_allclose(x[:, 0, 0], red, rtol=1e-6)


def broken(folder: Path) -> dict[str, Path]:
    """Files that no one can read, by what is wrong with them."""
    buffer = io.BytesIO()
    Image.fromarray(picture(64, 64, 3)).save(buffer, "JPEG")
    png = io.BytesIO()
    Image.fromarray(picture(64, 64, 3)).save(png, "PNG")
    contents = {
        "truncated.jpg": buffer.getvalue()[:500], "empty.png": b"", "text.png": b"hello, this is no picture\n" * 9,
        "header.png": png.getvalue()[:20], "damaged.png": png.getvalue()[:60] + b"\0" * 40 + png.getvalue()[100:],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    for name, path in broken(tmp_path).items():
        with pytest.raises(DataError, match=rf"cannot read .*{name}"):
            load_image(path)
    with pytest.raises(DataError, match=r"the file is empty \(0 bytes\); restore it or remove it"):
        load_image(tmp_path / "empty.png")
    with pytest.raises(DataError, match="there is no such file; give the path"):
        load_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="it is a folder"):
        load_image(tmp_path)


def test_pixels_without_a_range_are_refused(tmp_path: Path) -> None:
    for mode in ("F", "I"):
        Image.new(mode, (2, 2)).save(tmp_path / "a.tif")
        with pytest.raises(DataError, match=r"cannot read .*a.tif; pixels of type .; 32-bit numbers have no fixed range"):
            load_image(tmp_path / "a.tif")


def test_any_cut_of_a_file_is_an_image_or_an_error(tmp_path: Path) -> None:
    for kind in ("PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(picture(9, 8, 3)).save(buffer, kind)
        whole = buffer.getvalue()
        for _ in range(25):
            data = bytearray(whole[: RNG.integers(1, len(whole))])
            data[RNG.integers(0, len(data))] ^= 0xFF
            (tmp_path / "a.bin").write_bytes(data)
            try:
                outcome = str(load_image(tmp_path / "a.bin").dtype)
            except DataError as error:
                outcome = str(error)
            assert outcome == "uint8" or outcome.startswith(f"cannot read {tmp_path / 'a.bin'}; ")


def test_formula() -> None:
    pixels = picture(4, 5, 3)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    x = Preprocess(mean=tuple(mean), std=tuple(std))(pixels)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, ((pixels / 255 - mean) / std).transpose(2, 0, 1), atol=1e-6)
    caffe = Preprocess(mean=(104.0, 117.0, 123.0), range=255.0, channels="BGR")(pixels)
    np.testing.assert_array_equal(caffe, (pixels[..., ::-1] - np.array([104.0, 117.0, 123.0])).transpose(2, 0, 1))


@given(st.sampled_from(["RGB", "BGR", "L", 1, 3, 4, 7]), st.sampled_from([1.0, 255.0]), st.integers(1, 9), st.integers(1, 9))
def test_inverse_gives_the_pixels_back(channels: str | int, white: float, h: int, w: int) -> None:
    count = {"RGB": 3, "BGR": 3, "L": 1}.get(str(channels), channels)
    assert isinstance(count, int)
    pixels = np.random.default_rng(h * 10 + w).integers(0, 256, (h, w, count)).astype(np.uint8)
    preprocess = Preprocess(mean=(0.4 * white,), std=(0.25 * white,), range=white, channels=channels)
    shown = preprocess.inverse(preprocess(pixels))
    expected = pixels[..., :3] if count >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(preprocess.inverse(preprocess(pixels)[None]), expected[None])


def test_inverse_clips_and_refuses() -> None:
    unit = PRESETS["unit"]
    assert unit.inverse(np.full((3, 1, 1), 7.0)).tolist() == [[[255, 255, 255]]]
    with pytest.raises(ShapeError, match=r"shape \(1, 2, 2\); wanted \(3, H, W\)"):
        unit.inverse(np.zeros((1, 2, 2)))
    with pytest.raises(DataError, match="NaN or infinite"):
        unit.inverse(np.full((3, 1, 1), np.nan))


def test_crop_is_torchvisions() -> None:
    """Resize(256): the longer side is cut to an integer; CenterCrop: the odd pixel falls as round() says."""
    pixels = picture(37, 61, 3)
    short, long = 20, int(20 * 61 / 37)
    middle = np.array(Image.fromarray(pixels).resize((long, short), Image.Resampling.BILINEAR))
    left = round((long - 16) / 2)
    expected = middle[2:18, left : left + 16]
    x = Preprocess((16, 16), "crop", 20, range=255.0)(pixels)
    np.testing.assert_array_equal(x, expected.transpose(2, 0, 1))


def test_the_ways_to_a_size() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 5:15] = 255
    assert Preprocess((10, 10), "crop")(pixels).min() == 1  # exactly the white middle
    padded = Preprocess((20, 20), "pad", mean=(0.2,))(pixels)
    assert np.abs(padded[:, :5]).max() == 0  # padded with the mean, which becomes 0 (51 = 0.2 · 255 exactly)
    np.testing.assert_allclose(padded[:, 5:15, 0], -0.2, atol=1e-6)
    assert Preprocess((7, 3), "stretch")(pixels).shape == (3, 7, 3)
    assert Preprocess((7, 3), "stretch", channels=5)(picture(10, 20, 5)).shape == (5, 7, 3)
    for h, w in ((1, 500), (500, 1), (1, 1), (999, 3)):
        for how in ("crop", "pad", "stretch"):
            assert Preprocess((17, 31), how)(picture(h, w, 3)).shape == (3, 17, 31)
    with pytest.raises(ShapeError, match=r"reads 5×5 pixels; the image has 10×20; choose resize="):
        Preprocess((5, 5))(pixels)


def test_channels_work_or_are_refused() -> None:
    assert Preprocess()(picture(3, 3, 1)).shape == (3, 3, 3)
    assert Preprocess(channels="L")(np.full((1, 1, 3), [[[255, 0, 0]]], np.uint8)).item() == pytest.approx(76 / 255)
    for count in (2, 4):
        with pytest.raises(ShapeError, match=rf"reads 3 channels \(RGB\); the image has {count}; give channels"):
            Preprocess()(picture(3, 3, count))
    for wrong in (np.zeros((3, 3, 3)), np.zeros((3, 3), np.uint8), np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ShapeError, match=r"an image must be uint8 of shape \(H, W, C\); got"):
            Preprocess()(wrong)


@pytest.mark.parametrize(("fields", "message"), [
    ({"resize": "crop"}, r"size must be \(height, width\)"),
    ({"size": (0, 4)}, "size must be"),
    ({"size": (4, 4, 4)}, "size must be"),
    ({"resize": "zoom"}, "resize must be one of none, stretch, crop, pad; got 'zoom'; presets: imagenet"),
    ({"std": (0.0,)}, "std must be positive"),
    ({"mean": (0.1, 0.2)}, "mean must be 1 or 3 finite"),
    ({"mean": (0.1, 0.2), "channels": "L"}, "mean must be one finite number"),
    ({"mean": (float("nan"),)}, "finite"),
    ({"range": 2.0}, "range must be 1 or 255"),
    ({"channels": "HSV"}, "channels must be 'RGB'"),
    ({"channels": True}, "channels must be"),
    ({"interpolation": "magic"}, "one of bilinear"),
    ({"size": (9, 9), "resize": "crop", "resize_to": 8}, "resize_to must be at least"),
    ({"size": (9, 9), "resize": "pad", "resize_to": 10}, "resize_to must be at least"),
])
def test_settings_that_make_no_sense(fields: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preprocess(**fields)


def test_kept_on_disk(tmp_path: Path) -> None:
    for preprocess in PRESETS.values():
        path = preprocess.save(tmp_path / "preprocess.json")
        assert Preprocess.load(path) == preprocess == preset(str(path))
        assert hash(Preprocess.load(path)) == hash(preprocess)
    path.write_text(json.dumps({"sise": 3}))
    with pytest.raises(UnknownName, match="no field of Preprocess named 'sise'; closest: 'size'"):
        Preprocess.load(path)
    for text in ("{", "[1]"):
        path.write_text(text)
        with pytest.raises(StoreError, match=r"cannot read the preprocessing .*make it with Preprocess"):
            Preprocess.load(path)
    with pytest.raises(UnknownName, match="no preprocessing named 'imagnet'; closest: 'imagenet'"):
        preset("imagnet")


def test_words() -> None:
    assert PRESETS["caffe"].describe() == ("BGR; 224×224 pixels, cropped from the centre after the shorter side became 256 "
                                           "(bilinear); 0 … 255, minus 104, 117, 123, divided by 1")
    assert Preprocess().describe() == "RGB; size as it is; 0 … 1, minus 0, divided by 1"
    assert Preprocess((4, 5), channels=7).describe().startswith("7 channels as they are; 4×5 pixels, must have them;")


def test_sized_for_a_network() -> None:
    small = sized(PRESETS["imagenet"], (3, 112, 112))
    assert (small.size, small.resize_to) == ((112, 112), 128)
    assert sized(PRESETS["unit"], (1, 28, 28)) == Preprocess((28, 28), "stretch", channels="L")
    assert sized(PRESETS["unit"], (1, 13, 8, 8)).channels == 13
    assert sized(PRESETS["caffe"], (3, 227, 227)).channels == "BGR"
