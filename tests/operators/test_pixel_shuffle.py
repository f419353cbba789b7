"""Pixel shuffle, unshuffle and channel shuffle against torch.

Turns red if in pixel_shuffle.py `transpose(0, 1, 4, 2, 5, 3)` becomes `transpose(0, 1, 4, 3, 5, 2)`.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.operators.pixel_shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from tests.operators.against_torch import numbers
from tests.operators.explained import hold
from tests.operators.support import supported

SMALL = st.integers(1, 3)


@settings(max_examples=60, deadline=None)
@given(SMALL, SMALL, SMALL, SMALL)
def test_shuffles_equal_torch(r, c, h, w):
    hold(PixelShuffle(r), lambda x: F.pixel_shuffle(x, r), numbers(1, 2, c * r * r, h, w))
    hold(PixelUnshuffle(r), lambda x: F.pixel_unshuffle(x, r), numbers(1, 2, c, h * r, w * r))
    # torch's channel_shuffle has no gradient of its own on the CPU: written as it is in ShuffleNet
    shape = (2, r * c, h, w)
    hold(ChannelShuffle(r), lambda x: x.reshape(2, r, c, h, w).transpose(1, 2).reshape(shape), numbers(1, *shape))
    x = torch.tensor(numbers(1, 2, r * c, h, w))
    assert (ChannelShuffle(r).forward(x.numpy()) == F.channel_shuffle(x, r).numpy()).all()


def test_windows():
    supported(PixelShuffle(2), numbers(1, 1, 8, 3, 4))
    supported(PixelUnshuffle(2), numbers(1, 1, 2, 6, 8))
    supported(ChannelShuffle(2), numbers(1, 1, 4, 3, 3))


@pytest.mark.parametrize(("op", "message"), [
    (PixelShuffle(2), "channels must be a multiple of 4"),
    (PixelUnshuffle(2), "height and width must be multiples of 2"),
    (ChannelShuffle(2), "2 groups do not divide"),
])
def test_what_does_not_fit_is_said(op, message):
    with pytest.raises(ShapeError, match=message):
        op.forward(numbers(1, 1, 5, 3, 3))
