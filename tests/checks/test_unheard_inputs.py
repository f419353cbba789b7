"""Inputs that no output hears. Mutation: `(g != 0)` → `(g == 0)` in `_heard`, and the first test is red."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.checks.unheard_inputs import UnheardInputs
from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import Suspicion


class Reader(nn.Module):
    """A GRU that reads out one step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head, self.step = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 2), step

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, self.step])


def said(model: nn.Module, x: Tensor) -> list[Suspicion]:
    program = given.program(model, (x, torch.arange(len(x)) % 2), "cross-entropy", "adam:0.01", epochs=2)
    return list(UnheardInputs()(Evidence(program, seconds=0.5)))


def test_a_sequence_of_which_the_first_step_is_read() -> None:
    (one,) = said(Reader(0), torch.randn(16, 6, 3))
    assert one.fault == "A9"
    assert one.evidence["share of the input that is not heard"] == 5 / 6
    assert "rows 1 … 5 of 6" in one.cause


def test_the_last_step_hears_them_all() -> None:
    assert said(Reader(-1), torch.randn(16, 6, 3)) == []


def test_images_are_heard_and_padding_that_never_varies_does_not_count() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    x = torch.randn(16, 1, 8, 8)
    assert said(net, x) == []

    class Cropped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., :2, :2].flatten(1)

    still = x.clone()
    still[..., 2:, :] = 0
    still[..., 2:] = 0
    assert said(nn.Sequential(Cropped(), nn.Linear(4, 2)), still) == []
    (one,) = said(nn.Sequential(Cropped(), nn.Linear(4, 2)), x)
    assert one.evidence["share of the input that is not heard"] == 60 / 64
