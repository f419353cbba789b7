"""The receipt: the drift is what the definition says, the rows are the layers that differ; a new name is none.

Mutations that turn it red: in `receipt.py`, `(new - old)` -> `(old - old)`; `endswith(f".{cell[0]}")` -> `endswith("?")`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.data import open_collection
from convscope.editing import Draft, Given, receipt
from convscope.editing.backward.encoder import last_map
from convscope.network import Network


def small() -> Network:
    return cs.open(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval(), (1, 8, 8))


def test_the_drift_is_the_difference_of_the_outputs() -> None:
    net = small()
    draft = Draft.of(net)
    with torch.no_grad():
        draft.module(draft["3"]).get_parameter("bias").add_(torch.tensor([0.0, 0.0, 0.0, 0.0, 50.0]))
    after, source = draft.finish()
    told = receipt.written("Test()", draft, after, source, Given(open_collection("digits")))
    x = torch.from_numpy(np.stack([net.preprocess(i) if net.preprocess else i.transpose(2, 0, 1) / np.float32(255)
                                   for i in (open_collection("digits")[k] for k in range(64))])).float()
    old, new = net.run(x).output, after.run(x).output
    assert told.drift["largest difference"] == pytest.approx(float((new - old).abs().max()), rel=1e-6)
    assert told.drift["root mean square"] == pytest.approx(50 / 5**0.5, rel=1e-5)
    assert told.drift["relative to the spread of the outputs"] == pytest.approx(50 / 5**0.5 / float(old.std()), rel=1e-4)
    assert told.drift["same highest class"] == float((old.argmax(1) == 4).double().mean())
    assert told.drift_on == "64 images (of 1,797, the first)"


def test_outputs_of_another_size_are_not_compared() -> None:
    net = small()
    draft = Draft.of(net)
    draft.put(draft["3"], nn.Linear(144, 7))
    after, source = draft.finish()
    told = receipt.written("Test()", draft, after, source, Given())
    assert (told.drift, told.drift_on) == ({}, "the outputs differ in size: 5 and 7")
    assert told.rows["layer"].tolist() == ["3"]
    assert told.rows["before"].tolist() == ["linear → 5, 725 parameters"]
    assert told.rows["after"].tolist() == ["linear → 7, 1,015 parameters"]


class Gate(nn.Module):
    """Squeeze and excitation: plain calls inside a module."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.scale(x.mean((2, 3), keepdim=True)))


class Gated(nn.Module):
    """A gate, and a flatten that asks for the size of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.fc = nn.Conv2d(1, 4, 3), Gate(), nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(F.relu(self.conv(x)))
        return self.fc(y.permute(0, 2, 3, 1).reshape(x.shape[0], -1))


def test_another_path_alone_is_no_change() -> None:
    net = cs.open(Gated().eval(), (1, 8, 8))
    draft = Draft.of(net)
    after, source = draft.finish()
    told = receipt.written("Nothing()", draft, after, source, Given())
    assert told.rows["layer"].tolist() == []
    assert told.drift["largest difference"] == 0


def test_the_last_map_stands_before_axes_change_places() -> None:
    draft = Draft.of(cs.open(Gated().eval(), (1, 8, 8)))
    assert draft.nodes[0].meta["shape"] is None  # the size of the batch, which is no value to follow
    assert draft.address(last_map(draft)) == "gate.mul"
