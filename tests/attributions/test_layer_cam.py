"""LayerCAM against a loop written from the paper and captum's activations, at early and late layers.

Turns red: in `attributions/layer_cam.py`, `maps.slopes.relu() * maps.values` -> `maps.slopes * maps.values`.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from convscope.attributions.grad_cam import GradCAM
from convscope.attributions.layer_cam import LayerCAM
from convscope.run import target
from tests.attributions.cams import enlarged
from tests.contracts.leaves import opened


@pytest.mark.parametrize(("name", "address"), [("plain", "conv1"), ("plain", "pool2"), ("residual", "block1.relu:1"),
                                               ("concat", "stem.1"), ("dilated", "conv2")])
@pytest.mark.parametrize("relu", [False, True])
def test_same_as_a_loop(name: str, address: str, relu: bool) -> None:
    _, x, net = opened(name)
    own = x[:1].clone().requires_grad_()
    values = net.run(own, keep=[address], grad=True)
    (slope,) = torch.autograd.grad(values.output[0, 3], values[address])
    a, g = values[address][0].detach().double().numpy(), slope[0].double().numpy()
    small = np.zeros(a.shape[1:])
    for k, i, j in product(*map(range, a.shape)):
        small[i, j] += max(g[k, i, j], 0.0) * a[k, i, j]
    small = np.maximum(small, 0) if relu else small
    found = LayerCAM(layer=address, relu=relu)(net, x[:1], target(net, 3, x))
    wanted = enlarged(small, *x.shape[2:])
    np.testing.assert_allclose(found.map[0], wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
    assert found.proof["sum with negative gradients kept"] == pytest.approx(float((a * g).sum()), rel=1e-4, abs=1e-6)


def test_with_one_positive_slope_a_map_it_is_grad_cam_of_those_maps() -> None:
    """Behind a mean every position of a map has the same gradient: the maps with a positive weight make up LayerCAM."""
    model, x, net = opened("residual")
    found = LayerCAM()(net, x, target(net, 1, x))
    head = model.head[2].weight[1].detach()  # type: ignore[index,union-attr]
    maps = net.run(x, keep=["block2.relu:1"])["block2.relu:1"]
    small = torch.einsum("u,buhw->bhw", head.clamp_min(0) / 64, maps)
    np.testing.assert_allclose(found.map[0], enlarged(small[0].numpy(), 16, 16), atol=1e-6)
    assert np.abs(found.map - GradCAM()(net, x, target(net, 1, x)).map).max() > 1e-3


def test_a_position_keeps_its_place() -> None:
    """One position of a first layer's map: LayerCAM lights that place alone, Grad-CAM the whole map."""
    _, x, net = opened("plain")
    asked = target(net, "conv1/2@4,9", x)
    local, everywhere = LayerCAM(layer="conv1")(net, x, asked).map[0], GradCAM(layer="conv1")(net, x, asked).map[0]
    assert [tuple(at) for at in np.argwhere(local)] == [(4, 9)]
    assert np.count_nonzero(everywhere) == 256
