"""Changed passes against full ones, on every odd network, with windows at borders and corners, and from a layer on.

Turns red if in rules.py `length` loses its `+ 1`, if in regions.py `reach` is left out of `through`, or if
max pooling is padded with 0 instead of −∞.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ShapeError, UnknownName, UsageError
from convscope.incremental.executor import Incremental
from convscope.layers import op_name
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged


def opened(name: str) -> tuple[Network, Tensor]:
    module, x = NETS[name]()
    return Network.open(module.double(), x.double(), name=name), x[:1].double()


def some(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Windows of many sizes: at corners, single pixels, a whole row, everything."""
    boxes = [(y, min(y + s, height), x, min(x + s, width)) for s in (1, 3, 6) for y in range(0, height, 4)
             for x in range(0, width, 3)]
    return [*boxes, (0, height, 0, width), (0, 1, 0, width), (height - 1, height, width - 1, width)]


def covered(net: Network, x: Tensor, windows: list[tuple[int, int, int, int]], filled: Tensor) -> Tensor:
    """One by one, the slow way."""
    outputs = []
    for y0, y1, x0, x1 in windows:
        image = x.clone()
        image[:, :, y0:y1, x0:x1] = filled[:, :, y0:y1, x0:x1]
        outputs.append(net(image))
    return torch.cat(outputs)


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("name", NETS)
def test_covered_windows_give_what_full_passes_give(name: str, batch: int) -> None:
    net, x = opened(name)
    windows = some(*x.shape[2:])[:: 1 if batch == 32 else 5]
    filled = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = Incremental(net, x).covered(windows, filled, batch)
    torch.testing.assert_close(found, covered(net, x, windows, filled), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reference", ["zoo:alexnet_2012", "zoo:googlenet"])
def test_local_response_norms_are_run_on_rectangles(reference: str) -> None:
    import convscope as cs

    net = cs.open(reference).to(torch.float64)
    x = torch.randn(net.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    windows = [(0, 16, 0, 16), (100, 116, 90, 106), (210, 224, 0, 16)]
    passes = Incremental(net, x)
    torch.testing.assert_close(passes.covered(windows, torch.zeros_like(x)), covered(net, x, windows, torch.zeros_like(x)),
                               rtol=1e-10, atol=1e-10)
    assert passes.bound(windows) < 0.4, "a small window must not reach everything"


def test_padding_never_wins_a_pooling_window() -> None:
    """Negative values at the border, pooled with padding and in ceil mode: 0 would win there."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Conv2d(4, 2, 3), nn.Flatten())
        x = torch.randn(1, 3, 14, 13, dtype=torch.float64)
    nn.init.constant_(pooled[0].bias, -9.0)
    net = Network.open(pooled.double(), x)
    windows = some(14, 13)
    torch.testing.assert_close(Incremental(net, x).covered(windows, -x), covered(net, x, windows, -x), rtol=0, atol=1e-12)


def test_an_image_changed_somewhere_else() -> None:
    net, x = opened("residual")
    passes = Incremental(net, x)
    other = x.clone()
    other[0, 1, 5, 9] += 1
    other[0, 0, 7, 3] -= 2
    torch.testing.assert_close(passes.changed(other), net(other), rtol=0, atol=1e-12)
    assert torch.equal(passes.changed(x), passes.clean)
    with pytest.raises(ShapeError, match="the clean one is"):
        passes.changed(x[:, :, 1:])


@pytest.mark.parametrize("name", ["residual", "concat", "norm_first", "ceil_pool"])
def test_a_channel_set_to_zero_is_run_from_its_layer_on(name: str) -> None:
    net, x = opened(name)
    passes = Incremental(net, x)
    for layer in net.layers:
        if not layer.operator.startswith(("relu", "batch_norm", "concat")):
            continue

        def silenced(address: str, channel: int) -> Tensor:
            zero = torch.ones(net[address].output_shape, dtype=torch.float64)
            zero[:, channel] = 0
            node = next(n for n in net.program.graph.nodes if n.name == net[address].node)
            calls = [n for n in net.program.graph.nodes if n.target is node.target]
            number = iter(range(len(calls)))

            def rule(call: Any, *args: Any, **kwargs: Any) -> Any:
                value = call(*args, **kwargs)
                if calls[next(number)] is not node:
                    return value
                return (value[0] * zero, *value[1:]) if isinstance(value, tuple) else value * zero

            return net.run(x, rules={op_name(node): rule}).output

        found = passes.ablated(layer.address, [0, 1])
        expected = torch.cat([silenced(layer.address, c) for c in (0, 1)])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_layer_in_the_middle_can_be_what_is_asked() -> None:
    net, x = opened("plain")
    windows = some(16, 16)
    filled = torch.zeros_like(x)
    found = Incremental(net, x, stop="relu2").covered(windows, filled)
    for value, (y0, y1, x0, x1) in zip(found, windows, strict=True):
        image = x.clone()
        image[:, :, y0:y1, x0:x1] = 0
        torch.testing.assert_close(value[None], net.run(image, keep=["relu2"])["relu2"], rtol=0, atol=1e-12)


def test_how_much_can_change_is_counted() -> None:
    """One 3×3 convolution on 8×8, padded: a pixel reaches 9 of 64 outputs, a corner 4."""
    net = Network.open(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), (1, 8, 8))
    passes = Incremental(net, torch.zeros(1, 1, 8, 8))
    assert passes.bound([(4, 5, 4, 5)]) == pytest.approx(9 / 64)
    assert passes.bound([(4, 5, 4, 5), (0, 1, 0, 1)]) == pytest.approx((9 + 4) / 128)
    gated = Network.open(_Gated(), (3, 8, 8))
    assert Incremental(gated, torch.zeros(1, 3, 8, 8)).bound([(4, 5, 4, 5)]) > 0.5, "behind a gate everything changes"


def test_memory_says_how_many_changes_go_together() -> None:
    """Two 3×3 convolutions on 8×8: a pixel reaches 3×3 of 2 channels, then 5×5 of 3, in float32."""
    net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)), (1, 8, 8))
    passes = Incremental(net, torch.zeros(1, 1, 8, 8))
    needed = 4 * ((2 * 9 + 3 * 25) + 2 * 3 * 25)
    assert passes.batch_for([(4, 5, 4, 5)], 10 * needed) == 10
    assert passes.batch_for([(4, 5, 4, 5)], 10 * needed - 1) == 9
    assert passes.batch_for([(4, 5, 4, 5)], 1) == 1
    assert passes.batch_for([(0, 8, 0, 8)], 10 * needed) < 10, "a large window needs more"


class _Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.after = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.after(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))))


def test_what_cannot_be_done_is_said() -> None:
    net, x = opened("plain")
    with pytest.raises(ShapeError, match="give images one by one"):
        Incremental(net, torch.cat([x, x]))
    passes = Incremental(net, x)
    with pytest.raises(UnknownName, match="no layer named 'conv9'"):
        passes.ablated("conv9", [0])
    with pytest.raises(UsageError, match="conv1 cannot be changed by itself"):
        Incremental(*opened("norm_first")).ablated("conv1", [0])
    assert Incremental(*opened("norm_first")).ablated("bn1", [0]).shape == (1, 5), "folded, but still there by its name"


def test_it_leaves_no_trace_also_when_it_is_stopped() -> None:
    module, x = NETS["residual"]()
    with unchanged(module, x):
        net = Network.open(module, x)
        passes = Incremental(net, x[:1])
        passes.covered([(0, 4, 0, 4)], torch.zeros_like(x[:1]))

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            passes.covered(some(16, 16), torch.zeros_like(x[:1]), 4, stop)
