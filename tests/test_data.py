"""Where collections come from: built-in sets, folders with good and bad files, datasets.

Mutations that turn this red (each tried): follow links to folders above · take hidden files · sort class folders the other
way · `white` decided image by image · tensors read as (H, W, C) · `round(16·p/255)` no longer exact (divide by 15) ·
`_printable` removed.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import open_collection
from convscope.errors import DataError, UsageError
from convscope.images import PRESETS, load_image
from tests.test_images import broken

RNG = np.random.default_rng(0)
SHARED = Path(__file__).parents[2] / "shared" / "data"


def save(path: Path, colour: str = "red", size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_digits_give_the_sixteen_levels_back() -> None:
    from sklearn.datasets import load_digits

    found = open_collection("digits")
    pixels = np.stack([found[i] for i in range(len(found))])
    assert pixels.shape == (1797, 8, 8, 1)
    np.testing.assert_array_equal(np.rint(pixels[..., 0] * (16 / 255)), load_digits().images)
    np.testing.assert_array_equal(found.labels, load_digits().target)
    assert (found.ids[42], found.classes[3], pixels.max()) == ("digits/0042", "3", 255)
    assert found.fingerprint == open_collection("digits").fingerprint


def test_faces_and_photos() -> None:
    faces = open_collection("faces")
    assert (len(faces), faces[0].shape, np.bincount(faces.labels).tolist()) == (200, (25, 25, 1), [100, 100])
    assert (faces.classes[faces.labels[0]], faces.classes[faces.labels[150]]) == ("face", "no face")
    photos = open_collection("photos")
    seen = [b.index for b in photos.batches(PRESETS["imagenet"], 8)]
    assert sum(map(len, seen)) == len(photos) >= 15
    assert photos.skipped == []
    assert photos[photos.find("photos/astronaut.png")].shape == (512, 512, 3)


def test_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("faces", "photos"):
        with pytest.raises(DataError, match=r"come with scikit-image; it is not installed; pip install 'convscope\[photos"):
            open_collection(name)


def test_class_folders(tmp_path: Path) -> None:
    for name in ("dog/b.png", "cat/2.JPG", "cat/deep/1.png", "dog/a.bmp", ".hidden/x.png", "cat/.x.png"):
        save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    found = open_collection(str(tmp_path))
    assert found.ids == ("cat/2.JPG", "cat/deep/1.png", "dog/a.bmp", "dog/b.png")
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    assert found.notes == ("1 files that are no images by their names were passed over (1 × .txt), e.g. notes.txt",)
    assert found[0].shape == (3, 4, 3)


def test_flat_folder_and_single_file(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "more/c.png"):
        save(tmp_path / name)
    found = open_collection(tmp_path)
    assert (found.ids, found.classes, found.labels.tolist()) == (("a.png", "b.png", "more/c.png"), (), [-1, -1, -1])
    assert found.notes == ("images lie in the folder itself and in 1 subfolders: no classes",)
    assert open_collection(tmp_path / "a.png", name="one").ids == ("a.png",)


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad = broken(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    save(tmp_path / "good.png")
    save(tmp_path / "zz.png")
    found = open_collection(tmp_path)
    batches = list(found.batches(PRESETS["imagenet"], 3))
    assert [i for b in batches for i in b.ids] == ["good.png", "zz.png"]
    assert [b.index.tolist() for b in batches] == [[found.find("good.png")], [found.find("zz.png")]]
    assert {s.id for s in found.skipped} == {*bad, "gone.png"}
    assert all(s.id in s.reason for s in found.skipped)
    one = open_collection(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"none of the 1 images of text.png can be used; the first, text.png: cannot read"):
        list(one.batches(PRESETS["unit"], 1))


def test_remarks_are_counted(tmp_path: Path) -> None:
    for k in range(3):
        Image.new("RGBA", (2, 2), (1, 2, 3, 4)).save(tmp_path / f"{k}.png")
    save(tmp_path / "x.png", size=(2, 2))
    found = open_collection(tmp_path)
    for _ in range(2):
        list(found.batches(PRESETS["unit"], 3))
    assert found.remarks == {"transparent: laid on white": 3}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    assert open_collection(tmp_path).ids == ("a/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    assert open_collection(tmp_path).ids == ("a/1.png", "a/other/2.png", "b/2.png", "b/other/1.png")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    try:
        os.rename(os.fsencode(tmp_path / "a.png"), os.fsencode(tmp_path) + b"/\xff.png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system wants UTF-8")
    found = open_collection(tmp_path)
    assert found.ids == ("\\xff.png",)
    assert found[0].shape == (3, 4, 3)
    assert len(found.fingerprint) == 64


def test_splits_are_not_classes(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "1.png")
    save(tmp_path / "val" / "cat" / "2.png")
    with pytest.raises(DataError, match="holds several parts; found train, val; open one of these folders"):
        open_collection(tmp_path)
    assert open_collection(tmp_path, part="train").classes == ("cat",)
    with pytest.raises(DataError, match=r"no folder .*test; .* has no such part; leave `part` out"):
        open_collection(tmp_path, part="test")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder; built in are digits, faces, photos"):
        open_collection(tmp_path / "none")
    with pytest.raises(DataError, match=r"no images in .*; it is empty; give a folder, an archive or a dataset"):
        open_collection(tmp_path)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"cannot read .*a.csv as images; its name ends in .csv; known are"):
        open_collection(tmp_path / "a.csv")
    (tmp_path / "b.npz").touch()
    with pytest.raises(DataError, match=r"the file is empty \(0 bytes\)"):
        open_collection(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"cannot read .*c.npy; .*; save it again with np.save"):
        open_collection(tmp_path / "c.npy")
    with pytest.raises(UsageError, match="cannot open this as a collection of images; got int"):
        open_collection(3)
    with pytest.raises(UsageError, match="part must be 'train' or 'test'; got 'tset'"):
        open_collection("digits", part="tset")
    with pytest.raises(UsageError, match=r"white must be 1 or 255; got 2"):
        open_collection("digits", white=2)


def test_npy(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (3, 5, 6, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    found = open_collection(tmp_path / "a.npy")
    np.testing.assert_array_equal(found[2], pixels[2])


def test_pairs_of_many_kinds() -> None:
    pixels = RNG.integers(0, 256, (9, 8, 3)).astype(np.uint8)
    chw = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    for image, kind in ((Image.fromarray(pixels), "PIL"), (pixels, "HWC"), (chw, "CHW"), (torch.from_numpy(chw), "tensor"),
                        (chw.astype(np.float32) / 255, "float"), (chw.astype(np.float64), "255"), (chw.astype(int), "int")):
        found = open_collection([(image, 1), (image, None), (image, torch.tensor(0))])
        np.testing.assert_array_equal(found[0], pixels, err_msg=kind)
        assert found.labels.tolist() == [1, -1, 0]
        assert found.classes == ("0", "1")
        assert found.ids[2] == "list/0002"
    assert "images (3, 9, 8) int64 read as (H, W, C) = (9, 8, 3)" in found.notes
    assert "int64 read as 0 … 255" in found.notes
    assert open_collection([pixels[..., 0]])[0].shape == (9, 8, 1)
    square = torch.from_numpy(RNG.integers(0, 256, (3, 3, 3)).astype(np.uint8))
    np.testing.assert_array_equal(open_collection([(square, 0)])[0], square.numpy().transpose(1, 2, 0))
    np.testing.assert_array_equal(open_collection([(square.numpy(), 0)])[0], square.numpy())


def test_the_range_of_floats_is_said_once_for_all() -> None:
    bright, dark = np.full((4, 4, 3), 200.0), np.full((4, 4, 3), 1.0)
    assert open_collection([(bright, 0), (dark, 0)])[1].max() == 1
    found = open_collection([(dark, 0), (bright, 0)])
    assert found[0].max() == 255
    list(found.batches(PRESETS["unit"], 2))
    assert "pixels must be in 0 … 1; found 200 … 200" in found.skipped[0].reason
    assert open_collection([(dark, 0), (bright, 0)], white=255)[0].max() == 1


class Dataset(torch.utils.data.Dataset):
    """Fails on item 1; has words for labels."""

    classes = ("ant", "bee")

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> tuple[Image.Image, str]:
        if i == 1:
            raise RuntimeError("disk on fire")
        return Image.new("L", (4, 4), i), "bee"


def test_a_dataset_that_fails_on_an_item() -> None:
    found = open_collection(Dataset())
    assert found.labels.tolist() == [1, -1, 1]
    assert [b.index.tolist() for b in found.batches(PRESETS["unit"], 9)] == [[0, 2]]
    assert found.skipped[0].id == "Dataset/0001"
    assert "the dataset fails on item 1; RuntimeError: disk on fire" in found.skipped[0].reason
    assert found.notes[0] == "labels were found in a first pass over all items"


def test_generators_mappings_and_targets() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    found = open_collection((image, k) for k in "ba")
    assert (found.classes, found.labels.tolist(), found.notes[0]) == (("a", "b"), [1, 0], "2 items were read into memory")
    assert open_collection([{"image": image, "label": 3}]).labels.tolist() == [3]
    tensors = torch.utils.data.TensorDataset(torch.zeros(2, 1, 5, 5), torch.tensor([4, 2]))
    assert open_collection(tensors).labels.tolist() == [4, 2]

    class WithTargets(Dataset):
        targets = torch.tensor([0, 1, 1])

    assert open_collection(WithTargets()).labels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match=r"a label must be one whole number, a word or None; got float64 of shape \(2,\)"):
        open_collection([(image, np.array([0.0, 1.0]))])
    bad = Dataset()
    bad.classes = ("ant",)
    with pytest.raises(DataError, match="labels that are not among the classes; bee"):
        open_collection(bad)
    with pytest.raises(DataError, match=r"none of the 1 images of list can be used.*an image must have shape \(H, W\)"):
        list(open_collection([(np.zeros(3), 0)], white=1).batches(PRESETS["unit"], 1))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the developers' sample data are not here")
def test_sample_photographs() -> None:
    found = open_collection(SHARED / "images" / "imagenet")
    assert sum(len(b.ids) for b in found.batches(PRESETS["imagenet"], 8)) == len(found) == 28
    np.testing.assert_array_equal(found[0], load_image(SHARED / "images" / "imagenet" / found.ids[0]))
    assert len(open_collection(SHARED / "sets" / "fashion_test.npz").classes) == 10
