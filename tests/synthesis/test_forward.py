"""The cut answers what the network answers, and its canvas is exact.

Turns red: in `fast.cut`, drop `node.target = torch.reshape`; in `forward.canvas`, `first * field.stride` -> `0`;
in `forward.centre`, `max(` -> `min(`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from convscope import run
from convscope.errors import ShapeError
from convscope.network import map_of
from convscope.synthesis.forward import Cut, canvas, centre
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= 2e-5 * (b.abs().max() + 1e-3))


@pytest.mark.parametrize("name", NETS)
def test_every_layer_has_the_networks_value_and_gradient(name: str) -> None:
    model, x, net = opened(name)
    with unchanged(model, x):
        for layer in net.layers:
            own = x.clone().requires_grad_()
            wanted = run.first_tensor(run.run(net, own, keep=[layer.address], grad=True)[layer.address])
            ours = x.clone().requires_grad_()
            value = Cut(net, [layer.address])(ours)[layer.address]
            assert close(value, wanted), layer.address
            if not wanted.requires_grad:
                continue
            weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(0))
            (a,), (b,) = (torch.autograd.grad((v * weight).sum(), i) for v, i in ((value, ours), (wanted, own)))
            assert close(a, b), layer.address


@pytest.mark.parametrize("name", NETS)
def test_the_answers_gradient_is_that_of_the_module(name: str) -> None:
    model, x, net = opened(name)
    address = net.output.address
    own, ours = x.clone().requires_grad_(), x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(model(own)[:, 1].sum(), own)
    (found,) = torch.autograd.grad(Cut(net, [address])(ours)[address][:, 1].sum(), ours)
    assert close(found, wanted)


def test_several_layers_at_once_before_and_after_a_rectifier() -> None:
    _, x, net = opened("in_place")
    names = [layer.address for layer in net.layers]
    wanted, found = net.run(x, keep=names), Cut(net, names)(x)
    assert list(found) == names
    assert all(close(found[k], wanted[k]) for k in names)


CANVASES = ("plain", "functional_relu", "residual", "concat", "dilated", "ceil_pool", "no_bias", "non_square", "grey",
            "norm_first", "grouped")


@pytest.mark.parametrize("name", CANVASES)
def test_a_position_on_its_canvas_is_a_position_of_a_large_image(name: str) -> None:
    """The part of a large image that a canvas shows, cut out, gives one position the same value: no padding is seen."""
    _, _, net = opened(name)
    channels, n = net.input_shape[1], 96
    checked = 0
    for layer in net.layers:
        one = Cut(net, [layer.address])
        size = canvas(one, layer)
        if size is None or layer.fields is None:
            continue
        whole = [side == own for side, own in zip(size, net.input_shape[2:], strict=True)]
        if any(whole):  # that axis is cut at the network's own size, where padding may be seen
            continue
        large = torch.randn(1, channels, n, n, generator=torch.Generator().manual_seed(1)).double().float()
        small_map = one(torch.zeros(1, channels, *size))[layer.address].shape[2:]
        at = centre((small_map[0], small_map[1]), layer, *size)
        steps = [int(f.stride) for f in layer.fields]
        far = [40 // s for s in steps]  # positions further on in the large image
        top, left = (k * s for k, s in zip(far, steps, strict=True))
        cut_out = large[:, :, top : top + size[0], left : left + size[1]]
        small = one(cut_out)[layer.address][..., at[0], at[1]]
        there = one(large)[layer.address][..., at[0] + far[0], at[1] + far[1]]
        assert close(small, there), layer.address
        checked += 1
        for field, place, side in zip(layer.fields, at, size, strict=True):  # and it is as small as it can be
            start = float(field.start + place * field.stride)
            assert start >= 0
            assert start + (field.size or 0) <= side
    assert checked >= 1


def test_what_has_a_fixed_size_has_no_canvas() -> None:
    _, _, net = opened("plain")
    cut = Cut(net, ["fc1"])
    assert not cut.any_size
    assert canvas(cut, net["fc1"]) is None
    with pytest.raises(ShapeError, match=r"fc1 on an image of \(3, 20, 20\).*fixed by .*give that size"):
        cut(torch.zeros(1, 3, 20, 20))
    with pytest.raises(ShapeError, match=r"conv1 on an image of \(1, 16, 16\)"):
        Cut(net, ["conv1"])(torch.zeros(1, 1, 16, 16))


def test_rows_of_a_recurrent_network_have_no_canvas() -> None:
    _, _, net = opened("rows_lstm")
    assert all(canvas(Cut(net, [layer.address]), layer) is None for layer in net.layers)


def test_the_central_position_is_the_lower_right_of_two() -> None:
    _, _, net = opened("plain")
    assert centre((16, 16), net["conv1"], 16, 16) == (8, 8)  # fields centred on 0 … 15, the middle is 7.5
    assert centre((15, 15), net["conv1"], 15, 15) == (7, 7)
    assert centre((8, 8), net["pool1"], 16, 16) == (4, 4)
    assert map_of(net["pool1"]) == (8, 8)
