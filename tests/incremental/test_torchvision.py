"""Changed passes against full ones on torchvision's networks, in float64: windows in the middle, at edges, in corners.

Turns red if in rules.py the divisor of average pooling is left out, or in operations.py `cat` forgets the hull of its parts.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from convscope.incremental.executor import Incremental
from convscope.network import Network
from tests.incremental.test_executor import covered
from tests.torchvision_shim import torchvision

NAMES = ["alexnet", "vgg11", "vgg11_bn", "resnet18", "resnet50", "densenet121", "googlenet", "inception_v3", "squeezenet1_1",
         "mobilenet_v2", "efficientnet_b0", "convnext_tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_covered_windows_give_what_full_passes_give(name: str) -> None:
    options: dict[str, Any] = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = getattr(torchvision().models, name)(weights=None, **options)
        n = 299 if name == "inception_v3" else 224
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None  # statistics of one batch, so that signals keep their size through the depth
        with torch.no_grad():
            module.train()(torch.randn(4, 3, n, n))
        x, filled = torch.randn(2, 1, 3, n, n, dtype=torch.float64)
    net = Network.open(module.double().eval(), x)
    windows = [(0, 16, 0, 16), (n - 16, n, n - 9, n), (100, 116, 0, 16), (96, 128, 104, 136), (50, 51, 60, 61), (0, n, 0, n)]
    passes = Incremental(net, x)
    full = covered(net, x, windows, filled)
    scale = float((full - passes.clean).abs().max())
    torch.testing.assert_close(passes.covered(windows, filled), full, rtol=0, atol=1e-9 * scale)
    assert scale > 1e-6 * float(full.abs().max()), "windows must matter"
    assert passes.bound([(100, 116, 100, 116)]) < 1
