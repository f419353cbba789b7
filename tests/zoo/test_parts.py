"""Published files load as they are; arguments that make no sense are refused.

Turns red: `return name` for all in `GoogLeNet.published_name` (heads unexpected) or in `DenseNet.published_name`; `prefix +`
left out of `Published._load_from_state_dict` (a network inside another); `- 0.5` → `+ 0.5` in `signed`.
"""

import re

import pytest
import torch
from torch import nn

from convscope.errors import UsageError
from convscope.zoo._parts import MEAN, STD, positive, signed
from tests.zoo.costs import build, multiply_adds, parameters


@pytest.mark.parametrize(("name", "heads"), [("googlenet", 20), ("inception_v3", 14)])
def test_weights_of_heads_that_are_not_there_are_left_out(name: str, heads: int) -> None:
    with_heads, without = build(name, aux_logits=True).state_dict(), build(name)
    names = list(with_heads)
    assert sum(without.published_name(n) is None for n in names) == len(names) - len(without.state_dict()) == heads
    without.load_state_dict(with_heads, strict=True, assign=True)
    assert list(with_heads) == names  # the caller's dictionary is as it was
    with pytest.raises(RuntimeError, match=r"Unexpected key.*other"):
        without.load_state_dict({**with_heads, "other.weight": torch.zeros(1)}, assign=True)
    with pytest.raises(RuntimeError, match="Missing key"):
        build(name, aux_logits=True).load_state_dict(without.state_dict(), assign=True)


def test_names_with_dots_in_published_densenets_are_understood() -> None:
    shapes = build("densenet121").state_dict()
    state = {k: torch.full(v.shape, float(i), dtype=v.dtype) for i, (k, v) in enumerate(shapes.items())}
    dotted = {re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", k): v for k, v in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    for given in (dotted, state):
        model = nn.ModuleDict({"inner": build("densenet121")})
        model.load_state_dict({f"inner.{k}": v for k, v in given.items()}, strict=True, assign=True)
        assert all(torch.equal(v, state[k.removeprefix("inner.")]) for k, v in model.state_dict().items())


def test_signed_turns_standardised_pixels_into_minus_one_to_one() -> None:
    p = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
    torch.testing.assert_close(signed((p - mean) / std), 2 * p - 1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_transform_input_needs_three_channels(name: str) -> None:
    with pytest.raises(UsageError, match=r"^transform_input is for three channels; got in_channels=1; leave it out$"):
        build(name, in_channels=1, transform_input=True)
    build(name, in_channels=1)


def test_sizes_must_be_positive() -> None:
    positive(a=1, b=20)
    with pytest.raises(UsageError, match=r"^b must be a whole number from 1 up; got 0; for example b=10$"):
        positive(a=1, b=0)


@pytest.mark.parametrize("wrong", [0, -1.0, 100, float("nan")])
def test_a_width_that_leaves_no_channels_is_refused(wrong: float) -> None:
    message = rf"^width_mult must be above 0 and below 100; got {wrong}; published are 0\.35 to 1\.4$"
    with pytest.raises(UsageError, match=message):
        build("mobilenet_v2", width_mult=wrong)


@pytest.mark.parametrize(("width", "millions", "mega"), [(0.35, "1.68", 59), (0.75, "2.64", 209), (1.3, "5.39", 509)])
def test_narrow_and_wide_mobilenets(width: float, millions: str, mega: int) -> None:
    """Multiply-adds: table of TensorFlow's published MobileNets v2 (59, 209, 509 million); parameters: worked out here."""
    model = build("mobilenet_v2", width_mult=width)
    assert f"{parameters(model) / 1e6:.2f}" == millions
    assert round(multiply_adds(model, 3, 224, 224) / 1e6) == mega
