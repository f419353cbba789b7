"""Whole networks with their norms and stacked linear layers folded: equal in eval; what is left, and why, is said.

Turns red: in `edits/fold.py`, drop `if len(first.users) > 1` or `if calls > 1` of `_apart`; or in `_one` swap the two cases.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import UsageError
from tests.nets import NETS
from tests.traces import unchanged


def stack(**layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(layers)).eval()


@pytest.mark.parametrize("name", ["norm_first", *(pytest.param(n, marks=pytest.mark.slow) for n in ("residual", "grouped"))])
def test_whole_networks_are_equal(name: str) -> None:
    """float64, to 1e-10, at the net's own norms; bn0 of norm_first stands before a convolution that pads."""
    model, x = NETS[name]()
    model, x = model.double(), x.double()
    net = cs.open(model, example=x)
    with unchanged(model, x):
        edited, receipt = cs.edit(net, "fold")
    torch.testing.assert_close(edited.run(x).output, net.run(x).output, rtol=1e-10, atol=1e-10)
    norms = [layer.address for layer in edited.layers if "norm" in layer.operator]
    assert norms == (["bn0"] if name == "norm_first" else [])
    assert receipt.after.parameters < receipt.before.parameters
    assert any("train() differs" in note for note in receipt.notes)
    left = [n for n in receipt.notes if n.startswith("left as it is: bn0, conv1:") and "border" in n]
    assert len(left) == (name == "norm_first")


def test_it_is_kept_opened_traced_and_trained(tmp_path: Path) -> None:
    model, x = NETS["residual"]()
    edited, _ = cs.edit(cs.open(model, example=x), "fold", out=tmp_path / "one")
    again = cs.open(f"{tmp_path / 'one' / 'network.py'}:network", example=x)
    assert torch.equal(again.run(x).output, edited.run(x).output)
    torch.testing.assert_close(again.run(x).output, model(x), rtol=1e-5, atol=1e-5)
    assert "bn" not in str(again.trace())
    trained = again.module
    assert trained is not None
    trained.train()
    trained(x).sum().backward()
    assert all(p.grad is not None for p in trained.parameters())


def test_chains_become_one_layer() -> None:
    """Three dense layers; a 1×1, a norm, a 3×3 that pads nothing and another 1×1: each chain is one layer."""
    model = stack(a=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4), b=nn.Conv2d(4, 4, 3), c=nn.Conv2d(4, 3, 1), relu=nn.ReLU(),
                  flat=nn.Flatten(), d=nn.Linear(48, 40), e=nn.Linear(40, 30), f=nn.Linear(30, 5))
    x = torch.randn(4, 3, 6, 6)
    edited, receipt = cs.edit(cs.open(model, example=x), "fold")
    assert [layer.operator for layer in edited.layers if layer.parameters] == ["conv2d", "linear"]
    torch.testing.assert_close(edited.run(x).output, model(x), rtol=1e-5, atol=1e-5)
    assert receipt.changes == ("bn goes into a", "a goes into b", "b goes into c", "d goes into e", "e goes into f")


def test_a_waist_is_left_unless_asked_for() -> None:
    """40 → 2 → 30 has 140 weights, 40 → 30 has 1,200."""
    net = cs.open(stack(a=nn.Linear(40, 2), b=nn.Linear(2, 30)), example=torch.randn(2, 40))
    with pytest.raises(UsageError, match="one layer has 1,200 weights, the two have 140"):
        cs.edit(net, "fold")
    assert cs.edit(net, "fold", waists=True)[1].after.parameters == 1230


def test_dropout_stays_unless_asked_for_and_identities_go() -> None:
    model = stack(a=nn.Linear(6, 5), i=nn.Identity(), b=nn.Linear(5, 4), d=nn.Dropout(0.3), c=nn.Linear(4, 3))
    net = cs.open(model, example=torch.randn(2, 6))
    kept, receipt = cs.edit(net, "fold")
    assert "a goes into b" in receipt.changes
    assert kept.module is not None
    assert any(isinstance(m, nn.Dropout) for m in kept.module.modules())
    gone, _ = cs.edit(net, "fold", dropout=True)
    assert [layer.operator for layer in gone.layers] == ["linear"]


class Twice(nn.Module):
    """A convolution whose value two read, and a pair that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.pair, self.one = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = F.relu(self.bn(x)) + x
        return self.one(self.pair(F.relu(self.one(self.pair(x)))))


def test_what_others_read_is_left() -> None:
    net = cs.open(Twice().eval(), example=torch.randn(2, 3, 4, 4))
    with pytest.raises(UsageError) as refusal:
        cs.edit(net, "fold")
    assert "conv, bn: 2 calls read the value between" in refusal.value.found
    assert "pair is called 2 times" in refusal.value.found
    assert refusal.value.remedy == "choose another block"


def test_one_layer_or_block_alone() -> None:
    model, x = NETS["norm_first"]()
    net = cs.open(model, example=x)
    assert cs.edit(net, "fold", layer="bn1")[1].changes == ("bn1 goes into conv1",)
    assert cs.edit(net, "fold", layer="conv1")[1].changes == ("bn1 goes into conv1",)
    with pytest.raises(UsageError, match="nothing to fold in relu1; no two linear layers"):
        cs.edit(net, "fold", layer="relu1")
    with pytest.raises(UsageError, match="nothing to fold"):
        cs.edit(net, "fold", norms=False, layer="conv1")


def test_frozen_layers_stay_frozen() -> None:
    model, x = NETS["norm_first"]()
    model.get_submodule("conv1").requires_grad_(False)
    edited, _ = cs.edit(cs.open(model, example=x), "fold", layer="bn1")
    assert edited.module is not None
    assert [p.requires_grad for p in edited.module.get_submodule("conv1").parameters()] == [False, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2"])
def test_the_zoo(name: str) -> None:
    net = cs.open(f"zoo:{name}")
    edited, receipt = cs.edit(net, "fold")
    assert not [layer.address for layer in edited.layers if "norm" in layer.operator]
    assert receipt.drift["relative to the spread of the outputs"] < 1e-5
