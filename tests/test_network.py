"""A network can be asked: layers, units, sizes, types, fingerprints.

Turns red: in `Network.at`, `if wanted not in self._at` -> `if True`; in `print`, drop `digest.update(value…)`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ExportError, ShapeError, UnknownName, UsageError
from convscope.network import Network, map_of, shape_text, units_of


def module() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        ).eval()


def test_what_is_in_it() -> None:
    net = Network.open(module(), (1, 8, 8))
    assert "2" in net
    assert "9" not in net
    assert net["0"].output_shape == (1, 4, 6, 6)
    assert (units_of(net["0"]), map_of(net["0"]), shape_text(net["0"])) == (4, (6, 6), "4×6×6")
    assert (units_of(net["5"]), map_of(net["5"]), shape_text(net["5"])) == (3, None, "3")
    assert net.output.address == "5"
    assert repr(net) == "Network(Sequential, input 1×8×8, 6 layers, 63 parameters)"
    assert (net.dtype, net.device, net.batch) == (torch.float32, torch.device("cpu"), None)
    with pytest.raises(UnknownName, match=r"no layer named '10'; .*`convscope trace` lists all"):
        net["10"]


def test_other_sizes_are_exported_once_and_exact() -> None:
    m = module()
    net = Network.open(m, (1, 8, 8))
    x = torch.randn(2, 1, 11, 13)
    assert torch.equal(net(x), m(x).detach())
    assert net.at((1, 11, 13)) is net.at([1, 11, 13])
    assert net.at((1, 8, 8)) is net
    assert net.at((1, 11, 13))["0"].output_shape == (1, 4, 9, 11)
    with pytest.raises(ExportError, match="does not accept this input"):
        net.at((1, 2, 2))


def test_double_precision_is_a_copy_at_every_size() -> None:
    m = module()
    net = Network.open(m, (1, 8, 8))
    double = net.to(torch.float64)
    assert double.dtype == torch.float64
    assert next(m.parameters()).dtype == torch.float32
    assert net.to(torch.float32) is net
    x = torch.randn(1, 1, 10, 10, dtype=torch.float64)
    wanted = m.double()(x).detach()
    assert torch.equal(double(x), wanted)


def test_a_network_without_its_module_stays_as_it_is() -> None:
    from convscope import export

    inputs = export.as_inputs((1, 8, 8), module())
    net = Network.of(export.export(module(), inputs), None, "bare")
    with pytest.raises(ShapeError, match=r"bare takes 1×8×8; got 1×9×9; only a network opened from a module"):
        net.at((1, 9, 9))
    with pytest.raises(
        UsageError, match="bare cannot change its type; it was opened without a module; open it again from its module"
    ):
        net.to(torch.float64)


def test_the_print_changes_with_the_answer_only() -> None:
    a, b = Network.open(module(), (1, 8, 8)), Network.open(module(), torch.rand(5, 1, 8, 8))
    assert a.print == b.print
    assert len(a.print) == 16
    changed = module()
    with torch.no_grad():
        changed[0].weight[0, 0, 0, 0] += 1e-6
    assert Network.open(changed, (1, 8, 8)).print != a.print
    statistics = module()
    statistics[1].running_mean[0] += 1e-6  # type: ignore[index,operator]
    assert Network.open(statistics, (1, 8, 8)).print != a.print
    stride = module()
    stride[0].stride = (2, 2)
    assert Network.open(stride, (1, 8, 8)).print != a.print


def test_inputs_are_checked() -> None:
    net = Network.open(module(), (1, 8, 8))
    assert net(torch.rand(1, 8, 8)).shape == (1, 3)  # a single image
    assert net(torch.rand(2, 1, 8, 8).double()).dtype == torch.float32
    for wrong in (torch.rand(2, 3, 8, 8), torch.rand(8, 8), torch.rand(1, 1, 1, 8, 8)):
        with pytest.raises(
            ShapeError, match=r"Sequential takes B×1×8×8; got .*; mind the order: batch, channel, height, width"
        ):
            net(wrong)
    with pytest.raises(ShapeError, match=r"the batch is empty; got \(0, 1, 8, 8\); give at least one image"):
        net(torch.rand(0, 1, 8, 8))


def test_the_trace_adds_up_and_is_written_down() -> None:
    net = Network.open(module(), (1, 8, 8))
    trace = net.trace()
    assert trace.parameters == 63
    assert trace.macs == 4 * 36 * 9 + 12
    assert trace.origin.network == net.print
    assert all(layer.saved is not None for layer in trace.layers)
    assert all(layer.saved is None for layer in net.trace(measure=False).layers)


def test_a_second_call_of_a_layer_with_another_shape() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x)).mean((2, 3))

    net = Network.open(Pyramid(), (1, 8, 8))
    assert [net[a].output_shape for a in ("conv", "conv:1")] == [(1, 1, 6, 6), (1, 1, 4, 4)]
    assert str(net.unit("conv:1/0@3,3")) == "conv:1/0@3,3"
    with pytest.raises(UnknownName, match=r"no position \(4, 4\) in conv:1"):
        net.unit("conv:1/0@4,4")
