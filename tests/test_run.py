"""Running the graph: the module's own bits, captured values, replaced rules, targets, bytes for the backward pass.

Turns red: in `Runner.call_function`, `if rule is not None` -> `if rule is None`; in `saved_bytes`, drop `counted.add(…)`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope import run
from convscope.errors import UnknownName, UsageError
from convscope.network import Network

IMAGE = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)


class Relus(nn.Module):
    """Four ReLUs, spelled differently."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)
        self.relu, self.inplace = nn.ReLU(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.inplace(self.b(self.relu(self.a(x)))).relu_() - 0.1)


def opened(**facts: Any) -> tuple[nn.Module, Network]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same weights whichever test runs first
        module = Relus().eval()
    return module, Network.open(module, IMAGE, **facts)


def test_the_graph_gives_the_modules_own_bits_for_any_batch() -> None:
    module, net = opened()
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(net(x), module(x))


def test_values_are_kept_by_address() -> None:
    module, net = opened()
    found = net.run(IMAGE, keep=["a", "relu"])
    with torch.no_grad():
        assert torch.equal(found["a"], module.a(IMAGE))  # type: ignore[operator]
    assert torch.equal(found["relu"], found["a"].relu())
    assert set(found.kept) == {"a", "relu"}
    with pytest.raises(UnknownName, match=r"no kept layer named 'b'; .*; name it in keep=\[…\]"):
        found["b"]
    with pytest.raises(UnknownName, match="no layer named 'aa'; closest: 'a'; `convscope trace` lists all"):
        net.run(IMAGE, keep=["aa"])


def test_a_rule_replaces_every_relu_however_it_is_spelled() -> None:
    _, net = opened()
    calls: list[str] = []

    def rule(call: Any, x: Tensor) -> Tensor:
        calls.append(call._schema.name)
        return x

    linear = net.run(IMAGE, rules={"relu": rule}).output
    assert calls == ["aten::relu"] * 4
    assert bool((linear < 0).any())


def test_a_rule_changes_the_gradient_and_nothing_else() -> None:
    """Guided backpropagation's rule on one ReLU: forward as ever, backward only what is positive twice."""
    net = Network.open(nn.Sequential(nn.ReLU()), IMAGE)

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, *delta: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return delta[0].clamp(min=0) * (x > 0)

    x = IMAGE.clone().requires_grad_()
    y = net.run(x, rules={"relu": lambda call, value: Guided.apply(value)}, grad=True).output
    (y * torch.where(IMAGE > 0.5, -1.0, 1.0)).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, ((IMAGE > 0) & (IMAGE <= 0.5)).float())


def test_upto_stops_early(monkeypatch: pytest.MonkeyPatch) -> None:
    _, net = opened()
    ran: list[str] = []
    original = run.Runner.run_node

    def counted(self: run.Runner, n: Any) -> Any:
        if n.op == "call_function":
            ran.append(n.name)
        return original(self, n)

    monkeypatch.setattr(run.Runner, "run_node", counted)
    value = run.upto(net, IMAGE, "relu")
    assert len(ran) == 2
    assert torch.equal(value, net.run(IMAGE, keep=["relu"])["relu"])


def test_visits_come_in_order_and_see_everything() -> None:
    _, net = opened()
    seen: list[str] = []
    net.run(IMAGE, visit=lambda layer, value: seen.append(layer.address))
    assert seen == [layer.address for layer in net.layers]


def test_gradients_only_where_asked_and_never_on_parameters() -> None:
    module, net = opened()
    assert not net.run(IMAGE).output.requires_grad
    x = IMAGE.clone().requires_grad_()
    net.run(x, grad=True).output.sum().backward()
    module_x = IMAGE.clone().requires_grad_()
    y = F.relu(module.b(F.relu(module.a(module_x))))  # type: ignore[operator]
    F.relu(y - 0.1).sum().backward(inputs=[module_x])
    assert x.grad is not None
    assert torch.equal(x.grad, module_x.grad)  # type: ignore[arg-type]
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


def test_chance_is_left_alone() -> None:
    _, net = opened()
    before = torch.get_rng_state()
    net.run(IMAGE, visit=lambda layer, value: torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_second_input_is_named() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    net = Network.open(Two(), (IMAGE, IMAGE))
    with pytest.raises(UsageError, match="Two takes 2 inputs; one was given; wrap it in a module that fixes the others"):
        net.run(IMAGE)


# ---- targets -------------------------------------------------------------------------------------------------------------

CLASSES = ("tabby, tabby cat", "tiger cat", "tiger", "dog", "cat, house cat")


def classifier() -> Network:
    return Network.open(
        nn.Sequential(nn.Conv2d(1, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), IMAGE, classes=CLASSES
    )


@pytest.mark.parametrize(
    ("asked", "index"),
    [(3, 3), ("3", 3), ("tiger", 2), ("TIGER cat", 1), ("tabby cat", 0), ("cat", 4), ("do", 3), (" dog ", 3)],
)
def test_a_class_goes_by_index_name_synonym_or_beginning(asked: str | int, index: int) -> None:
    net = classifier()
    found = run.target(net, asked, IMAGE)
    assert found.index == index
    assert found.label == f"{index} {CLASSES[index]}"
    assert torch.equal(found.score(net, IMAGE), net(IMAGE)[:, index])


def test_without_a_question_it_is_the_highest_class() -> None:
    net = classifier()
    assert run.target(net, None, IMAGE).index == int(net(IMAGE).argmax())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("t", "'t' names 3 classes; 0 tabby, tabby cat, 1 tiger cat, 2 tiger; use the index"),
        (5, "no class 5 in Sequential; it has 5 outputs; use 0 … 4, a class name or a unit address"),
        (-1, "no class -1 in Sequential; it has 5 outputs"),
        ("²", "no class or unit named '²'"),
        ("tigre", "no class or unit named 'tigre'; closest: 'tiger'"),
        ("0/9", "no unit 9 in 0; it has 5 units"),
        ("0/1@9,9", r"no position \(9, 9\) in 0; its map is \(6, 6\); positions are row,column and count from 0"),
        ("2/1@0", r"no position \(0,\) in 2; its map is not there: it is a vector"),
    ],
)
def test_wrong_targets_are_refused(asked: str | int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run.target(classifier(), asked, IMAGE)


def test_units_are_scored_at_their_layer() -> None:
    net = classifier()
    x = torch.randn(3, 1, 8, 8)
    maps = net.run(x, keep=["0"])["0"]
    assert torch.equal(run.target(net, "0/2@1,4", x).score(net, x), maps[:, 2, 1, 4])
    assert torch.allclose(run.target(net, "0/2", x).score(net, x), maps[:, 2].mean((1, 2)))
    assert torch.allclose(run.target(net, "2/4", x).score(net, x), net(x)[:, 4])


# ---- bytes for the backward pass -----------------------------------------------------------------------------------------


def test_saved_bytes_by_hand() -> None:
    """float32: conv keeps its input, ReLU its output, the pool its input (that tensor: counted once) and int64 indices."""
    net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)), IMAGE)
    assert run.saved_bytes(net) == {"0": 4 * 64, "1": 4 * 2 * 36, "2": 8 * 2 * 9, "4": 4 * 18}
    assert {k.address: k.saved for k in net.trace().layers} == {"0": 256, "1": 288, "2": 144, "3": 0, "4": 72}


def test_a_layer_used_ten_times_keeps_ten_inputs() -> None:
    class Ten(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(10):
                x = self.conv(x)
            return x

    assert sum(run.saved_bytes(Network.open(Ten(), IMAGE)).values()) == 10 * 256


def test_saved_bytes_agree_with_autograd_on_the_module() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.AvgPool2d(2), nn.GroupNorm(2, 4), nn.Sigmoid()
    ).eval()
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(t: Tensor) -> Tensor:
        if t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(torch.zeros(1, 1, 8, 8, requires_grad=True))
    assert y.shape == (1, 4, 3, 3)
    assert sum(run.saved_bytes(Network.open(module, IMAGE)).values()) == sum(
        t.untyped_storage().nbytes() for t in kept.values()
    )


@pytest.mark.parametrize(
    "family", ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "resnet18", "densenet121"]
)
def test_torchvision_networks_keep_their_bits(family: str) -> None:
    _same_bits(family, 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("alexnet", 64),
        ("vgg11_bn", 32),
        ("googlenet", 64),
        ("inception_v3", 96),
        ("resnext50_32x4d", 64),
        ("wide_resnet50_2", 64),
        ("mobilenet_v2", 64),
        ("efficientnet_b0", 64),
        ("efficientnet_v2_s", 64),
        ("regnet_y_400mf", 64),
        ("convnext_tiny", 64),
        ("swin_t", 64),
        ("vit_b_32", 224),
        ("maxvit_t", 224),
    ],
)
def test_every_torchvision_family_keeps_its_bits(family: str, size: int) -> None:
    _same_bits(family, size)


def _same_bits(family: str, size: int) -> None:
    shim = pytest.importorskip("tests.torchvision_shim")
    torchvision = shim.torchvision()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.get_model(
            family, weights=None, **({"init_weights": False} if family in ("googlenet", "inception_v3") else {})
        ).eval()
        x = torch.randn(2, 3, size, size)
    net = Network.open(module, x)
    with torch.no_grad():
        assert torch.equal(net(x), module(x))


def test_any_memory_layout_gives_the_same() -> None:
    """Turns red: `x.contiguous()` -> `x` in `run.arguments`."""
    net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).eval(), (3, 4, 4))
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wanted = run.run(net, x).output
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)  # the same numbers, columns first
    for other in (x.contiguous(memory_format=torch.channels_last), turned):
        assert not other.is_contiguous()
        assert torch.equal(run.run(net, other).output, wanted)
