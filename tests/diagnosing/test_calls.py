"""Calls of a forward pass against the exported graph's layers, and passes with some calls replaced.

Mutation that turns this red: in calls.py, `turn = self.turns[op] = self.turns.get(op, -1) + 1` → `+ 2`.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.diagnosing import calls
from convscope.diagnosing.calls import WEIGHTED, identity, instead, record, replacing
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged


@pytest.mark.parametrize("name", [n for n in NETS if n != "rows_lstm"])
def test_calls_are_the_graphs_layers(name: str) -> None:
    """Layers that only reshape are not calls; a batch of two gives the shapes of one."""
    model, x, net = opened(name)
    with unchanged(model, x):
        out, recorder = record(model, x)
    renamed = {"conv2d": "conv", "relu6": "hardtanh", "concat": "cat"}  # nn.ReLU6 calls hardtanh
    graph = [(renamed.get(n.operator, n.operator), n.output_shape[1:]) for n in net.layers if n.operator != "flatten"]
    assert [(c.op, tuple(c.value.shape[1:])) for c in recorder.calls] == graph
    assert torch.equal(out, model(x))


class Plain(nn.Module):
    """Functional calls, a module used twice, a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.relu = nn.Linear(4, 6), nn.Linear(6, 6), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.a(x))
        h = h + F.dropout(self.relu(self.b(h)), 0.5, self.training)
        return F.softmax(h.reshape(len(x), -1), dim=-1)


def test_names_turns_lines_and_settings() -> None:
    torch.manual_seed(0)
    model, x = Plain().eval(), torch.randn(3, 4)
    _, recorder = record(model, x, where=True)
    found = recorder.calls
    assert [c.key for c in found] == ["linear#0", "relu#0", "linear#1", "relu#1", "dropout#0", "add#0", "softmax#0"]
    assert [c.inputs for c in found] == [(-1,), (0,), (1,), (2,), (3,), (1, 4), (5,)]
    assert found[0].parameters == ("a.weight", "a.bias")
    assert found[-1].settings["dim"] == 1
    assert found[-1].text == "return F.softmax(h.reshape(len(x), -1), dim=-1)"
    assert found[-1].line.startswith("test_calls.py:")
    assert (found[1].module, found[3].module) == ("relu", "relu")
    assert len({c.name for c in found}) == len(found)


def test_replacing_a_call_is_editing_by_hand() -> None:
    torch.manual_seed(0)
    model, x = Plain().eval(), torch.randn(3, 4)

    def by_hand(x: Tensor) -> Tensor:
        h = model.relu(model.a(x))
        return h + torch.tanh(model.b(h))

    got, _ = record(model, x, {"softmax#0": identity, "relu#1": instead(torch.tanh)})
    assert torch.equal(got, by_hand(x))
    with replacing({"softmax": identity, "relu#1": instead(torch.tanh)}):
        assert torch.equal(model(x), by_hand(x))
    with replacing({}):
        assert torch.equal(model(x), F.softmax(model.relu(model.a(x)) + model.relu(model.b(model.relu(model.a(x)))), 1))


def test_gradients_pass_through_a_replaced_call() -> None:
    model, x = Plain().eval(), torch.randn(3, 4)
    got, _ = record(model, x, {"softmax#0": identity})
    weight = torch.randn_like(got)
    (a,) = torch.autograd.grad((got * weight).sum(), [model.a.weight])
    h = model.relu(model.a(x))
    (b,) = torch.autograd.grad(((h + model.relu(model.b(h))) * weight).sum(), [model.a.weight])
    assert torch.equal(a, b)


def test_weights_by_other_ways() -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w + self.b

    _, recorder = record(Raw(), torch.randn(3, 4))
    (one,) = recorder.calls
    assert (one.op, one.parameters) == ("linear", ("w", "b"))
    assert one.op in WEIGHTED


@pytest.mark.parametrize(
    ("torchs", "ours"),
    [
        ("conv2d", "conv"),
        ("relu_", "relu"),
        ("__iadd__", "add"),
        ("dropout2d", "dropout"),
        ("matmul", "linear"),
        ("foo", "foo"),
    ],
)
def test_one_name_an_operation(torchs: str, ours: str) -> None:
    assert calls.canonical(torchs, True) == ours
    assert calls.canonical("matmul", False) == "matmul"
