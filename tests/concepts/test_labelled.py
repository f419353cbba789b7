"""The user's own concepts: masks follow their images through resizing and cropping, and what does not fit is said.

Turns red: in `concepts/labelled.py`, `shape(mask)[0] >= 0.5` -> `shape(mask)[0] < 0.5`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.concepts import labelled
from convscope.errors import DataError
from convscope.images import Preprocess


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images 20×30, in two folders; red squares on four of them, a sky on two."""
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 60, (20, 30, 3), np.uint8)
        name = f"{'ab'[i % 2]}/{i}"
        if i < 4:
            mask = np.zeros((20, 30), np.uint8)
            mask[4:12, 8 + i : 16 + i] = 255
            pixels[mask > 0] = (250, 0, 0)
            save(tmp_path / f"masks/red_square/{name}.png", mask)
        if i in (1, 5):
            save(tmp_path / f"masks/sky/{name}.png", np.repeat([[255], [0]], [5, 15], 0).repeat(30, 1).astype(np.uint8))
        save(tmp_path / f"images/{name}.png", pixels)
    return tmp_path


def test_masks_go_with_their_images(folder: Path) -> None:
    made = labelled(folder, Preprocess((20, 30), "stretch"))
    assert [c.name for c in made.concepts] == ["red square", "sky"]
    assert {c.category for c in made.concepts} == {"yours"}
    reds = [i for i in range(6) if 0 in made[i].masks]
    assert len(reds) == 4
    for i in reds:
        assert np.array_equal(made[i].masks[0], made[i].pixels[..., 0] == 250)
    assert sum(1 in made[i].masks for i in range(6)) == 2
    assert sum(not made[i].masks for i in range(6)) == 1


@pytest.mark.parametrize("how", [Preprocess((10, 15), "stretch"), Preprocess((12, 12), "crop"), Preprocess((16, 16), "pad")])
def test_masks_are_resized_as_their_images_are(folder: Path, how: Preprocess) -> None:
    made = labelled(folder, how)
    for i in range(6):
        if 0 in made[i].masks:
            red, mask = how(made[i].pixels)[0], made[i].masks[0]
            assert mask.shape == red.shape
            assert np.mean(mask != (red > 0.6)) < 0.05


def test_every_concept_is_in_both_halves(folder: Path) -> None:
    for seed in range(5):
        made = labelled(folder, Preprocess((20, 30), "stretch"), seed)
        for c in range(2):
            assert sorted(set(made.half[[i for i in range(6) if c in made[i].masks]].tolist())) == [0, 1]
        assert made.half.tolist() == labelled(folder, Preprocess((20, 30), "stretch"), seed).half.tolist()


def test_what_does_not_fit_is_said(folder: Path) -> None:
    how = Preprocess((20, 30), "stretch")
    save(folder / "bare/images/a.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"no concepts in .*; it has no folder masks/; give images/ and masks/CONCEPT/"):
        labelled(folder / "bare", how)
    save(folder / "masks/rare/a/0.png", np.zeros((20, 30), np.uint8))
    assert labelled(folder, how).notes == ("concept left out: rare (1 images; one half names, the other half tests)",)
    save(folder / "masks/rare/a/99.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"the mask .*99\.png has no image; there is no images/a/99\.\*; give both the same"):
        labelled(folder, how)
    save(folder / "images/a/99.png", np.zeros((21, 30, 3), np.uint8))
    made = labelled(folder, how)
    with pytest.raises(DataError, match=r"does not fit its image; 20×30 pixels, the image has 21×30; draw it on the image"):
        [made[i] for i in range(len(made))]


def test_no_masks_at_all(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "masks/thing").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no folder with two masks of 1 images; name them masks/CONCEPT/IMAGE\.png"):
        labelled(tmp_path, Preprocess((8, 8)))
