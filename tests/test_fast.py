"""The fast copy answers what the network answers, and folds only where nobody sees a difference.

Turns red: in `fast._fold`, `(b - mean)` -> `(b + mean)`; drop `conv.name in by_node`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.fast import fast
from convscope.network import Network
from convscope.results import Layer


def stirred(module: nn.Module) -> nn.Module:
    """With statistics that are not 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d):
                for t, low in ((m.running_mean, -1.0), (m.running_var, 0.5), (m.weight, 0.5), (m.bias, -1.0)):
                    if t is not None:
                        t.copy_(low + torch.rand(t.shape, generator=generator))
    return module.eval()


class Shared(nn.Module):
    """One convolution under two batch norms: there is nothing to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.conv(self.a(self.conv(x))))


class Forked(nn.Module):
    """The convolution's own output is used as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class Tied(nn.Module):
    """Two convolutions with one batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.b(self.norm(self.a(x)))).flatten(1)


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "with bias": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), 1),
    "without": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, groups=2, bias=False), nn.BatchNorm2d(2)
        ),
        2,
    ),
    "norm first": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU()), 0),
    "no affine": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), 0),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)), 0),
    "shared": (Shared, 0),
    "forked": (Forked, 0),
    "tied": (Tied, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_copy_answers_the_same(name: str) -> None:
    make, folded = CASES[name]
    module = stirred(make())
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        net = Network.open(module.to(dtype), x.to(dtype))
        kept = {k: v.clone() for k, v in module.state_dict().items()}
        copy = fast(net, ())
        assert copy.folded == folded
        got, wanted = copy.run(x.to(dtype)), net(x.to(dtype))
        assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()
        assert all(torch.equal(v, kept[k]) for k, v in module.state_dict().items())


def test_measured_layers_are_seen_with_their_own_values() -> None:
    net = Network.open(
        stirred(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())),
        (3, 9, 9),
    )
    x = torch.randn(2, 3, 9, 9)
    copy = fast(net, ["0", "1", "3"])
    seen: dict[str, Tensor] = {}

    def see(layer: Layer, value: Tensor) -> None:
        seen[layer.address] = value.clone()  # what follows may write over it

    before = x.clone()
    copy.run(x, see)
    assert torch.equal(x, before)
    assert copy.folded == 1  # conv 0 is measured and stays; conv 2 goes into norm 3
    assert list(seen) == ["0", "1", "3"]
    wanted = net.run(x, keep=list(seen))
    for address, value in seen.items():
        assert torch.allclose(value, wanted[address], rtol=1e-4, atol=1e-5), address


class Branching(nn.Module):
    """Values that are read twice, or are somebody's input, must not be written over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        straight = torch.relu(x)  # the image is not ours to write on
        y = self.conv(x)
        z = torch.relu(y) + y  # y is read twice
        w = self.norm(self.conv(z) + x[:, :1])  # a sum that broadcasts
        return torch.relu(torch.relu(w) + straight) + y


@pytest.mark.parametrize("measured", [(), ("conv", "conv:1", "norm"), ("relu", "add", "add:1")])
def test_only_what_nobody_else_reads_is_written_over(measured: tuple[str, ...]) -> None:
    net = Network.open(stirred(Branching()), (3, 9, 9))
    x = torch.randn(2, 3, 9, 9)
    before, wanted = x.clone(), net(x)
    copy = fast(net, measured)
    for _ in range(2):  # a second run finds weights and image as they were
        assert torch.allclose(copy.run(x), wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(x, before)


def test_a_network_that_counts_its_calls_gives_its_answer() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return self.conv(x)

    net = Network.open(Counting(), (3, 9, 9))
    x = torch.randn(2, 3, 9, 9)
    assert torch.allclose(fast(net, ()).run(x), net(x), atol=1e-6)
