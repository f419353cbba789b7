"""Excitation backpropagation against loops from the paper, and the conservation of probability.

Turns red: in `attributions/excitation_backprop.py`, `weight.clamp(min=0)` -> `weight.abs()`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attributions.excitation_backprop import ExcitationBackprop
from convscope.errors import UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.test_lrp import UNIT_RANGE, family, within_range
from tests.contracts.leaves import opened
from tests.nets import NETS

REST, IMAGE, LOST = ("unexplained, of P (worst layer)", "probability that reaches the image",
                     "ended in units active by bias alone")
SIGNED = ("grey", "rows_lstm")


def down(p: Any, activations: Any, weight: Any) -> Any:
    """P(a_i) = Σ_j P(a_j)·a_i w_ij⁺ / Σ_i a_i w_ij⁺, by loops (Zhang et al. 2016, equation 5)."""
    found = np.zeros(len(activations))
    for j in range(len(p)):
        terms = [activations[i] * max(weight[j, i], 0) for i in range(len(activations))]
        for i in range(len(activations)):
            found[i] += p[j] * terms[i] / sum(terms) if sum(terms) > 0 else 0
    return found


@pytest.mark.parametrize("contrastive", [False, True])
def test_same_as_loops_on_a_perceptron(contrastive: bool) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    x = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    net = Network.open(model, x, preprocess=Preprocess())
    found = ExcitationBackprop(contrastive)(net, x, Target("2", 2))
    weights = [model[i].weight.detach().numpy() for i in (1, 3, 5)]
    for b in range(2):
        a = [x[b].flatten().numpy(), *(model[:i](x[b : b + 1])[0].detach().numpy() for i in (3, 5))]

        def map_of(top: Any, a: Any = a) -> Any:
            return down(down(down(np.array([0, 0, 1.0]), a[2], top), a[1], weights[1]), a[0], weights[0])

        wanted = map_of(weights[2]) - (map_of(-weights[2]) if contrastive else 0)
        np.testing.assert_allclose(found.values[b].ravel(), wanted, rtol=0, atol=1e-14)
    assert (found.values.min() < 0) == contrastive


@pytest.mark.parametrize("name", [n for n in NETS if n not in SIGNED])
def test_probability_is_conserved(name: str) -> None:
    _, x, net = opened(name)
    found = ExcitationBackprop(contrastive=False)(net, x, target(net, 1, x))
    assert found.proof[REST] < 1e-5  # type: ignore[operator]
    assert found.proof[IMAGE] + found.proof[LOST] == pytest.approx(1, abs=1e-5)  # type: ignore[operator]
    assert found.proof[IMAGE] > 0.5  # type: ignore[operator]
    assert found.values.min() >= 0
    np.testing.assert_allclose(found.values.sum(), len(x) * found.proof[IMAGE], rtol=1e-5)


def test_pixels_count_as_their_distance_from_black() -> None:
    """A black pixel never wins; without preprocessing, nor does the darkest of its channel."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    nn.init.ones_(model[1].weight)
    p = torch.arange(12, dtype=torch.float64).reshape(1, 3, 2, 2) / 12
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (UNIT_RANGE.mean, UNIT_RANGE.std))
    x = (p - mean) / std
    found = ExcitationBackprop(False)(Network.open(model, x, preprocess=UNIT_RANGE), x, Target("0", 0)).values
    wanted = p / std
    np.testing.assert_allclose(found, wanted / wanted.sum(), atol=1e-14)
    own = ExcitationBackprop(False)(Network.open(model, x), x, Target("0", 0)).values
    assert not own[0, :, 0, 0].any()
    assert (own[0].reshape(3, -1)[:, 1:] > 0).all()


def test_a_batch_norm_is_one_with_its_convolution() -> None:
    """A negative scale turns excitation round."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    model = model.double()
    model[1].weight.data = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x = torch.rand(1, 2, 4, 4, dtype=torch.float64)
    found = ExcitationBackprop(False)(Network.open(model.eval(), x, preprocess=Preprocess(channels=2)), x, Target("0", 0))
    folded = nn.Sequential(nn.Conv2d(2, 3, 3), *model[2:]).double()
    scale = model[1].weight / torch.sqrt(model[1].running_var + model[1].eps)
    folded[0].weight.data = (model[0].weight * scale[:, None, None, None]).detach()
    folded[0].bias.data = model[1].bias.detach()
    wanted = ExcitationBackprop(False)(Network.open(folded, x, preprocess=Preprocess(channels=2)), x, Target("0", 0))
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-14)


@pytest.mark.parametrize(("name", "kind"), [("grey", "tanh"), ("rows_lstm", "lstm")])
def test_networks_with_negative_activations_are_refused(name: str, kind: str) -> None:
    _, x, net = opened(name)
    with pytest.raises(UsageError, match=f"backpropagation does not apply to {name}; it has no rule for '{kind}'"):
        ExcitationBackprop()(net, x, Target("0", 0))


def test_operations_that_have_no_excitatory_terms_are_refused() -> None:
    class Odd(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind, self.fc = kind, nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y, z = self.fc(x.flatten(1)).relu(), x.flatten(1)
            return torch.add(y, z, alpha=-1) if self.kind == "difference" else y * z

    reasons = {"difference": "a difference has negative terms", "product": "neither operand of the product is a gate"}
    for kind, why in reasons.items():
        net = Network.open(Odd(kind), (1, 2, 2))
        with pytest.raises(UsageError, match=f"excitation backpropagation does not apply to Odd; .*{why}"):
            ExcitationBackprop(False)(net, torch.ones(1, 1, 2, 2), Target("0", 0))


def test_without_a_layer_with_weights_there_is_no_opposite() -> None:
    net = Network.open(nn.Sequential(nn.ReLU(), nn.Flatten()), (1, 2, 2))
    with pytest.raises(UsageError, match="negates the top layer's weights; no convolution or linear layer stands before"):
        ExcitationBackprop()(net, torch.ones(1, 1, 2, 2), Target("0", 0))
    assert ExcitationBackprop(False)(net, torch.ones(1, 1, 2, 2), Target("0", 0)).values.ravel().tolist() == [1, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet18", "densenet121", "googlenet", "inception_v3",
                                  "mobilenet_v2", "squeezenet1_1"])
def test_probability_is_conserved_on_torchvision(name: str) -> None:
    x = within_range(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    net = Network.open(family(name), x, preprocess=UNIT_RANGE)
    found = ExcitationBackprop(False)(net, x, target(net, None, x))
    assert found.proof[REST] < 1e-4  # type: ignore[operator]
    assert found.proof[IMAGE] + found.proof[LOST] == pytest.approx(1, abs=1e-4)  # type: ignore[operator]
