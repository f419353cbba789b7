"""What the tests of the class activation maps share: nets, a peer's layer, and slow twins from the papers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.network import Network
from tests.torchvision_shim import torchvision

MEAN_AND_LINEAR = ("in_place", "residual", "concat", "grouped", "dilated", "shared_module", "norm_first")
LARGE = ("alexnet", "vgg11", "vgg11_bn", "resnet18", "resnet50", "densenet121", "googlenet", "inception_v3", "squeezenet1_1",
         "mobilenet_v2", "efficientnet_b0", "convnext_tiny")


def large(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor, Network]:
    """One of torchvision's networks, seeded, with batch norms and biases that do something, and an image."""
    models: Any = torchvision().models
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = getattr(models, name)(weights=None, **extra).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1)
                nn.init.normal_(module.bias, 0, 0.1)
            elif getattr(module, "bias", None) is not None and isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.bias, 0, 0.05)
        size = 299 if name == "inception_v3" else 224
        x = torch.randn(1, 3, size, size).to(dtype)
        model = model.to(dtype)
    return model, x, Network.open(model, x, name)


def enlarged(small: Any, height: int, width: int) -> Any:
    """Bilinear resizing with pixel centres on pixel centres, values beyond the border repeated, one pixel at a time."""
    h, w = small.shape
    large = np.zeros((height, width))
    for i, j in product(range(height), range(width)):
        y, x = max((i + 0.5) * h / height - 0.5, 0.0), max((j + 0.5) * w / width - 0.5, 0.0)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
        fy, fx = y - y0, x - x0
        large[i, j] = ((1 - fy) * ((1 - fx) * small[y0, x0] + fx * small[y0, x1])
                       + fy * ((1 - fx) * small[y1, x0] + fx * small[y1, x1]))
    return large
