"""Counts of parameters and multiply-adds by hooks: for tests, and only right where every layer is a module called once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convscope import registry


def build(name: str, device: str = "meta", **arguments: Any) -> nn.Module:
    """One of the zoo in eval mode; on the meta device it has shapes and no numbers, so that a VGG costs nothing."""
    with torch.device(device):
        return registry.factory(name)(**arguments).eval()


def input_of(name: str) -> tuple[int, ...]:
    return registry.module_of("zoo", registry.factories()[name]).INPUTS[name]


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: nn.Module, *shape: int) -> int:
    """Of convolutions and linear layers, for one image: outputs × inputs that each one reads."""
    found: list[int] = []

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        found.append(output[0].numel() * module.weight[0].numel())

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model(torch.empty(1, *shape, device=next(model.parameters()).device))
    return sum(found)
