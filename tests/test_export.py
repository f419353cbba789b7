"""A module becomes a graph, gives the same numbers, and is left as it was.

Turns red: in `twin`, `new.__dict__[key] = copy.copy(value) if held else value` -> `new.__dict__[key] = value`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from convscope import export
from convscope.errors import ExportError, ShapeError, UsageError
from convscope.network import Network

IMAGE = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything about a module that could be disturbed."""
    found: dict[str, Any] = {"rng": torch.get_rng_state().tolist()}
    for name, m in module.named_modules():
        found[f"{name}|class"] = type(m)
        found[f"{name}|training"] = m.training
        found[f"{name}|attributes"] = {k: repr(v) for k, v in vars(m).items() if not k.startswith("_")}
        found[f"{name}|hooks"] = (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
    for name, t in [*module.named_parameters(), *module.named_buffers()]:
        found[f"{name}|tensor"] = (id(t), t._version, t.requires_grad, t.grad, t.detach().clone().tolist())
    return found


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(1))
        self.seen: list[Tensor] = []
        self.by_name: dict[str, Tensor] = {}
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(self.conv(x)))


class Storing(Conv):
    """Writes on itself in every way that people do."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.last = y
        self.seen.append(y)
        self.by_name["y"] = y
        self.count += 1
        self.calls.add_(1)
        return y


class Reassigning(Conv):
    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return self.conv(x)


class Branching(Conv):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if y.sum() > 0:
            return y
        return -y


class Failing(Conv):
    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        raise ValueError("nobody knows why")


@pytest.mark.parametrize("make", [Conv, Storing, Reassigning])
def test_the_module_is_left_as_it_was(make: Callable[[], nn.Module]) -> None:
    module = make()
    module.train()
    module.conv.eval()  # type: ignore[union-attr]
    before = snapshot(module)
    net = Network.open(module, IMAGE)
    net.run(IMAGE)
    net.trace()
    net.at((1, 9, 9))
    assert snapshot(module) == before


@pytest.mark.parametrize("make", [Branching, Failing])
def test_it_is_left_as_it_was_on_failure_too(make: Callable[[], nn.Module]) -> None:
    module = make()
    before = snapshot(module)
    with pytest.raises(ExportError):
        Network.open(module, IMAGE)
    assert snapshot(module) == before


def test_the_example_is_left_as_it_was() -> None:
    x = IMAGE.clone().requires_grad_()
    Network.open(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3)), x)
    assert torch.equal(x, IMAGE)
    assert x.requires_grad
    assert x.grad is None


def test_a_module_in_training_is_opened_as_inference() -> None:
    module = Conv().train()
    got = Network.open(module, IMAGE)(IMAGE)
    assert torch.equal(got, module.eval()(IMAGE).detach())


def test_hooks_that_change_values_are_part_of_the_network_and_that_is_said() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()).eval()
    module[0].register_forward_hook(lambda m, i, o: o * 2)
    net = Network.open(module, IMAGE)
    assert torch.equal(net(IMAGE), module(IMAGE).detach())
    assert net.notes == ("forward hooks are part of the graph: 0",)


def _pruned() -> nn.Module:
    conv = nn.Conv2d(1, 2, 3)
    prune.random_unstructured(conv, "weight", 0.5)
    return conv


@pytest.mark.parametrize(
    "make",
    [
        lambda: parametrizations.weight_norm(nn.Conv2d(1, 2, 3)),
        lambda: parametrizations.spectral_norm(nn.Conv2d(1, 2, 3)),
        _pruned,
        lambda: nn.DataParallel(nn.Conv2d(1, 2, 3)),
        lambda: torch.compile(nn.Conv2d(1, 2, 3), backend="eager"),
        lambda: nn.Conv2d(1, 2, 3, padding_mode="circular", padding=1),
    ],
)
def test_modules_in_disguise(make: Callable[[], nn.Module]) -> None:
    module = nn.Sequential(make(), nn.ReLU()).eval()
    net = Network.open(module, IMAGE)
    assert torch.equal(net(IMAGE), module(IMAGE).detach())
    assert net.batch is None
    assert sum(layer.parameters for layer in net.layers) == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrappers_that_compute_nothing_are_taken_off(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = Network.open(wrap(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())), IMAGE)
    assert net.name == "Sequential"
    assert [layer.address for layer in net.layers] == ["0", "1"]


def test_a_module_compiled_in_place() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    module.compile(backend="eager")
    assert [layer.address for layer in Network.open(module, IMAGE).layers] == ["0", "1"]


def test_modules_kept_in_plain_lists_and_dicts_are_switched_too() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [nn.Dropout(0.5)]
            self.named = {"drop": nn.Dropout(0.5)}

        def forward(self, x: Tensor) -> Tensor:
            return self.named["drop"](self.parts[0](x)) + 1

    module = Hidden()
    assert torch.equal(Network.open(module, IMAGE)(IMAGE), IMAGE + 1)
    assert module.parts[0].training
    assert module.named["drop"].training


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)


class Two(Many):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.a(x) + self.b(y)


class Star(Many):
    def forward(self, *xs: Tensor, **more: Any) -> Tensor:
        return self.a(xs[0]) + self.b(xs[-1]) * more.get("scale", 1)


class Nest(Many):
    def forward(self, xs: list[Tensor], times: int = 1) -> Tensor:
        return (self.a(xs[0]) + self.b(xs[1])) * times


class Named(Many):
    def forward(self, x: Tensor, *, scale: Tensor | None = None) -> Tensor:
        return self.a(x) if scale is None else self.a(x) * scale


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (Two(), (IMAGE, IMAGE)),
        (Star(), (IMAGE, IMAGE)),
        (Star(), IMAGE),
        (Nest(), ([IMAGE, IMAGE], 2)),
        (Nest(), {"xs": [IMAGE, IMAGE]}),
        (Named(), {"x": IMAGE, "scale": torch.ones(1, 1, 1, 1)}),
    ],
)
def test_inputs_of_every_form(module: nn.Module, example: Any) -> None:
    net = Network.open(module, example)
    assert net.input_shape == (1, 1, 8, 8)
    assert net.output.output_shape == (1, 2, 6, 6)


@pytest.mark.parametrize(
    ("module", "shape"), [(nn.Conv1d(2, 3, 3), (2, 9)), (nn.Conv3d(1, 2, 3), (1, 4, 5, 6)), (nn.Linear(4, 3), (4,))]
)
def test_inputs_of_every_rank(module: nn.Module, shape: tuple[int, ...]) -> None:
    module = nn.Sequential(module, nn.ReLU()).eval()
    x = torch.rand(3, *shape)
    net = Network.open(module, x)
    assert net.batch is None
    assert torch.equal(net(x), module(x).detach())


def test_shapes_stand_for_reproducible_inputs() -> None:
    module = nn.Conv2d(3, 1, 3).double()
    (x,), _ = export.as_inputs((3, 8, 8), module)
    (y,), _ = export.as_inputs([1, 3, 8, 8], module)
    assert x.shape == (1, 3, 8, 8)
    assert x.dtype == torch.float64
    assert torch.equal(x, y)


def test_a_network_bound_to_its_batch_says_why() -> None:
    class Bound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(64, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.dense(x.view(1, -1))

    module = Bound()
    net = Network.open(module, IMAGE)
    assert net.batch == 1
    assert net.notes[0].startswith("the batch is bound to 1: with two examples it says: ")
    assert torch.equal(net(IMAGE), module(IMAGE).detach())
    with pytest.raises(ShapeError, match="Bound takes batches of 1 only; got 2 images; the batch is bound to 1"):
        net(torch.cat([IMAGE, IMAGE]))


def _error(module: nn.Module, example: Any = IMAGE) -> str:
    with pytest.raises(ExportError) as caught:
        Network.open(module, example)
    return str(caught.value)


def test_a_branch_on_data_names_the_line_and_what_to_do() -> None:
    said = _error(Branching())
    assert said.startswith("Branching decides on the values of its data, so it is no single graph; at ")
    assert re.search(r"test_export\.py:\d+ in forward: if y\.sum\(\) > 0:", said)
    assert "/" not in said.split("at ")[1].split("test_export.py")[0].removeprefix("tests/")  # no path longer than one needs
    assert said.endswith("replace the branch by torch.where or torch.cond, or open the part before it")


def test_a_forward_that_raises_names_the_line() -> None:
    said = _error(Failing())
    assert "Failing cannot be turned into a graph; ValueError: nobody knows why (at tests/test_export.py:" in said
    assert said.endswith("change that line, or open a submodule")


@pytest.mark.parametrize(
    "module", [nn.Conv2d(3, 2, 3), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(10, 2)), nn.Conv2d(1, 2, 11)]
)
def test_a_wrong_input_size_says_so(module: nn.Module) -> None:
    said = _error(module)
    assert "does not accept this input" in said
    assert said.endswith("give the input size it was built for: --input CxHxW, or example=…")


def test_modules_that_cannot_be_opened_say_why() -> None:
    assert "does not accept this type of input" in _error(nn.Conv2d(1, 2, 3).double())
    assert _error(nn.Conv2d(1, 2, 3).to("meta")).startswith(
        "Conv2d is on the meta device; weight has a size but no numbers; give it numbers"
    )
    assert (
        _error(nn.LazyConv2d(2, 3))
        == "LazyConv2d is lazy: weight has no size yet; it takes its sizes from a first input; run it once"
    )
    assert _error(nn.Identity()).startswith("Identity computes nothing; its graph has no operation on the input")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused() -> None:
    assert _error(torch.jit.trace(nn.Conv2d(1, 2, 3), IMAGE)).endswith(
        "open the Python module it was made from, or a torch.export .pt2 file"
    )


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (None, r"which input does this network take\?; no example was given; pass example=tensor"),
        ("3x8x8", "cannot use str as an example input; expected a tensor, a shape, a tuple of tensors or a dict"),
        ({"flag": True}, "no tensor among the example inputs"),
        ((1, 0, 8), r"an input of shape \(1, 0, 8\) is empty; every size must be at least 1"),
    ],
)
def test_examples_that_are_none(example: Any, said: str) -> None:
    with pytest.raises((UsageError, ShapeError), match=said):
        Network.open(nn.Conv2d(1, 2, 3), example)


def test_nothing_is_printed_while_tracing(capfd: pytest.CaptureFixture[str]) -> None:
    _error(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(10, 2)))
    _error(Branching())
    out, err = capfd.readouterr()
    assert err == ""
    assert out == ""
