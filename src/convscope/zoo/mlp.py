"""The multi-layer perceptron: linear layers with a nonlinearity between them.

    h₀ = x        h_l = max(0, W_l h_{l−1} + b_l)        y = W_L h_{L−1} + b_L

Rumelhart, Hinton and Williams 1986 (with sigmoids); 300 and 100 hidden units on 28×28 digits: LeCun, Bottou, Bengio and
Haffner 1998, "Gradient-based learning applied to document recognition", which others call LeNet-300-100.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from convscope.zoo._parts import positive

INPUTS = {"mlp": (1, 28, 28)}


def mlp(*, inputs: int = 784, hidden: Sequence[int] = (300, 100), num_classes: int = 10) -> nn.Sequential:
    """Linear layers and ReLU on all pixels: (B, C, H, W) with C·H·W = `inputs` → (B, K) scores.

    266,610 parameters (Han et al. 2015, "Learning both weights and connections", table 1, say 267K); 266,200 multiply-adds.
    It knows nothing of neighbourhood: the same shuffle of the pixels of all images makes no difference to it.

    >>> sum(p.numel() for p in mlp().parameters())
    266610
    """
    positive(inputs=inputs, num_classes=num_classes, **{f"hidden[{i}]": size for i, size in enumerate(hidden)})
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for i, (size, outputs) in enumerate(pairwise((inputs, *hidden)), start=1):
        layers[f"fc{i}"], layers[f"relu{i}"] = nn.Linear(size, outputs), nn.ReLU()
    layers[f"fc{len(hidden) + 1}"] = nn.Linear((inputs, *hidden)[-1], num_classes)
    return nn.Sequential(layers)
