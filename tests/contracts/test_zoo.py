"""What every architecture of the zoo keeps to, found by being there.

Turns red: a factory without `*` before its arguments, or missing from INPUTS; a wrong count in a docstring; `stride=2` of
any convolution → 1 (multiply-adds); `nn.Linear(…, num_classes)` → 1000; `aux_logits` on by default.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import torch

from convscope import registry
from convscope.errors import UsageError
from tests.zoo import published
from tests.zoo.costs import build, input_of, multiply_adds, parameters

NAMES = sorted(registry.factories())
SMALL = ["perceptron", "mlp", "lenet5", "digits", "squeezenet1_1", "mobilenet_v2", "googlenet"]


def test_all_that_was_asked_for_is_there() -> None:
    asked = {"perceptron", "mlp", "lenet5", "digits", "alexnet", "alexnet_2012", "googlenet", "inception_v3", "densenet121",
             "squeezenet1_0", "squeezenet1_1", "mobilenet_v2"}
    asked |= {f"vgg{n}{norm}" for n in (11, 13, 16, 19) for norm in ("", "_bn")}
    asked |= {f"{kind}{n}" for n in (18, 34, 50, 101, 152) for kind in ("resnet", "plain")}
    assert set(NAMES) >= asked


def test_each_file_says_the_input_of_each_of_its_networks() -> None:
    for stem in set(registry.factories().values()):
        own = {name for name, file in registry.factories().items() if file == stem}
        assert set(registry.module_of("zoo", stem).INPUTS) == own


def test_no_file_imports_torchvision() -> None:
    for path in (Path(registry.ROOT) / "zoo").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.split(".")[0] not in ("torch", "convscope", "collections", "itertools", "re",
                                                                    "typing", "__future__")], path.name


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_keywords_and_the_docstring_has_the_true_count(name: str) -> None:
    factory = registry.factory(name)
    arguments = inspect.signature(factory).parameters.values()
    assert all(a.kind is inspect.Parameter.KEYWORD_ONLY and a.default is not inspect.Parameter.empty for a in arguments)
    assert "num_classes" in {a.name for a in arguments}
    assert len(arguments) <= 6
    counted = parameters(build(name))
    assert f"{counted:,}" in factory.__doc__ or name == "perceptron"
    assert f"\n    {counted}\n" in factory.__doc__  # the example that is run


@pytest.mark.parametrize("name", NAMES)
def test_scores_have_the_classes_and_channels_asked_for_in_both_modes(name: str) -> None:
    channels, *size = input_of(name)
    arguments = {"num_classes": 7}
    if "in_channels" in inspect.signature(registry.factory(name)).parameters:
        arguments["in_channels"] = channels = 2
    model = build(name, **arguments)
    x = torch.empty(2, channels, *size, device="meta")
    assert model(x).shape == (2, 7)
    assert model.train()(x).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [0, -3, 2.5, True])
def test_a_number_of_classes_that_is_none_is_refused(name: str, wrong: object) -> None:
    message = rf"^num_classes must be a whole number from 1 up; got {wrong}; for example num_classes=10$"
    with pytest.raises(UsageError, match=message):
        build(name, num_classes=wrong)


@pytest.mark.parametrize("name", SMALL)
def test_initial_weights_follow_from_the_seed_and_tell_inputs_apart(name: str) -> None:
    channels, *size = input_of(name)
    with torch.random.fork_rng(devices=[]):
        states, outputs = [], []
        for _ in range(2):
            torch.manual_seed(3)
            model = build(name, "cpu")
            states.append(model.state_dict())
            outputs.append(model(torch.randn(2, channels, *size)))
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    assert torch.equal(*outputs)
    spread = (outputs[0][0] - outputs[0][1]).abs().max() / outputs[0].abs().max()
    assert spread > 0.01  # an untrained network that says the same of all images shows nothing


@pytest.mark.parametrize("name", published.TORCHVISION)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    count, billions = published.TORCHVISION[name]
    model = build(name)
    assert parameters(model) == count
    assert f"{multiply_adds(model, *input_of(name)) / 1e9:.3f}" == billions


@pytest.mark.parametrize(("name", "arguments", "count", "billions"), published.WITH_ARGUMENTS)
def test_published_figures_with_arguments(name: str, arguments: dict[str, object], count: str, billions: str) -> None:
    model = build(name, **arguments)
    digits = len(billions.partition(".")[2])
    if billions:
        assert f"{multiply_adds(model, *input_of(name)) / 1e9:.{digits}f}" == billions
    if count:
        unit = {"K": 1e3, "M": 1e6}.get(count[-1], 1)
        printed = count.rstrip("KM")
        assert f"{parameters(model) / unit:.{len(printed.partition('.')[2])}f}" == printed
