"""One answer for an image of any size: by adaptive pooling with the old weights, by a pyramid with a new dense layer.

Turns red: in `editing/any_size/ending.py`, `nn.AdaptiveMaxPool2d(n)` → `nn.AdaptiveAvgPool2d(n)`; or drop the
permutation behind the
pooling of a channels-last map.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.edits.any_size import AnySize
from convscope.errors import UsageError
from tests.nets import NETS
from tests.traces import unchanged


class Last(nn.Module):
    """Channels last before a flatten of constant size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).permute(0, 2, 3, 1).reshape(-1, 120))


@pytest.mark.parametrize("name", ["plain", "last"])
def test_adaptive_keeps_the_weights_and_the_answers(name: str) -> None:
    torch.manual_seed(0)
    model, x = NETS["plain"]() if name == "plain" else (Last().eval(), torch.randn(2, 3, 8, 7))
    net = cs.open(model, example=x)
    with unchanged(model, x):
        edited, receipt = cs.edit(net, "any-size")
    assert torch.equal(edited.run(x).output, net.run(x).output)
    assert receipt.before.parameters == receipt.after.parameters
    big = torch.randn(2, 3, 41, 26)
    h, w = (4, 4) if name == "plain" else (6, 5)
    front = model[:6](big) if name == "plain" else model.conv(big)
    pooled = F.adaptive_avg_pool2d(front, (h, w))
    wanted = model[6:](pooled) if name == "plain" else model.fc(pooled.permute(0, 2, 3, 1).flatten(1))
    torch.testing.assert_close(edited.run(big).output, wanted)


def test_a_pyramid_takes_the_maxima_of_all_pieces() -> None:
    """By hand: 4×4 + 2×2 + 1×1 maxima a channel, the finest first, into a new dense layer that learns."""
    model, _ = NETS["plain"]()
    net = cs.open(model, example=(3, 16, 16))
    edited, receipt = cs.edit(net, "any-size", how="pyramid")
    module = edited.module
    assert module is not None
    assert module.fc1.weight.shape == (10, 21 * 8)
    assert torch.equal(module.fc2.weight, model.fc2.weight)
    big = torch.randn(2, 3, 37, 50)
    maps = model[:6](big)
    pieces = [F.adaptive_max_pool2d(maps, n).flatten(1) for n in (4, 2, 1)]
    torch.testing.assert_close(edited.run(big).output, module.fc2(module.relu3(module.fc1(torch.cat(pieces, 1)))))
    assert any("made anew, 168 → 10, with random weights: train it" in change for change in receipt.changes)
    assert any("new random weights (torch's own start, seed 0)" in note for note in receipt.notes)
    again, _ = cs.edit(net, "any-size", how="pyramid")
    other, _ = cs.edit(net, "any-size", how="pyramid", seed=1)
    assert torch.equal(again.run(big).output, edited.run(big).output)
    assert not torch.equal(other.run(big).output, edited.run(big).output)


def test_a_pyramid_takes_the_place_of_global_pooling() -> None:
    model, x = NETS["residual"]()
    edited, _ = cs.edit(cs.open(model, example=x), "any-size", how="pyramid", levels="3,1")
    assert edited.run(torch.randn(1, 3, 20, 33)).output.shape == (1, 5)
    assert edited.module is not None
    assert edited.module.head["2"].weight.shape == (5, 10 * 8)


def test_a_matrix_product_begins_anew_too() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.weight, self.drop = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(144, 3)), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.conv(x).flatten(1)) @ self.weight

    edited, _ = cs.edit(cs.open(Product().eval(), example=(3, 8, 8)), "any-size", how="pyramid", levels="2")
    assert edited.run(torch.randn(2, 3, 9, 30)).output.shape == (2, 3)


def test_what_cannot_be_done_is_said() -> None:
    model, x = NETS["residual"]()
    net = cs.open(model, example=x)
    with pytest.raises(UsageError, match=r"takes images of any size as it is; head\.0 pools to one size already"):
        cs.edit(net, "any-size")
    only = cs.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), example=(3, 8, 8))
    with pytest.raises(UsageError, match="as it is; it has no dense part"):
        cs.edit(only, "any-size")
    with pytest.raises(UsageError, match="no dense layer follows its maps"):
        cs.edit(only, "any-size", how="pyramid")
    between = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Softmax(1), nn.Linear(144, 3)).eval()
    with pytest.raises(UsageError, match="Softmax stands between the map and the first dense layer; how=adaptive"):
        cs.edit(cs.open(between, example=(3, 8, 8)), "any-size", how="pyramid")
    for levels in ("4,x", "0", "2,2"):
        with pytest.raises(UsageError, match="levels must be different whole numbers"):
            AnySize(levels=levels)
