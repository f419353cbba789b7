"""CAM against the weights and maps by hand; its identity with the score; networks where it does not apply.

Turns red: in `attributions/_head.py`, `weight.flatten(1)[index]` -> `weight.flatten(1)[0]`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attributions import _head
from convscope.attributions.cam import CAM
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.cams import MEAN_AND_LINEAR, enlarged, large
from tests.contracts.leaves import opened

PROOF = "disagreement of its mean, plus the bias, with the score"


@pytest.mark.parametrize("name", MEAN_AND_LINEAR)
def test_it_is_the_weighted_sum_of_the_maps(name: str) -> None:
    model, x, net = opened(name)
    found = CAM()(net, x, target(net, 2, x))
    maps = net.run(x, keep=[str(found.proof["layer"])])[str(found.proof["layer"])]
    weight = model.head[2].weight[2].detach()  # type: ignore[index,union-attr]
    for b in range(len(x)):
        small = sum(float(w) * one.double().numpy() for w, one in zip(weight, maps[b], strict=True))
        np.testing.assert_allclose(found.map[b], enlarged(small, *x.shape[2:]), rtol=0, atol=1e-6 * np.abs(small).max())
    assert found.proof[PROOF] < 1e-6  # type: ignore[operator]


class Ending(nn.Module):
    """A convolution, a ReLU, and an ending of one's choice."""

    def __init__(self, *ending: nn.Module) -> None:
        super().__init__()
        self.conv, self.ending = nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(*ending)

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(self.conv(x).relu())


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class RowsOnly(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2).flatten(1)


def ending(*modules: nn.Module) -> tuple[Network, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        x = torch.randn(2, 3, 6, 6)
        model = Ending(*modules).eval()
        for p in model.parameters():  # the endings were made before the seed
            nn.init.normal_(p, 0, 0.5)
        return Network.open(model.double(), x.double()), x.double()


@pytest.mark.parametrize("modules", [
    (Mean(), nn.Linear(4, 5)), (Mean(), nn.Linear(4, 5, bias=False)), (nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 5)),
    (nn.AdaptiveAvgPool2d(1), nn.Dropout(), nn.Conv2d(4, 5, 1), nn.Flatten()), (Mean(),),
    (nn.Dropout(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())])
def test_endings_where_it_applies(modules: tuple[nn.Module, ...]) -> None:
    net, x = ending(*modules)
    found = CAM()(net, x, target(net, 1, x))
    assert found.proof[PROOF] < 1e-6  # type: ignore[operator]
    np.testing.assert_allclose(found.scores, net(x)[:, 1], rtol=1e-5)


@pytest.mark.parametrize(("modules", "reason"), [
    ((nn.Flatten(), nn.Linear(144, 5)), "over whole maps: the score comes from relu, flatten, linear"),
    ((RowsOnly(), nn.Linear(24, 5)), "no layer takes the mean over whole maps"),
    ((Mean(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)), "between the last mean over whole maps and the score stands"),
    ((Mean(), nn.Linear(4, 6), nn.Linear(6, 5)), "between the last mean over whole maps and the score stands linear"),
    ((Mean(), nn.LayerNorm(4), nn.Linear(4, 5)), "stands layer_norm"),
    ((nn.AvgPool2d(6, padding=3, stride=7), nn.Flatten(), nn.Linear(4, 5)), "no layer takes the mean"),
    ((nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)), "no layer takes the mean"),
    ((nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 5)), "no layer takes the mean")])
def test_it_says_why_it_does_not_apply(modules: tuple[nn.Module, ...], reason: str) -> None:
    net, x = ending(*modules)
    with pytest.raises(UsageError, match="CAM does not apply to '1' of Ending; ") as refusal:
        CAM()(net, x, target(net, 1, x))
    assert reason in refusal.value.found
    assert refusal.value.remedy == "it needs a mean over whole maps and one linear layer; take grad-cam"


def test_units_of_the_linear_layer_and_the_mean_can_be_asked_about() -> None:
    _, x, net = opened("residual")
    by_class, by_unit = (CAM()(net, x, target(net, asked, x)) for asked in (3, "head.2/3"))
    assert by_class.values.tobytes() == by_unit.values.tobytes()
    mean = CAM()(net, x, target(net, "head.0/5", x))
    assert mean.proof[PROOF] < 1e-6  # type: ignore[operator]
    with pytest.raises(UsageError, match=r"block2\.add/1@2,2"):
        CAM()(net, x, target(net, "block2.add/1@2,2", x))
    with pytest.raises(UsageError, match="is no single unit of a layer behind the mean"):
        CAM()(net, x, target(net, "head.2", x))


def test_means_of_the_image_itself_are_no_maps() -> None:
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    averaged, flat = (Network.open(nn.Sequential(*m), x) for m in ((Mean(), nn.Linear(3, 2)), (nn.Flatten(),)))
    assert "no layer takes the mean" in str(_head.head(averaged, Target("0", 0)))
    assert _head.head(flat, Target("0", 0)) == "the score comes straight from the image"


def test_a_map_of_zeros_is_said_to_be_empty() -> None:
    net, x = ending(Mean(), nn.Linear(4, 5))
    dead = dataclasses.replace(net, tensors={k: torch.zeros_like(v) for k, v in net.tensors.items()}, _at={})
    found = CAM()(dead, x, Target("1", 1))
    assert not found.values.any()
    assert found.notes[0] == "the map of images 0, 1 is zero everywhere: CAM finds no evidence in this layer"
    assert found.proof[PROOF] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121", "googlenet", "inception_v3", "squeezenet1_1",
                                  "mobilenet_v2", "efficientnet_b0"])
def test_on_large_networks_its_mean_is_the_score(name: str) -> None:
    _, x, net = large(name)
    assert CAM()(net, x, target(net, 7, x)).proof[PROOF] < 1e-5  # type: ignore[operator]
