"""Parameters that were used and get no gradient.

Mutation that turns this red: in graph_cut.py, `gradients.get(n) is None` → `gradients.get(n) is not None`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.checks.graph_cut import GraphCut
from tests.checks import small


class Net(nn.Module):
    """A network whose graph is cut in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.last, self.side = how, nn.Linear(8, 32), nn.Linear(32, 3), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                return self.last(torch.relu(self.first(x)))
        h = torch.relu(self.first(x))
        if self.how == "detach":
            h = h.detach()
        if self.how == "list":
            h = torch.tensor(h.tolist())
        if self.how == "round":
            return torch.round(self.last(h))
        if self.how == "branch":
            _ = self.side(x)
        return self.last(h)


def test_detach_is_named_and_leaving_it_out_mends() -> None:
    torch.manual_seed(0)
    program = small.made(Net("detach"), "sgd:0.3")
    (one,) = small.found(GraphCut(), program)
    assert (one.fault, one.strength, one.shows) == ("P7", 1.0, False)
    assert "detach" in one.cause
    control, changed = small.shares(program, one.change, 600)
    assert changed > control


def test_no_grad_leaves_nothing_to_learn_from() -> None:
    program = small.made(Net("no_grad"))
    (one,) = small.found(GraphCut(), program)
    assert one.strength == 1.0
    assert one.shows
    assert one.change is not None
    twin = one.change.apply(program.twin())
    from convscope.diagnosing.trial import train

    assert not train(twin, 0, 3).problem


def test_a_list_and_a_rounding_cut_it_too() -> None:
    assert [s.fault for s in small.found(GraphCut(), small.made(Net("list")))] == ["P7"]
    (one,) = small.found(GraphCut(), small.made(Net("round")))
    assert "round" in one.cause
    assert one.shows


def test_whole_graphs_and_unused_branches_are_left_alone() -> None:
    assert small.found(GraphCut(), small.made(small.net())) == []
    assert small.found(GraphCut(), small.made(Net("branch"))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(GraphCut()(evidence)), list), name
