"""Another nonlinearity: the numbers by hand, functions and modules alike, one that is called twice, and what is refused.

Turns red: in `edits/swap_activation.py`, `everywhere=set(same) <= set(found)` -> `everywhere=True` (a module that is also
called outside the block is then swapped there too), or `_FUNCTIONS.get(draft.kind(n)) == self.old` -> `False`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.edits.swap_activation import ACTIVATIONS
from convscope.errors import UsageError
from tests.nets import NETS
from tests.traces import unchanged

X = torch.tensor([[-2.0, -0.5, 0.0, 0.5, 2.0]])


class Both(nn.Module):
    """Every activation of `old`, as it is, one behind the other: one a function, one a module that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.block = nn.ReLU(), nn.Sequential(nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.act(x), F.relu(x + 1), self.act(x - 1), self.block(x * 2)], 1)


@pytest.mark.parametrize("new", ["leaky-relu", "gelu", "none"])
def test_functions_modules_and_reuse(new: str) -> None:
    model = Both().eval()
    with unchanged(model, X):
        edited, receipt = cs.edit(cs.open(model, example=X), "swap-activation", new=new)
    phi = ACTIVATIONS[new]()
    torch.testing.assert_close(edited.run(X).output, torch.cat([phi(X), phi(X + 1), phi(X - 1), phi(X * 2)], 1))
    assert len(receipt.changes) == 4
    assert all(f"relu becomes {new}" in change for change in receipt.changes)
    assert receipt.before.parameters == receipt.after.parameters == 0


@pytest.mark.parametrize(("name", "number"), [("leaky-relu", -0.02), ("elu", -0.8646647), ("gelu", -0.0455003),
                                              ("silu", -0.2384058), ("tanh", -0.9640276), ("sigmoid", 0.1192029),
                                              ("softplus", 0.1269280), ("hardswish", -0.3333333), ("mish", -0.2525014),
                                              ("none", -2.0), ("relu", 0.0)])
def test_the_numbers_at_minus_two(name: str, number: float) -> None:
    """By the formulas: x/100, e⁻² − 1, −2·Φ(−2), −2/(1 + e²), …, −2·(−2 + 3)/6, −2·tanh(ln(1 + e⁻²))."""
    assert ACTIVATIONS[name]()(torch.tensor(-2.0)).item() == pytest.approx(number, abs=1e-6)


def test_in_one_block_only() -> None:
    """The module that is called in the block and outside it keeps its other calls."""
    model, x = NETS["residual"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "swap-activation", layer="block1", new="tanh")
    assert [c.split(":")[0] for c in receipt.changes] == ["block1.relu", "block1.relu"]
    assert [layer.address for layer in edited.layers if layer.operator == "tanh"] == ["block1.relu", "block1.relu:1"]

    model, x = NETS["reused_relu"]()
    net = cs.open(model, example=x)
    edited, _ = cs.edit(net, "swap-activation", layer="relu:1", new="tanh")
    y = torch.relu(model.get_submodule("conv1")(x))
    y = torch.tanh(model.get_submodule("conv2")(y))
    y = model.get_submodule("fc2")(torch.relu(model.get_submodule("fc1")(y.flatten(1))))
    torch.testing.assert_close(edited.run(x).output, y)


def test_one_that_comes_back_is_the_old_one() -> None:
    model, x = NETS["plain"]()
    net = cs.open(model, example=x)
    there, receipt = cs.edit(net, "swap-activation", new="gelu")
    again, _ = cs.edit(there, "swap-activation", old="gelu", new="relu")
    assert torch.equal(again.run(x).output, net.run(x).output)
    assert receipt.drift["root mean square"] > 0
    assert "model.relu1 = nn.GELU()" in receipt.code


def test_modes_are_kept_and_it_is_opened_again(tmp_path: Path) -> None:
    model, x = NETS["norm_first"]()
    edited, _ = cs.edit(cs.open(model, example=x), "swap-activation", new="elu", out=tmp_path / "one")
    again = cs.open(f"{tmp_path / 'one' / 'network.py'}:network", example=x)
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert "elu" in str(again.trace())
    trained = again.module
    assert trained is not None
    trained.train()
    torch.manual_seed(0)
    first, second = trained(x), trained(x)
    assert not torch.equal(first, second), "dropout drops"
    first.sum().backward()
    assert all(p.grad is not None for p in trained.parameters())


def test_errors() -> None:
    model, x = NETS["grey"]()
    net = cs.open(model, example=x)
    with unchanged(model, x), pytest.raises(UsageError, match=r"there is no relu in .*; it has Tanh; choose another one"):
        cs.edit(net, "swap-activation")
    with pytest.raises(UsageError, match="there is no relu in conv1; it has no activation that has a name here"):
        cs.edit(net, "swap-activation", layer="conv1")
    with pytest.raises(UsageError, match="must be one of relu, leaky-relu"):
        cs.edit(net, "swap-activation", new="rely")
    with pytest.raises(UsageError, match="no layer or block named 'tanh3'"):
        cs.edit(net, "swap-activation", layer="tanh3")
    with pytest.raises(UsageError, match="tanh in place of tanh; it is there already"):
        cs.edit(net, "swap-activation", old="tanh", new="tanh")
