"""The jigsaw: a shuffled photograph put together again.

Turns red: in `keys/jigsaw.py`, `dissimilarity(pieces.swapaxes(3, 4))` -> `dissimilarity(pieces)` · `right.T` -> `right`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import UsageError
from convscope.keys.jigsaw import _improved, dissimilarity, reassemble, total
from convscope.keys.key import Key
from convscope.keys.known import EXACT, Known, quality


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(1, 3, H, W) smooth and nowhere alike: a few waves of random direction and a slope."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(rng.uniform(4, 14) * x + rng.uniform(4, 14) * y + rng.uniform(0, 6)) for _ in range(9)]
    planes = [sum(waves[3 * c : 3 * c + 3]) + rng.uniform(-3, 3) * x + rng.uniform(-3, 3) * y for c in range(3)]
    image = np.stack(planes)[None]
    return (image - image.min()) / (image.max() - image.min())


@pytest.mark.parametrize(("size", "block"), [((24, 40), 8), ((36, 24), 4), ((30, 30), 6)])
def test_a_picture_is_put_together(size: tuple[int, int], block: int) -> None:
    x = picture(*size)
    key = Key.new("shuffle", block, (3, *size), 1)
    found = reassemble(key(x), Known("shuffle", block))
    assert quality(x, key(x))["psnr"][0] < 20
    assert quality(x, found.images)["psnr"][0] == EXACT
    assert f"{size[0] * size[1] // block**2} pieces" in found.notes[0]
    assert reassemble(key(x), Known("shuffle", block)).images.tobytes() == found.images.tobytes()  # same seed, same bits


def test_a_real_photograph_is_put_together() -> None:
    pytest.importorskip("skimage")
    from convscope.data import open_collection

    photos = open_collection("photos")
    x = photos[photos.find("photos/astronaut.png")][:448, :448].transpose(2, 0, 1)[None] / 255
    key = Key.new("shuffle", 56, (3, 448, 448), 0)
    assert quality(x, reassemble(key(x), Known("shuffle", 56)).images)["psnr"][0] == EXACT


def test_costs_against_the_formula() -> None:
    pieces = np.random.default_rng(0).random((2, 3, 1, 4, 4))
    found = dissimilarity(pieces)
    i, j = 0, 2
    by_hand = sum(abs(2 * a[0, r, 3] - a[0, r, 2] - b[0, r, 0]) ** 0.3 + abs(2 * b[0, r, 0] - b[0, r, 1] - a[0, r, 3]) ** 0.3
                  for a, b in zip(pieces[:, i], pieces[:, j], strict=True) for r in range(4))
    assert found[i, j] == pytest.approx(by_hand)
    assert np.isinf(np.diagonal(found)).all()


def test_improvement_never_makes_it_worse() -> None:
    rng = np.random.default_rng(0)
    right, below = rng.random((12, 12)), rng.random((12, 12))
    grid = rng.permutation(12).reshape(3, 4)
    better = _improved(grid, right, below)
    assert sorted(better.ravel().tolist()) == list(range(12))
    assert total(better, right, below) < total(grid, right, below)


def test_pieces_of_one_pixel_and_stopping() -> None:
    x = picture(4, 4)
    key = Key.new("shuffle", 1, (3, 4, 4), 0)
    assert sorted(reassemble(key(x), Known("shuffle", 1)).images.ravel()) == sorted(x.ravel())

    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reassemble(key(x), Known("shuffle", 1), stop)
    with pytest.raises(UsageError, match=r"a jigsaw needs whole pieces, a permutation key changes what is in them"):
        reassemble(x, Known("permutation", 2))
