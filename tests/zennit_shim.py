"""Import zennit, which imports torchvision, which may have to be helped first. For tests only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.torchvision_shim import torchvision

torchvision()

from zennit import canonizers, composites, rules  # noqa: E402
from zennit.torchvision import ResNetCanonizer  # noqa: E402


def relevance(model: nn.Module, x: Tensor, composite: Any, k: int) -> Any:
    """zennit's relevance of each image's pixels for class `k`, started at the class's score."""
    own = x.clone().requires_grad_()
    with composite.context(model) as changed:
        out = changed(own)
        start = torch.zeros_like(out)
        start[:, k] = out[:, k].detach()
        return torch.autograd.grad(out, own, start)[0].numpy()


__all__ = ["ResNetCanonizer", "canonizers", "composites", "relevance", "rules"]
