"""Rectifiers that block a whole image let its gradient pass another way; nothing else changes.

Turns red: in `redirect._Redirected.backward`, `(x <= low) & (g > 0)` -> `(x <= low) & (g < 0)`; `.flatten(1).abs().amax(1)`
-> `.abs().amax()`; in `redirected`, drop "relu_".
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.images import Preprocess
from convscope.network import Network
from convscope.synthesis.colours import independent
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.loop import Ascent, Found, Wanted
from convscope.synthesis.objective import Neuron
from convscope.synthesis.redirect import _Redirected, redirected
from convscope.synthesis.shake import Shake
from tests.contracts.leaves import opened


def gradient(x: Tensor, g: Tensor, top: float = float("inf")) -> list[list[float]]:
    own = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(_Redirected.apply(own, 0.0, top), own, g)
    return found.tolist()


def test_by_hand() -> None:
    """L falls where x follows −g: a blocked x ≤ 0 is pulled up where g < 0, and left alone where g > 0."""
    g = torch.tensor([[-1.0, 2.0, 3.0]])
    assert gradient(torch.tensor([[-1.0, -1.0, 5.0]]), g) == [[0, 0, 3]]  # something arrives: the plain rule
    assert gradient(torch.tensor([[-1.0, -1.0, -1.0]]), g) == [[-1, 0, 0]]
    assert gradient(torch.tensor([[7.0, 9.0, -1.0]]), g, 6) == [[0, 2, 0]]  # at the top the other way round
    both = gradient(torch.tensor([[-1.0, -1.0, 5.0], [-1.0, -1.0, -1.0]]), g.repeat(2, 1))
    assert both == [[0, 0, 3], [-1, 0, 0]]  # image by image


@pytest.mark.parametrize("name", ["plain", "functional_relu", "reused_relu", "in_place", "grouped"])
def test_where_gradients_arrive_the_twin_is_the_same(name: str) -> None:
    _, x, net = opened(name)
    address = net.output.address
    cut = Cut(net, [address])
    found = []
    for graph in (None, redirected(cut.graph)):
        own = x.clone().requires_grad_()
        value = cut(own, graph)[address]
        found.append((value.detach(), torch.autograd.grad(value[:, 0].sum(), own)[0]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


class Blocked(nn.Module):
    """At mid-grey every unit of the first layer is beyond what its rectifier lets through."""

    def __init__(self, act: Callable[[Tensor], Tensor], bias: float) -> None:
        super().__init__()
        self.conv1, self.conv2, self.act = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3), act
        with torch.no_grad():
            for i, layer in enumerate((self.conv1, self.conv2)):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(i)) / 3)
            self.conv1.weight.sub_(self.conv1.weight.mean((1, 2, 3), keepdim=True))
            nn.init.constant_(self.conv1.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv2(self.act(self.conv1(x))))


def climbed(act: Callable[[Tensor], Tensor], bias: float, steps: int) -> Found:
    net = Network.open(Blocked(act, bias).eval(), (1, 12, 12))
    image = Image("fourier", (12, 12), independent(1))
    still = Shake(0, 0, 0, 0)
    return Ascent((net,), image, Reading(Preprocess(channels="L"), 1), still, steps)([Wanted("a", Neuron("conv2", 0))])


CASES: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "module, reused": (nn.ReLU(), -0.5), "functional": (F.relu, -0.5), "in place": (nn.ReLU(inplace=True), -0.5),
    "relu6, below": (F.relu6, -0.5), "relu6, above": (nn.ReLU6(), 6.5), "clamp": (lambda x: x.clamp(min=0), -0.5),
    "clamp, above": (lambda x: x.clamp(0, 2), 2.5),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_start_that_is_wholly_blocked_recovers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    act, bias = CASES[name]
    found = climbed(act, bias, 64)
    assert found.recovered == (0,)
    assert found.blocked == ()
    assert found.scores[-1, 0] > found.scores[0, 0] + 0.2
    monkeypatch.setattr("convscope.synthesis.loop.RECOVERY", 0)  # without it nothing ever moves
    plain = climbed(act, bias, 64)
    assert plain.blocked == (0,)
    assert plain.recovered == ()
    assert (plain.scores == plain.scores[0]).all()


def test_what_cannot_be_reached_is_said() -> None:
    found = climbed(lambda x: F.relu(x) * 0, -0.5, 20)
    assert found.blocked == (0,)
