"""Receptive fields against brute force: raise one row of the input, and see which rows of each layer answer.

All weights are positive, so nothing cancels: an output row changes exactly when it sees the raised row.

Turns red: in `geometry.Field.through`, `self.start - window.padding * self.stride` -> `self.start - window.padding`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.geometry import Field
from convscope.network import Network
from convscope.results import Layer


class Lambda(nn.Module):
    """A module from parts and a function of them."""

    def __init__(self, f: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.f = f
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self, x)


def positive(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.linspace(0.05, 0.15, p.numel()).reshape(p.shape))
    return net.double().eval()


def opened(net: nn.Module, shape: tuple[int, ...]) -> Network:
    return Network.open(positive(net), torch.rand(1, *shape, dtype=torch.float64))


def seen(net: Network, axis: int) -> dict[str, list[list[int]]]:
    """For each layer with a map: which input rows (columns) each of its rows (columns) depends on."""
    n = net.input_shape[2 + axis]
    x = torch.linspace(1, 2, torch.Size(net.input_shape).numel(), dtype=torch.float64).reshape(net.input_shape)
    raised = x.repeat(n, *[1] * (x.ndim - 1))
    for i in range(n):
        raised.select(2 + axis, i)[i] += 10
    found: dict[str, list[list[int]]] = {}
    base: dict[str, Tensor] = {}
    net.run(x, visit=lambda layer, value: base.update({layer.address: value}))

    def see(layer: Layer, value: Tensor) -> None:
        if layer.unit_axis is None or value.ndim != x.ndim:
            return
        changed = ((value - base[layer.address]).abs() > 1e-9).movedim(layer.unit_axis, 1)  # (n, C, h, w)
        dims = [d for d in range(1, changed.ndim) if d != 2 + axis]
        rows = changed.amax(dims)  # (n, h)
        found[layer.address] = [rows[:, p].nonzero().flatten().tolist() for p in range(rows.shape[1])]

    net.run(raised, visit=see)
    return found


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, (5, 2), stride=2, padding=(2, 0)), nn.MaxPool2d(2)
        ),
        (2, 19, 23),
    ),
    "dilated": (lambda: nn.Sequential(nn.Conv2d(1, 2, 2, dilation=1), nn.Conv2d(2, 2, 2, dilation=(1, 1))), (1, 12, 11)),
    "ceil pool": (
        lambda: nn.Sequential(
            nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(2, 2, ceil_mode=True, padding=1)
        ),
        (1, 15, 18),
    ),
    "residual": (
        lambda: Lambda(
            lambda m, x: F.relu(m.b(F.relu(m.a(x))) + m.s(x)),
            a=nn.Conv2d(1, 2, 3, stride=2, padding=1),
            b=nn.Conv2d(2, 2, 3, padding=1),
            s=nn.Conv2d(1, 2, 1, stride=2),
        ),
        (1, 16, 13),
    ),
    "concat": (
        lambda: Lambda(
            lambda m, x: m.c(torch.cat([m.a(x), m.b(x), x], 1)),
            a=nn.Conv2d(1, 2, 5, padding=2),
            b=nn.Conv2d(1, 2, 3, padding=1),
            c=nn.Conv2d(5, 1, 3),
        ),
        (1, 14, 12),
    ),
    "grouped": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 3, stride=3)
        ),
        (4, 13, 16),
    ),
    "channels last": (
        lambda: Lambda(
            lambda m, x: m.b(m.n(m.d(m.a(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)),
            a=nn.Conv2d(1, 4, 3, stride=2),
            d=nn.Linear(4, 4),
            n=nn.GELU(),
            b=nn.Conv2d(4, 1, 3),
        ),
        (1, 13, 15),
    ),
    "channels last norms": (
        lambda: Lambda(
            lambda m, x: m.b(m.n(m.a(x).permute(0, 2, 3, 1)).softmax(3).permute(0, 3, 1, 2)),
            a=nn.Conv2d(1, 4, 3, stride=2),
            n=nn.LayerNorm(4),
            b=nn.Conv2d(4, 1, 3),
        ),
        (1, 13, 15),
    ),
    "elementwise": (
        lambda: Lambda(
            lambda m, x: m.b((m.a(x) ** 2).clamp(0, 9).sqrt() / 3 * torch.exp(-x[:, :, 1:-1, 1:-1]) + 1),
            a=nn.Conv2d(1, 1, 3),
            b=nn.Conv2d(1, 1, 3),
        ),
        (1, 9, 10),
    ),
    "padded": (lambda: Lambda(lambda m, x: m.a(F.pad(x, (1, 0, 2, 0))), a=nn.Conv2d(1, 1, 3, stride=2)), (1, 11, 12)),
    "cropped": (
        lambda: Lambda(lambda m, x: m.b(m.a(x)[:, :, 2:, 1:-1]), a=nn.Conv2d(1, 1, 3, stride=2), b=nn.Conv2d(1, 1, 2)),
        (1, 17, 18),
    ),
    "strided slice": (
        lambda: Lambda(lambda m, x: m.b(m.a(x)[:, :, ::2, 1::3]), a=nn.Conv2d(1, 1, 3), b=nn.Conv2d(1, 1, 2)),
        (1, 17, 18),
    ),
    "same": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 4, padding="same"), nn.Conv2d(1, 1, 3, padding="same", dilation=1)),
        (1, 10, 11),
    ),
    "pixel unshuffle": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3, padding=1)), (1, 12, 14)),
    "shuffle": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ChannelShuffle(2), nn.Conv2d(4, 4, 3, groups=2)), (1, 10, 11)),
    "shared": (lambda: Lambda(lambda m, x: m.a(m.p(m.a(x))), a=nn.Conv2d(1, 1, 3), p=nn.MaxPool2d(2)), (1, 14, 15)),
    "one axis": (lambda: nn.Sequential(nn.Conv1d(1, 2, 5, stride=2), nn.ReLU(), nn.MaxPool1d(3, 1)), (1, 21)),
    "three axes": (lambda: nn.Sequential(nn.Conv3d(1, 2, (3, 1, 2), padding=(0, 1, 0)), nn.AvgPool3d(2)), (1, 8, 9, 7)),
    "squeeze and excite": (
        lambda: Lambda(
            lambda m, x: m.c(m.a(x) * m.e(m.a(x).mean((2, 3), keepdim=True))),
            a=nn.Conv2d(1, 2, 3),
            e=nn.Conv2d(2, 2, 1),
            c=nn.Conv2d(2, 1, 3),
        ),
        (1, 9, 10),
    ),
    "se by linear": (
        lambda: Lambda(
            lambda m, x: m.a(x) * m.e(m.a(x).mean((2, 3)))[:, :, None, None], a=nn.Conv2d(1, 2, 3), e=nn.Linear(2, 2)
        ),
        (1, 9, 10),
    ),
    "lrn": (
        lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.LocalResponseNorm(3), nn.BatchNorm2d(6), nn.Conv2d(6, 1, 3)),
        (1, 9, 10),
    ),
    "split": (
        lambda: Lambda(
            lambda m, x: torch.cat([m.b(p) for p in m.a(x).chunk(2, 1)], 1), a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(2, 1, 3)
        ),
        (1, 9, 10),
    ),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 3)), (1, 9, 10)),
    "instance norm": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 1, 3)), (1, 9, 10)),
    "global then upsample": (
        lambda: Lambda(lambda m, x: m.b(m.a(x) + F.adaptive_avg_pool2d(x, 1)), a=nn.Conv2d(1, 1, 3), b=nn.Conv2d(1, 1, 1)),
        (1, 9, 10),
    ),
}
HULLS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "transposed": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ConvTranspose2d(2, 1, 4, 2, 1), nn.Conv2d(1, 1, 3)),
        (1, 13, 15),
    ),
    "transposed with gaps": (lambda: nn.Sequential(nn.ConvTranspose2d(1, 1, 2, 3), nn.Conv2d(1, 1, 2)), (1, 6, 7)),
    "nearest": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3)), (1, 12, 14)),
    "bilinear": (
        lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(1, 1, 3)),
        (1, 12, 14),
    ),
    "bilinear to a size": (
        lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(size=(9, 17), mode="bilinear"), nn.Conv2d(1, 1, 3)),
        (1, 12, 14),
    ),
    "dilated 3": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3, dilation=3), nn.Conv2d(2, 2, 2, dilation=(2, 1))), (1, 12, 11)),
    "adaptive": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d((3, 4)), nn.Conv2d(2, 1, 2)), (1, 13, 11)),
    "pixel shuffle": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3)),
        (1, 13, 15),
    ),
    "unequal strides": (
        lambda: Lambda(
            lambda m, x: F.interpolate(m.a(x), size=m.b(x).shape[2:]) + m.b(x),
            a=nn.Conv2d(1, 1, 3, stride=4),
            b=nn.Conv2d(1, 1, 3, stride=2),
        ),
        (1, 17, 19),
    ),
    "halves joined": (
        lambda: Lambda(lambda m, x: m.a(torch.cat([x[:, :, 5:], x[:, :, :5]], 2)), a=nn.Conv2d(1, 1, 3)),
        (1, 10, 10),
    ),
    "dense over rows": (lambda: Lambda(lambda m, x: m.a(m.d(x)), d=nn.Linear(10, 10), a=nn.Conv2d(1, 1, 3)), (1, 9, 10)),
    "softmax over rows": (lambda: Lambda(lambda m, x: m.a(x.softmax(3)), a=nn.Conv2d(1, 1, 3)), (1, 9, 10)),
    "layer norm over map": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([7, 8]), nn.Conv2d(2, 1, 3)), (1, 9, 10)),
}
BORDERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "reflected": (lambda: nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(1, 1, 3)), (1, 9, 10)),
    "replicated": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate"), nn.Conv2d(1, 1, 3)),
        (1, 9, 10),
    ),
    "circular": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.Conv2d(1, 1, 3)),
        (1, 9, 10),
    ),
}
UNKNOWN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "flipped": (lambda: Lambda(lambda m, x: m.a(x.flip(3)), a=nn.Conv2d(1, 1, 3)), (1, 9, 10)),
    "rolled": (lambda: Lambda(lambda m, x: m.a(x.roll(2, 3)), a=nn.Conv2d(1, 1, 3)), (1, 9, 10)),
    "cumulative": (lambda: Lambda(lambda m, x: m.a(x.cumsum(3)), a=nn.Conv2d(1, 1, 3)), (1, 9, 10)),
    "turned": (lambda: Lambda(lambda m, x: m.a(x.transpose(2, 3)), a=nn.Conv2d(1, 1, (3, 1))), (1, 9, 9)),
}


def fields(net: Network) -> dict[str, tuple[Field, ...] | None]:
    return {layer.address: layer.fields for layer in net.layers}


@pytest.mark.parametrize("name", NETS)
def test_a_position_sees_exactly_its_span(name: str) -> None:
    make, shape = NETS[name]
    net = opened(make(), shape)
    for axis in range(len(shape) - 1):
        found = seen(net, axis)
        assert found
        for address, rows in found.items():
            field = fields(net)[address]
            assert field is not None, address
            for position, pixels in enumerate(rows):
                assert pixels == list(range(*field[axis].span(position, shape[1 + axis]))), (address, axis, position)


@pytest.mark.parametrize("name", HULLS)
def test_where_positions_differ_the_span_is_a_hull(name: str) -> None:
    make, shape = HULLS[name]
    net = opened(make(), shape)
    for axis in range(len(shape) - 1):
        for address, rows in seen(net, axis).items():
            field = fields(net)[address]
            assert field is not None, address
            for position, pixels in enumerate(rows):
                assert set(pixels) <= set(range(*field[axis].span(position, shape[1 + axis]))), (address, axis, position)


@pytest.mark.parametrize("name", BORDERS)
def test_mirrored_padding_is_exact_inside_and_said(name: str) -> None:
    make, shape = BORDERS[name]
    net = opened(make(), shape)
    assert any("read other pixels at the image's border" in note for note in net.notes)
    rows = seen(net, 0)["1"]
    field = fields(net)["1"]
    assert field is not None
    assert rows[4] == list(range(*field[0].span(4, shape[1])))


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_followed_is_called_unknown(name: str) -> None:
    make, shape = UNKNOWN[name]
    assert fields(opened(make(), shape))["a"] is None


def test_flattened_positions_are_not_told_by_an_axis_and_a_dense_layer_sees_all() -> None:
    net = opened(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU(), nn.Linear(2 * 7 * 6, 3), nn.ReLU()), (1, 9, 8))
    assert fields(net)["1"] is None
    assert fields(net)["2"] is None
    assert [f.size for f in fields(net)["3"] or ()] == [None, None]
    assert [f.size for f in fields(net)["4"] or ()] == [None, None]


def test_global_pooling_sees_all() -> None:
    net = opened(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)), (1, 9, 8))
    for address in "123":
        assert [f.size for f in fields(net)[address] or ()] == [None, None], address


def test_a_map_rebuilt_from_a_flattened_one_is_unknown() -> None:
    net = opened(
        Lambda(lambda m, x: m.a(m.c(x).flatten(1).view(-1, 2, 6, 7)), c=nn.Conv2d(1, 2, 3), a=nn.Conv2d(2, 1, 3)), (1, 9, 8)
    )
    assert fields(net)["a"] is None


# ---- published figures ---------------------------------------------------------------------------------------------------


def _vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    for convs in (2, 2, 3, 3, 3):
        for _ in range(convs):
            layers += [nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _alexnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 1, 11, 4, 2),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(1, 1, 5, padding=2),
        nn.MaxPool2d(3, 2),
        *(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)),
        nn.MaxPool2d(3, 2),
    )


class _Bottleneck(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 1, 1, stride), nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1))
        self.shortcut = nn.Conv2d(1, 1, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _resnet50() -> nn.Module:
    """He et al. 2015: the stride lies in the first 1×1 convolution of a block."""
    blocks = [
        _Bottleneck(stride if first == 0 else 1)
        for count, stride in ((3, 1), (4, 2), (6, 2), (3, 2))
        for first in range(count)
    ]
    return nn.Sequential(nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1), *blocks)


@pytest.mark.parametrize(
    ("make", "size", "stride", "padding"),
    [
        # Araujo, Norris, Sim 2019, table of receptive fields: alexnet_v2 pool5, vgg_16 pool5, resnet_v1_50 block4.
        (_alexnet, 195, 32, None),
        (_vgg16, 212, 32, 90),
        (_resnet50, 483, 32, None),
    ],
)
def test_published_receptive_fields(make: Callable[[], nn.Module], size: int, stride: int, padding: int | None) -> None:
    net = opened(make(), (1, 224, 224))
    for field in net.output.fields or ():
        assert (field.size, field.stride) == (size, stride)
        if padding is not None:
            assert field.start == -padding


def test_squeezenet_as_derived_by_hand() -> None:
    table = Path(__file__).parents[2] / "shared/data/tables/squeezenet1_1_receptive_field.json"
    if not table.exists():
        pytest.skip("the table is not here")

    def fire() -> nn.Module:
        return Lambda(
            lambda m, x: torch.cat([m.a(m.s(x)), m.b(m.s(x))], 1),
            s=nn.Conv2d(2, 1, 1),
            a=nn.Conv2d(1, 1, 1),
            b=nn.Conv2d(1, 1, 3, padding=1),
        )

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    features = nn.Sequential(
        nn.Conv2d(1, 2, 3, 2),
        nn.ReLU(),
        pool(),
        fire(),
        fire(),
        pool(),
        fire(),
        fire(),
        pool(),
        fire(),
        fire(),
        fire(),
        fire(),
    )
    net = opened(features, (1, 227, 227))
    last = {layer.module.split("@")[0]: layer.fields for layer in net.layers}
    last |= {layer.address: layer.fields for layer in net.layers if layer.operator == "concat"}
    checked = 0
    for row in json.loads(table.read_text())["rows"]:
        number = row["module"].removeprefix("features.")
        wanted = next((k for k in (f"{number}.concat", number) if k in last), None)
        if wanted is None or not row["module"].startswith("features."):
            continue
        field = (last[wanted] or ())[0]
        assert (field.size, field.stride, field.centre) == (row["rf"], row["stride"], Fraction(row["offset"])), row
        checked += 1
    assert checked >= 8
