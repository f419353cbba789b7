"""The key on the filters: the same answers on keyed images, and refused where that cannot be.

Turns red: in `keys/filters.py`, `return key(first.weight)` -> `key.undo(first.weight)` · `kernel != stride` left out ·
`if key.kind == "shuffle"` left out.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from convscope.errors import UsageError
from convscope.keys import filters
from convscope.keys.key import KINDS, Key
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged


@settings(deadline=None, max_examples=3)
@given(st.sampled_from(("orthogonal", "permutation")), st.integers(1, 3), st.integers(2, 3), st.integers(1, 2),
       st.integers(0, 9))
def test_keyed_filters_read_keyed_images(kind: str, c: int, k: int, times: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    conv = nn.Conv2d(c, 5, k * times, stride=k * times)
    shape = (c, 2 * k * times, 3 * k * times)
    key = Key.new(kind, k, shape, seed)
    x = torch.randn((2, *shape), generator=generator)
    with unchanged(conv, x):
        first = filters.first_layer(Network.open(conv, shape), key)
        weight = torch.from_numpy(filters.keyed_weight(first, key))
    assert first.parameter == "weight"
    found = nn.functional.conv2d(key(x), weight, conv.bias, stride=k * times)
    torch.testing.assert_close(found, conv(x), atol=1e-5, rtol=0)
    if kind == "orthogonal" and times == 1:  # W' = W·Qᵀ
        own = torch.from_numpy(key._secret)
        torch.testing.assert_close(weight.flatten(1), (conv.weight.detach().double().flatten(1) @ own.T).float())


@pytest.mark.parametrize("kind", KINDS)
def test_a_dense_layer_on_the_image_takes_any_key(kind: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 8 * 12, 4))
    key, x = Key.new(kind, 4, (2, 8, 12), 0), torch.rand(3, 2, 8, 12)
    first = filters.first_layer(Network.open(model, (2, 8, 12)), key)
    weight = torch.from_numpy(filters.keyed_weight(first, key)).flatten(1)
    torch.testing.assert_close(nn.functional.linear(key(x).flatten(1), weight, model[1].bias), model(x), atol=1e-5, rtol=0)


def refused(model: nn.Module, shape: tuple[int, ...], message: str, kind: str = "orthogonal", block: int = 4) -> None:
    key = Key.new(kind, block, (shape[0], 24, 24), 0) if kind != "shuffle" else Key.new(kind, block, shape, 0)
    with unchanged(model), pytest.raises(UsageError, match=message):
        filters.first_layer(Network.open(model, shape), key)


class Around(nn.Module):
    """The image goes round the convolution as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3)) + x.mean()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(1, 16, 4, 4, bias=False), nn.PixelShuffle(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.up(self.conv(x)))


@pytest.mark.parametrize(("model", "message"), [
    (nn.Conv2d(1, 4, 4, 2), r"kernel \(4, 4\) with stride \(2, 2\): its windows overlap or leave gaps"),
    (nn.Conv2d(1, 4, 2, 2), r"kernel \(2, 2\) is no multiple of the block 4; exact are windows that cut no block"),
    (nn.Conv2d(1, 4, 4, 4, padding=4), r"padding .*4"),
    (nn.Conv2d(1, 4, 4, 4, dilation=2), r"dilation .*2"),
    (nn.ReLU(), r"must go on the one layer of ReLU that reads the image; there is .*\(relu\)"),
    (Around(), r"the one layer of Around that reads the image; there is conv \(conv2d\), .*mean"),
    (Twice(), r"the weight of conv is also that of conv:1; keyed for one it would be wrong for the other"),
    (nn.Linear(8, 3), r"reads rows of the image"),
    (parametrizations.weight_norm(nn.Conv2d(1, 4, 4, 4)), r"is computed, not kept; a parametrised weight"),
])
def test_refused_with_the_reason(model: nn.Module, message: str) -> None:
    refused(model, (1, 8, 8), message)


def test_refused_where_key_and_network_do_not_fit() -> None:
    refused(nn.Conv2d(2, 4, 4, 4, groups=2), (2, 8, 8), r"no filter of conv2d reads keyed images exactly; 2 groups")
    refused(nn.Conv2d(1, 4, 4, 4), (1, 8, 8), r"a shuffle moves the blocks that conv2d sees; its filters would have to be",
            "shuffle")
    refused(nn.Conv2d(1, 4, 4, 4), (1, 10, 8), r"blocks of 4 do not tile the 10×8 pixels of Conv2d; 2 rows and 0 columns")
    with pytest.raises(UsageError, match=r"the key is for 3 channels; Conv2d reads 1×8×8; make a key for it"):
        filters.first_layer(Network.open(nn.Conv2d(1, 4, 4, 4), (1, 8, 8)), Key.new("orthogonal", 4, (3, 8, 8)))


@pytest.mark.parametrize("name", ["norm_first", "grouped", "rows_lstm"])
def test_overlapping_windows_are_refused_in_any_network(name: str) -> None:
    model, x = NETS[name]()
    net = Network.open(model, x)
    with pytest.raises(UsageError, match=r"overlap|one layer"):
        filters.first_layer(net, Key.new("orthogonal", 2, tuple(x.shape[1:])))
