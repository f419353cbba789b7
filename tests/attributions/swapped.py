"""The reference for backward rules of ReLU: the user's own module, run by autograd, with every ReLU call swapped.

A function mode sees each call of `relu` in any spelling (module, functional, method, in place, reused), as no module hook
does; this is the slow, independent way to what the graph's rules must give.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.network import Network
from convscope.run import target
from tests.torchvision_shim import torchvision

RELU = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
WITH_RELU = ("alexnet", "vgg11", "vgg11_bn", "resnet18", "resnet50", "densenet121", "googlenet", "inception_v3",
             "squeezenet1_1", "mobilenet_v2")
WITHOUT_RELU = ("efficientnet_b0", "convnext_tiny")


class _Swapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: str, cap: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rule, ctx.cap = rule, cap
        return x.clamp(0, cap)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,), r = ctx.saved_tensors, grads[0]
        inside = (x > 0) & (x < ctx.cap)
        return {"gradient": r * inside, "deconvnet": r.clamp_min(0), "guided": r.clamp_min(0) * inside}[ctx.rule], None, None


class Swap(TorchFunctionMode):
    """Within it, every ReLU has the rule; `calls` counts them."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule, self.calls = rule, 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        limits = {**dict(zip(("min_val", "max_val"), args[1:3], strict=False)), **(kwargs or {})}
        relu6 = func is F.relu6 or (func is F.hardtanh and (limits["min_val"], limits["max_val"]) == (0, 6))  # nn.ReLU6
        if func in RELU or relu6:
            self.calls += 1
            return _Swapped.apply(args[0], self.rule, 6.0 if relu6 else torch.inf)
        return func(*args, **(kwargs or {}))


def reference(model: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor], rule: str) -> tuple[Tensor, int]:
    """∂score(model(x))/∂x with every ReLU swapped, and how many there were."""
    own = x.detach().clone().requires_grad_()
    with Swap(rule) as mode:
        out = score(model(own))
    return torch.autograd.grad(out.sum(), own)[0], mode.calls


@functools.cache
def architecture(name: str) -> tuple[nn.Module, Tensor, Network]:
    """A torchvision network with seeded weights, float64, batch norm that does something, a small image; opened."""
    torchvision()
    models = importlib.import_module("torchvision.models")
    given = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    given |= {"aux_logits": False} if given else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(models, name)(weights=None, num_classes=10, **given)
        side = {"inception_v3": 96, "alexnet": 80}.get(name, 64)
        x = torch.randn(1, 3, side, side, dtype=torch.float64)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        model = model.double()
        if any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):  # statistics that fit
            model.train()
            with torch.no_grad():
                model(torch.randn(8, 3, side, side, dtype=torch.float64))
    model = model.eval()
    return model, x, Network.open(model, x, name)


def hold_same_bits(method: Any, rule: str, of: tuple[nn.Module, Tensor, Network]) -> Any:
    """The method's map equals autograd's with every ReLU swapped, bit for bit, and it reached all of them; the result."""
    model, x, net = of
    found = method(net, x, target(net, 2, x))
    wanted, calls = reference(model, x, lambda out: out[:, 2], rule)
    assert float(wanted.abs().max()) > 0
    np.testing.assert_array_equal(found.values, wanted)
    assert found.proof == {"rectifiers that the rule reached": f"{calls} of {calls}"}
    return found
