"""Connections are the derivative of a unit by the units that write what it reads, on every kind of wiring.

The twin: the graph is run with all rectifiers the identity, and with every other convolution or dense layer cut off from
what it reads. The gradient of a unit by another's map, summed over the map, is then the sum of all slices between the two.

Turns red: in `features/_wiring.py`, `scale[s.channel]` -> 1; `start += shape(part)[1]` left out; in `_edges.py`,
`units // (len(weight) // groups)` -> `units * 0`.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import learned, run
from convscope.errors import StoreError, UnknownName, UsageError
from convscope.features._given import Given
from convscope.features.connections import Connections
from convscope.images import PRESETS
from convscope.network import Network
from tests.contracts.leaves import opened
from tests.contracts.studies import studied
from tests.nets import NETS
from tests.traces import unchanged

ALL = Connections(most=10**6)
Sums = dict[str, float]


def sums(net: Network, target: str, method: Connections = ALL) -> Sums:
    """Sum of the slices between the unit and each other one."""
    found = method(net, target)
    totals: Sums = collections.defaultdict(float)
    for name, value in zip(found.units, found.values["sum"], strict=True):
        totals[name] += float(value)
    return dict(totals)


def twin(net: Network, address: str, unit: int, x: Tensor) -> Sums:
    """By autograd; see above."""
    wanted = learned.weight(net, net[address])
    assert wanted is not None

    def cut(call: Any, x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        if weight.data_ptr() == pointer:
            return call(x, weight, *rest)
        return call(x.detach(), weight, *rest).requires_grad_()

    pointer = wanted.data_ptr()
    same = {name: (lambda call, x, *rest: x + 0) for name in ("relu", "hardtanh", "tanh")}
    writers = [one.address for one in net.layers if learned.weight(net, one) is not None and one.address != address]
    image = x[:1].clone().requires_grad_()
    values = run.run(net, image, keep=[*writers, address], rules={**same, "conv2d": cut, "linear": cut}, grad=True)
    value = values[address][0, unit]
    middle = value if value.ndim == 0 else value[tuple(n // 2 for n in value.shape)]
    found: Sums = {}
    kept = {name: value for name, value in values.kept.items() if name != address} | {"input": image}
    for name, gradient in zip(kept, torch.autograd.grad(middle, list(kept.values()), allow_unused=True), strict=True):
        if gradient is not None:
            for at, total in enumerate(gradient[0].reshape(gradient.shape[1], -1).sum(1).tolist()):
                if abs(total) > 1e-9:
                    colours = ("red", "green", "blue") if name == "input" and gradient.shape[1] == 3 else range(99)
                    found[f"{name}/{colours[at]}"] = total
    return found


@pytest.mark.parametrize("name", [n for n in NETS if n not in ("rows_lstm", "shared_module")])
def test_it_is_the_derivative_whatever_lies_between(name: str) -> None:
    model, x, net = opened(name)
    with unchanged(model, x):
        for layer in net.layers:
            if learned.weight(net, layer) is None:
                continue
            for unit in (0, layer.output_shape[1] - 1):
                found = sums(net, f"{layer.address}/{unit}")
                wanted = twin(net, layer.address, unit, x)
                assert {k for k in found if abs(found[k]) > 1e-6} == {k for k in wanted if abs(wanted[k]) > 1e-6}
                for key, value in wanted.items():
                    assert found.get(key, 0.0) == pytest.approx(value, rel=1e-4, abs=1e-5), (layer.address, unit, key)


@pytest.mark.parametrize("name", ["plain", "residual", "concat", "grouped", "shared_module", "norm_first"])
def test_out_is_in_seen_from_the_other_end(name: str) -> None:
    net = opened(name)[2]
    weighted = [one for one in net.layers if learned.weight(net, one) is not None]
    for writer in weighted:
        address = f"{writer.address}/1"
        wanted = {f"{reader.address}/{u}": total for reader in weighted for u in range(reader.output_shape[1])
                  if (total := sums(net, f"{reader.address}/{u}").get(address)) is not None and reader is not writer}
        if not wanted:
            with pytest.raises(UsageError, match=f"{writer.address} feeds no layer with weights; .*; ask with direction"):
                Connections(direction="out")(net, address)
            continue
        found = sums(net, address, Connections(direction="out", most=10**6))
        assert found == pytest.approx(wanted)


def test_the_strongest_come_first_positive_before_negative() -> None:
    model, _, net = opened("plain")
    found = Connections(most=2)(net, "conv2/3")
    w = model.conv2.weight.detach().double().numpy()[3]  # type: ignore[union-attr,operator]
    norm, total = np.sqrt((w**2).sum((1, 2))), w.sum((1, 2))
    order = np.argsort(-norm)
    wanted = [*[c for c in order if total[c] >= 0][:2], *[c for c in order if total[c] < 0][:2]]
    assert found.units == tuple(f"conv1/{c}" for c in wanted)
    np.testing.assert_allclose(found.tiles, w[wanted])
    np.testing.assert_allclose(found.values["norm"], norm[wanted])
    assert found.values["sign"].tolist() == [1, 1, -1, -1][: len(wanted)]
    positive = int((total >= 0).sum())
    held = (norm[wanted] ** 2).sum() / (norm**2).sum()
    counts = [f"{min(2, n)} of {n}" for n in (positive, 6 - positive)]
    assert found.notes[0] == (f"{counts[0]} connections with a positive sum, then {counts[1]} with a negative one: "
                              f"{held:.0%} of the squared weights")
    assert found.notes[1] == "read from: conv1"


def test_a_unit_may_be_named_behind_its_norm_its_rectifier_or_a_concatenation() -> None:
    model, _, net = opened("residual")
    bn: Any = model.bn1  # type: ignore[union-attr]
    scale = float(bn.weight[2].detach() / torch.sqrt(bn.running_var[2] + bn.eps))
    plain, behind = sums(net, "conv1/2"), sums(net, "relu/2")
    assert behind == pytest.approx({k: v * scale for k, v in plain.items()}, rel=1e-5)
    assert f"relu/2 is conv1/2 through batch norm (times {scale:.3g})" in ALL(net, "relu/2").notes
    concat = opened("concat")[2]
    assert sums(concat, "concat/3") == sums(concat, "branch2.2/0")
    assert "concat/3 is branch2.2/0" in ALL(concat, "concat/3").notes
    added = next(one.address for one in net.layers if one.operator == "add")
    with pytest.raises(UsageError, match=f"{added}/1 sums 2 units; block1.conv2/1, conv1/1; ask about one of these"):
        ALL(net, f"{added}/1")
    note = "a sum is read: each of its writers is listed, with the same slice times its own scale"
    assert note in ALL(net, "block2.conv1/0").notes
    assert note not in ALL(net, "block1.conv1/0").notes


def test_a_layer_shows_its_strongest_connections() -> None:
    model, _, net = opened("plain")
    found = Connections(most=3)(net, "conv2")
    w = model.conv2.weight.detach().double().numpy()  # type: ignore[union-attr,operator]
    norm = np.where(w.sum((2, 3)) >= 0, np.sqrt((w**2).sum((2, 3))), 0)
    u, c = np.unravel_index(norm.argmax(), norm.shape)
    assert found.units[0] == f"conv1/{c} → {u}"
    assert Connections(direction="out", most=3)(net, "conv1").units[0] == f"{c} → conv2/{u}"
    assert "relu2 is made by conv2" in Connections()(net, "relu2").notes
    with pytest.raises(UsageError, match=r"concat has no weights of its own; it is made by branch1.0, branch2.2, .*; ask"):
        Connections()(opened("concat")[2], "concat")


def test_colours_are_named_and_so_is_their_order() -> None:
    model = nn.Conv2d(3, 1, 1, bias=False)
    with torch.no_grad():
        model.weight[:] = torch.tensor([3.0, 2.0, 1.0]).reshape(1, 3, 1, 1)
    nets = [Network.open(model, (3, 4, 4), preprocess=PRESETS[p]) for p in ("imagenet", "caffe")]
    order = [Connections()(net, "conv2d/0").units for net in nets]
    assert order == [("input/red", "input/green", "input/blue"), ("input/blue", "input/green", "input/red")]
    assert Connections()(opened("grouped")[2], "conv1/7").units[0].startswith("input/")
    assert set(Connections()(opened("grouped")[2], "conv1/7").units) == {"input/2", "input/3"}


def test_a_dense_layer_behind_maps_has_slices_of_a_map() -> None:
    model, _, net = opened("plain")
    found = ALL(net, "fc1/4")
    w = model.fc1.weight.detach().double().numpy()[4].reshape(8, 4, 4)  # type: ignore[union-attr,operator]
    for name, tile in zip(found.units, found.tiles, strict=True):
        np.testing.assert_allclose(tile, w[int(name.removeprefix("conv2/"))])


class Cut(nn.Module):
    """Slices, splits, padded channels, gates and features that stand last."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 6, 1), nn.Conv2d(2, 3, 1), nn.Conv2d(5, 2, 1)
        self.gate, self.d, self.last = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        head, tail = x.split([2, 4], 1)
        x = torch.cat([self.b(head), tail[:, 1::2]], 1)
        x = self.c(x)
        x = self.d(x * torch.sigmoid(self.gate(x)))
        x = nn.functional.pad(x, (0, 0, 0, 0, 1, 1))[:, 1:3]
        return self.last(x.permute(0, 2, 3, 1))


def test_slices_and_splits_are_followed_and_gates_end_the_walk() -> None:
    net = Network.open(Cut(), (1, 4, 4))
    assert set(ALL(net, "b/0").units) == {"a/0", "a/1"}
    assert set(ALL(net, "c/0").units) == {"b/0", "b/1", "b/2", "a/3", "a/5"}
    product = next(one.address for one in net.layers if one.operator == "mul")
    assert set(ALL(net, "d/0").units) == {f"{product}/0", f"{product}/1"}
    sliced = [one.address for one in net.layers if one.operator in ("slice", "pad", "constant_pad_nd")][-1]
    assert set(ALL(net, f"{sliced}/1").units) == set(ALL(net, "d/1").units)
    with pytest.raises(UsageError, match=r"last reads features that stand last; .*; choose a convolution"):
        ALL(net, "last/0")
    assert "not looked at, for they read features that stand last: last" in Connections(direction="out")(net, "c/0").notes
    with pytest.raises(UnknownName, match=f"no unit with weights named '{product}/0'"):
        ALL(net, f"{product}/0")


def test_a_sweep_gives_contributions_and_they_add_up_to_the_mean() -> None:
    model, study, _ = studied("no_bias")
    net, given = study.net, Given(record=study.record)
    found = Connections(order="contribution", most=100)(net, "conv2/1", given)
    values = found.values["contribution"]
    assert list(np.abs(values[found.values["sign"] > 0])) == sorted(np.abs(values[found.values["sign"] > 0]), reverse=True)
    # conv2 has neither padding nor bias; the pool's mean over all positions stands for the mean under each weight
    total = study.record.tally("pool1").tree.total()
    assert total is not None
    w = model.conv2.weight.detach().double().numpy()[1]  # type: ignore[union-attr,operator]
    assert values.sum() == pytest.approx((w.sum((1, 2)) * total["mean"]).sum())
    behind = Connections(most=100)(net, "fc/2", given)
    assert "contribution" in behind.values
    first = Connections()(net, "conv1/0", given)
    assert first.notes[-1] == "contributions unknown: the sweep has no means of input"
    with pytest.raises(UsageError, match="an order by contribution needs a sweep; contributions unknown: no sweep"):
        Connections(order="contribution")(net, "conv2/1")
    with pytest.raises(StoreError, match="is of another network"):
        Connections()(opened("plain")[2], "conv2/1", given)


def test_solid_filters_and_empty_ones_are_said() -> None:
    with pytest.raises(UsageError, match="the filters of conv3d have three axes"):
        Connections()(Network.open(nn.Conv3d(1, 2, 3), (1, 1, 5, 5, 5)), "conv3d/0")
    model = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(model.weight)
    found = Connections()(Network.open(model, (1, 4, 4)), "conv2d/0")
    assert found.units == ()
    assert "0% of the squared weights" in found.notes[0]


LOAD = Path(__file__).parents[2] / "../shared/data/load.py"


@pytest.mark.skipif(not LOAD.exists(), reason="the sample networks are not here")
def test_squeezenet_reads_both_expansions() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("load", LOAD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = Network.open(module.load_model("squeezenet1_1")[0], (3, 227, 227))
    found = ALL(net, "features.4.squeeze/3")
    assert len(found.units) == 128
    assert {u.rpartition("/")[0] for u in found.units} == {"features.3.expand1x1", "features.3.expand3x3"}
    fed = Connections(direction="out")(net, "features.3.squeeze/3")
    assert fed.tiles.shape == (24, 3, 3)
    assert "smaller kernels stand in the middle of zeros" in fed.notes
