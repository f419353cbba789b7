"""Guided Grad-CAM is the product of its two parts.

Turns red: in `attributions/guided_grad_cam.py`, `small.relu()` -> `small`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.attributions.grad_cam import GradCAM
from convscope.attributions.guided_backprop import GuidedBackprop
from convscope.attributions.guided_grad_cam import GuidedGradCAM
from convscope.errors import UsageError
from convscope.run import target
from tests.contracts.leaves import opened


@pytest.mark.parametrize(("name", "layer"), [("plain", None), ("residual", "block1.relu:1"), ("concat", None),
                                             ("functional_relu", "relu:1"), ("in_place", None)])
def test_it_is_the_product(name: str, layer: str | None) -> None:
    _, x, net = opened(name)
    asked = target(net, 3, x)
    guided, place = GuidedBackprop()(net, x, asked).values, GradCAM(layer)(net, x, asked)
    small = GradCAM(layer, relu=True)(net, x, asked).values
    found = GuidedGradCAM(layer)(net, x, asked)
    np.testing.assert_allclose(found.values, guided * small, rtol=1e-6, atol=1e-12)
    assert found.values.shape == tuple(x.shape)
    assert found.proof["layer"] == place.proof["layer"]
    reached, of = str(found.proof["rectifiers that the rule reached"]).split(" of ")
    assert reached == of
    assert found.proof["share of the image where Grad-CAM is zero"] == float((small == 0).mean())


def test_a_network_without_relu_is_refused() -> None:
    _, x, net = opened("grey")
    with pytest.raises(UsageError, match="guided-grad-cam does not apply to grey: it has no ReLU; its act"):
        GuidedGradCAM()(net, x, target(net, 0, x))
