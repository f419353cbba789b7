"""A study: boxes of positions, samples, and what does not belong together.

Turns red: in `responses/_study.py`, `divmod(int(position), size[1])` -> `divmod(int(position), size[0])`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope import run
from convscope.errors import DataError, UnknownName
from convscope.network import map_of
from convscope.responses._study import box, usable_rows
from tests.contracts.leaves import opened
from tests.contracts.studies import BROKEN, studied


@pytest.mark.parametrize("name", ["plain", "non_square", "dilated", "grey"])
def test_the_box_is_where_the_gradient_is(name: str) -> None:
    """The pixels that a position's gradient touches lie in its box; right above the image they fill it."""
    _, x, net = opened(name)
    height, width = x.shape[2:]
    for layer in net.layers:
        size = map_of(layer)
        if size is None or layer.operator not in ("conv2d", "avg_pool2d"):
            continue
        for position in {0, size[1] - 1, size[1] // 2 + size[1] * (size[0] // 2), size[0] * size[1] - 1}:
            own = x[:1].clone().requires_grad_()
            value = run.upto(net, own, layer.address, grad=True)[0].flatten(1)[:, position]
            slope = torch.autograd.grad(value.square().sum(), own)[0].abs().sum((0, 1))
            (y0, x0, y1, x1), known = box(layer, position, height, width)
            assert known
            rows, columns = np.nonzero(slope.numpy())
            hull = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            assert y0 <= hull[0] < hull[2] <= y1
            assert x0 <= hull[1] < hull[3] <= x1
            if layer.parents == ("input",) and name != "dilated":  # a dense kernel uses all of its box, also at the border
                assert hull == (y0, x0, y1, x1)


def test_a_vector_sees_the_whole_image() -> None:
    _, x, net = opened("plain")
    assert box(net["fc1"], 0, *x.shape[2:]) == ((0, 0, 16, 16), True)


def test_what_is_not_known_is_the_whole_image_and_said() -> None:
    _, _, net = opened("plain")
    assert box(net["flatten"], 0, 16, 16) == ((0, 0, 16, 16), False)


def test_the_same_sample_for_every_layer() -> None:
    _, study, embed = studied("plain")
    (_, first, notes), (_, second, _), (_, other, _) = (study.vectors(layer, 7, seed) for layer, seed in (
        (embed[0], 0), (embed[1], 0), (embed[0], 1)))
    assert len(first) == 7
    assert first.tolist() == second.tolist() == sorted(first.tolist())
    assert first.tolist() != other.tolist()
    assert BROKEN not in first
    assert notes == ("left out: 1 of 16 images, which could not be measured", "sampled: 7 of 15 images, seed 0")


def test_too_few_images_are_refused() -> None:
    _, study, embed = studied("plain")
    with pytest.raises(DataError, match="too few images to compare in conv1; 1 were measured; sweep at least two"):
        study.vectors(embed[0], 1, 0)


def test_images_go_by_numbers_that_exist() -> None:
    _, study, _ = studied("plain")
    assert study.seen(3).shape == (16, 16, 3)
    for wrong in (16, -1):
        with pytest.raises(UnknownName, match=f"no image named {wrong}; .*numbers go from 0 to 15"):
            study.seen(wrong)


def test_rows_are_usable_when_all_their_numbers_are() -> None:
    rows = np.ones((5000, 2), np.float32)
    rows[4999, 1], rows[0] = np.inf, np.nan
    assert np.flatnonzero(~usable_rows(rows)).tolist() == [0, 4999]
