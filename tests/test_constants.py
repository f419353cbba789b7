"""Weights that a forward reaches by a way of its own are the module's parameters all the same.

Turns red: in `constants.py`, drop `named[name].replace_all_uses_with(…)`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import convscope as cs
from convscope import constants, export


class Variable:
    """What holds a weight in place of the module, as Keras has it."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.group = nn.ParameterDict({"kernel": nn.Parameter(torch.randn(4, 3, 3, 3))})
        self.kernel, self.half = Variable(self.group["kernel"]), Variable(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.kernel.value).mean((2, 3)) * self.half.value


def test_they_are_counted_and_read_where_they_are() -> None:
    torch.manual_seed(0)
    model = Hidden().eval()
    net = cs.open(model, example=(3, 8, 8))
    assert {layer.address: layer.parameters for layer in net.layers}["conv2d"] == 108
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(net.run(x).output, model(x))


def test_a_constant_of_its_own_stays_one() -> None:
    model = Hidden().eval()
    program = export.with_modes(model, ((torch.randn(2, 3, 8, 8),), {}), batch_free=True)
    read = [n.name for n in program.graph.nodes if n.op == "placeholder" and n.users]
    assert read == ["p_group_kernel", next(n for n in read if n.startswith("c_")), "x"]
    constants.own_weights(program)
    assert read == [n.name for n in program.graph.nodes if n.op == "placeholder" and n.users]


def test_the_copy_of_an_edit_trains_them() -> None:
    edited, _ = cs.edit(cs.open(Hidden().eval(), example=(3, 8, 8)), "convolutionalize")
    assert edited.module is not None
    assert [p.shape for p in edited.module.parameters() if p.requires_grad] == [torch.Size([4, 3, 3, 3])]
