"""Dense copies against a loop over all windows, one pixel apart.

Turns red: in `editing/any_size/dilating.py`, `d[0] * stride[0]` → `d[0]` at the end of `_window`; or drop
`self._cut(answer, …)`.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import convscope as cs
from convscope.editing import NOTHING, Draft
from convscope.edits.dense import Dense
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged


def loop(net: Network, image: Tensor) -> Tensor:
    """(K, H − n + 1, W − m + 1): every window by itself. The slow twin."""
    _, n, m = net.input_shape[1:]
    _, height, width = image.shape[1:]
    places = [(y, x) for y in range(height - n + 1) for x in range(width - m + 1)]
    found = net.run(torch.cat([image[:, :, y : y + n, x : x + m] for y, x in places])).output
    return found.T.reshape(found.shape[1], height - n + 1, width - m + 1)


@pytest.mark.parametrize("name", ["functional_relu", "reused_relu"])
def test_without_padding_it_is_the_loop(name: str) -> None:
    model, x = NETS[name]()
    net = cs.open(model, example=x)
    with unchanged(model, x):
        edited, receipt = cs.edit(net, "dense")
    big = torch.randn(1, 3, 23, 20)
    torch.testing.assert_close(edited.run(big).output[0], loop(net, big), atol=1e-5, rtol=1e-5)
    assert receipt.before.parameters == receipt.after.parameters
    assert any("its stride becomes the dilation of all that follows" in change for change in receipt.changes)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_random_networks_and_sizes_are_the_loop(data: st.DataObject) -> None:
    """Convolutions with steps, holes and groups, pooling of both kinds (calls and modules), any head; float64, to 1e-10."""
    draw, number = data.draw, st.integers
    torch.manual_seed(draw(number(0, 99)))
    layers, channels, size = [], 2, (draw(number(14, 20)), draw(number(14, 20)))
    shape = (channels, *size)
    for _ in range(draw(number(1, 3))):
        kind, k, s = draw(st.sampled_from(["conv", "max", "average"])), draw(number(1, 3)), draw(number(1, 3))
        hole = draw(number(1, 2)) if kind != "average" else 1
        if min(size) < hole * (k - 1) + 1:
            break
        layers += {"conv": [nn.Conv2d(channels, 4, k, s, dilation=hole, groups=draw(number(1, 2))), nn.Tanh()],
                   "max": [nn.MaxPool2d(k, s, dilation=hole)], "average": [nn.AvgPool2d(k, s)]}[kind]
        channels = 4 if kind == "conv" else channels
        size = tuple((n - hole * (k - 1) - 1) // s + 1 for n in size)
    pool = draw(st.booleans())
    numbers = channels if pool else channels * size[0] * size[1]
    head = [nn.AdaptiveAvgPool2d(1)] if pool else []
    model = nn.Sequential(*layers, *head, nn.Flatten(), nn.Linear(numbers, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    net = cs.open(model, example=shape)
    draft = Draft.of(net)
    Dense()(draft, NOTHING)
    big = torch.randn(1, shape[0], shape[1] + draw(number(0, 5)), shape[2] + draw(number(0, 5))).double()
    torch.testing.assert_close(draft.run(big)[0], loop(net, big), atol=1e-10, rtol=1e-10)


class Branches(nn.Module):
    """Branches that leave rows over at their ends, a sum and a concatenation, pooling by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 2, 3, 2), nn.Conv2d(1, 2, 2, 2), nn.Conv2d(4, 3, 2)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        x = torch.nn.functional.avg_pool2d(torch.cat([a + b, b], 1), 2)
        return self.fc(torch.nn.functional.max_pool2d(self.c(x), 2).mean((2, 3)))


def test_branches_of_unlike_reach_meet() -> None:
    torch.manual_seed(0)
    net = cs.open(Branches().eval(), example=(1, 15, 13))
    edited, _ = cs.edit(net, "dense")
    big = torch.randn(1, 1, 21, 24)
    torch.testing.assert_close(edited.run(big).output[0], loop(net, big), atol=1e-5, rtol=1e-5)


def test_context_sees_the_neighbours() -> None:
    """The twin of 'plain': the same weights without padding, on windows that are larger by what was padded: 1 + 2·1."""
    model, _ = NETS["plain"]()
    net = cs.open(model, example=(3, 16, 16))
    with pytest.raises(UsageError, match="it pads its map by 1×1: a window by itself sees nothing there"):
        cs.edit(net, "dense")
    edited, receipt = cs.edit(net, "dense", neighbours=True)
    twin, _ = NETS["plain"]()
    twin.conv1.padding = twin.conv2.padding = (0, 0)
    big = torch.randn(1, 3, 30, 27)
    found = edited.run(big).output[0]
    assert found.shape == (5, 15, 12)
    wanted = loop(cs.open(twin, example=(3, 22, 22)), big)  # begins 3 pixels into the image
    torch.testing.assert_close(found[:, 3:12, 3:9], wanted, atol=1e-5, rtol=1e-5)
    note = next(n for n in receipt.notes if n.startswith("2 layers pad (conv1, conv2)"))
    assert "on 16 windows of a random image (normal, seed 0) scores differ by up to 0.0" in note


@pytest.mark.parametrize("name", ["residual", "concat", "grouped", "dilated", "norm_first"])
def test_context_of_branches_is_near_the_loop_and_of_its_size(name: str) -> None:
    """For an image of the window's own size, its neighbours are zeros: the old scores, but for what is beyond its map."""
    model, x = NETS[name]()
    net = cs.open(model, example=x)
    draft = Draft.of(net)
    Dense(neighbours=True)(draft, NOTHING)
    found = draft.run(x[:1])
    assert found.shape == (1, 5, 1, 1)
    torch.testing.assert_close(found.flatten(1), net.run(x[:1]).output, atol=0.2, rtol=0.2)
    assert draft.run(torch.randn(1, 3 + (name == "grouped"), x.shape[2] + 3, x.shape[3] + 1)).shape == (1, 5, 4, 2)


def test_it_is_kept_and_opened_again(tmp_path: object) -> None:
    model, x = NETS["functional_relu"]()
    _edited, _ = cs.edit(cs.open(model, example=x), "dense", out=str(tmp_path) + "/dense")
    again = cs.open(f"{tmp_path}/dense/network.py:network", example=(3, 20, 18))
    assert again.trace().layers[-1].output_shape[1:] == (5, 5, 3)


class Rest(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.up = kind, nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, 2)
        self.pool, self.fc, self.odd = nn.AvgPool2d(4, 4, ceil_mode=True), nn.Linear(4, 2), nn.Conv2d(3, 4, 3,
                                                                                                      padding="same")
        self.norm, self.mirror = nn.GroupNorm(2, 4), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        y = self.mirror(x) if self.kind == "mirror" else self.odd(x) if self.kind == "same" else self.conv(x)
        if self.kind == "up":
            y = self.up(y)
        elif self.kind == "ceil":
            y = self.pool(y)
        elif self.kind == "norm":
            y = self.norm(y)
        elif self.kind == "map":
            return y
        elif self.kind == "unlike":
            y = y[:, :, ::2, ::2]
        return self.fc(y.mean((2, 3)))


@pytest.mark.parametrize(("kind", "words"), [
    ("up", "ConvTranspose2d at strides of 1×1 has no dense counterpart"),
    ("ceil", "its last window stands out by 2 and averages fewer places than the others"),
    ("norm", "norm normalises over the whole map, not over a window"),
    ("mirror", "it pads with reflect pixels"),
    ("map", "its answer for one window is (4, 10, 10), no vector; it must score the window as a whole"),
    ("unlike", "slice at strides of 1×1 has no dense counterpart"),
])
def test_refusals_say_where_and_why(kind: str, words: str) -> None:
    net = cs.open(Rest(kind).eval(), example=(3, 12, 12))
    with pytest.raises(UsageError) as refused:
        cs.edit(net, "dense", neighbours=True)
    assert words in str(refused.value)
    assert refused.value.remedy
