"""Names, shapes and numbers against torchvision, where that can be imported: the same weights give the same bits.

Turns red, for example: `ceil_mode=True` left out of googlenet's pooling; `eps=0.001` of `ConvNormReLU` left out; `_row` and
`_column` exchanged in `_inception_v3`; `stride_first = True` in `Bottleneck`; the order of `torch.cat` in a fire module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.torchvision_shim import torchvision
from tests.zoo.costs import build
from tests.zoo.published import TORCHVISION

SIDES = {"alexnet": 67, "googlenet": 65, "inception_v3": 107, "densenet121": 65}  # odd and small; others 45
NAMES = [*TORCHVISION, "inception_v3"]
EXTRA: dict[str, dict[str, Any]] = {"googlenet": {"aux_logits": False, "init_weights": False},
                                    "inception_v3": {"aux_logits": False, "init_weights": False}}


def theirs(name: str, **arguments: Any) -> nn.Module:
    models = torchvision().models
    with torch.device("meta"):
        return getattr(models, name)(**(EXTRA.get(name, {}) | arguments)).eval()


def weights(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers for these names that keep a deep network's activations near 1."""
    made = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for name, like in shapes.items():
        shape = tuple(like.shape)
        if len(shape) > 1:
            found[name] = torch.empty(shape).normal_(0, (2 / like[0].numel()) ** 0.5, generator=made)
        elif name.endswith("num_batches_tracked"):
            found[name] = torch.ones(shape, dtype=torch.long)
        else:  # a variance or scale, which must be positive, or a mean or bias, which may be
            found[name] = torch.empty(shape).uniform_(0.5, 1.5, generator=made)
            found[name] *= 1 if name.endswith(("var", "weight")) else 0.1
    return found


@pytest.fixture(autouse=True)
def _own_generator() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_their_order_are_equal(name: str) -> None:
    ours, reference = build(name).state_dict(), theirs(name).state_dict()
    assert [(k, v.shape, v.dtype) for k, v in ours.items()] == [(k, v.shape, v.dtype) for k, v in reference.items()]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_names_with_the_heads_for_training(name: str) -> None:
    ours, reference = build(name, aux_logits=True).state_dict(), theirs(name, aux_logits=True).state_dict()
    assert [(k, v.shape) for k, v in ours.items()] == [(k, v.shape) for k, v in reference.items()]


@pytest.mark.parametrize("name", [name for name in NAMES if "vgg" not in name or name == "vgg11_bn"])
def test_the_same_weights_give_the_same_bits(name: str) -> None:
    ours, reference = build(name, num_classes=6), theirs(name, num_classes=6)
    state = weights(reference.state_dict())
    for model in (ours, reference):
        model.load_state_dict(state, strict=True, assign=True)
    side = SIDES.get(name, 45)
    x = torch.randn(2, 3, side, side + 8)
    with torch.no_grad():
        expected = reference(x)
        assert (expected[0] - expected[1]).abs().max() > 1e-3
        assert torch.equal(ours(x), expected)


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"])
def test_the_convolutions_of_the_vggs_give_the_same_bits(name: str) -> None:
    ours, reference = build(name).get_submodule("features"), theirs(name).get_submodule("features")
    state = weights(reference.state_dict())
    for model in (ours, reference):
        model.load_state_dict(state, assign=True)
    x = torch.randn(1, 3, 40, 33)
    with torch.no_grad():
        assert torch.equal(ours(x), reference(x))


@pytest.mark.parametrize(("name", "side"), [("googlenet", 64), ("inception_v3", 299)])
def test_in_train_mode_the_heads_give_the_same_bits_in_the_same_order(name: str, side: int) -> None:
    arguments = {"num_classes": 6, "aux_logits": True, "transform_input": True}
    ours, reference = build(name, **arguments), theirs(name, **arguments)
    state = weights(reference.state_dict())
    x = torch.randn(2, 3, side, side)
    outputs = []
    for model in (ours, reference):
        model.load_state_dict({k: v.clone() for k, v in state.items()}, assign=True)  # training changes the statistics
        torch.manual_seed(1)  # of dropout
        with torch.no_grad():
            outputs.append(model.train()(x))
    assert outputs[0]._fields == outputs[1]._fields
    for mine, expected in zip(*outputs, strict=True):
        assert torch.equal(mine, expected)
