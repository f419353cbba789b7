"""How colours go together.

Turns red: in `colours.measured`, drop `- np.outer(mean, mean)`; in `Colours.matrix`, `.sum(0)` -> `.sum(1)`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import DataError, UsageError
from convscope.images import Pixels
from convscope.synthesis.colours import IMAGENET, independent, measured, named


def test_the_root_of_a_collection_gives_its_covariance() -> None:
    rng = np.random.default_rng(0)
    mixing = np.array([[60, 10, 0], [50, 0, 20], [40, -20, 10]])
    drawn = np.clip(128 + rng.normal(0, 1, (5, 40, 30, 3)) @ mixing.T / 3, 0, 255).astype(np.uint8)
    found = measured(drawn.__getitem__, 5)
    flat = drawn.reshape(-1, 3) / 255
    root = np.array(found.root)
    np.testing.assert_allclose(root @ root.T, np.cov(flat.T, bias=True), atol=1e-9)
    np.testing.assert_allclose(found.mean, flat.mean(0))
    assert found.source == "colours of 5 images"
    assert (root**2).sum(0)[0] == (root**2).sum(0).max()
    assert np.sqrt((found.matrix**2).sum(0)).max() == pytest.approx(1)


def test_large_collections_are_sampled_and_that_is_said() -> None:
    found = measured(lambda i: np.full((2, 2, 1), i % 256, np.uint8), 1000, seed=3)
    assert found.source == "colours of 200 images, drawn with seed 3"
    assert len(found.mean) == 1


def test_images_that_cannot_be_read_are_left_out() -> None:
    def read(i: int) -> Pixels:
        if i:
            raise DataError("an image", "broken", "mend it")
        return np.full((2, 2, 3), 51, np.uint8)

    assert measured(read, 4).mean == pytest.approx((0.2, 0.2, 0.2))
    with pytest.raises(DataError, match="colours of a collection; none of its 1 images can be read"):
        measured(lambda i: read(1), 1)


def test_named_colours() -> None:
    assert named("imagenet", 3) is IMAGENET
    assert np.array_equal(independent(4).matrix, np.eye(4))
    assert IMAGENET.matrix[0, 0] == pytest.approx(0.26 / np.sqrt(0.26**2 + 0.27**2 + 0.27**2))
    with pytest.raises(UsageError, match="colours of ImageNet; the network reads 1 channels, not 3; use 'independent'"):
        named("imagenet", 1)
    with pytest.raises(UsageError, match="colours 'sepia'; there are 'imagenet', 'independent'"):
        named("sepia", 3)
