"""Plain networks: the ResNets of `resnet.py` without their shortcuts, to see what the shortcuts do.

    y = max(0, F(x))        for        y = max(0, F(x) + S(x))

He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", figures 3 and 4: with shortcuts 34 layers train
better than 18, without them worse. Published are 18 and 34 layers; the deeper ones are built by the same rule. Names are
those of the ResNet, less `downsample`; the counts are those of the ResNet, less what those 1×1 convolutions and their batch
norms have (worked out here).
"""

from __future__ import annotations

from convscope.zoo._residual import BLOCKS, ResNet

INPUTS = {f"plain{depth}": (3, 224, 224) for depth in BLOCKS}


def plain18(*, num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18 without shortcuts: (B, 3, 224, 224) → (B, K) scores.

    11,515,688 parameters, 1.795·10⁹ multiply-adds.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in plain18().parameters())
    11515688
    """
    return ResNet(18, num_classes, in_channels, plain=True)


def plain34(*, num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-34 without shortcuts: (B, 3, 224, 224) → (B, K) scores.

    21,623,848 parameters, 3.644·10⁹ multiply-adds (the paper: 3.6·10⁹, like its ResNet).

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in plain34().parameters())
    21623848
    """
    return ResNet(34, num_classes, in_channels, plain=True)


def plain50(*, num_classes: int = 1000, in_channels: int = 3, stride_in_1x1: bool = False) -> ResNet:
    """ResNet-50 without shortcuts: (B, 3, 224, 224) → (B, K) scores.

    22,780,456 parameters, 3.730·10⁹ multiply-adds.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in plain50().parameters())
    22780456
    """
    return ResNet(50, num_classes, in_channels, plain=True, stride_in_1x1=stride_in_1x1)


def plain101(*, num_classes: int = 1000, in_channels: int = 3, stride_in_1x1: bool = False) -> ResNet:
    """ResNet-101 without shortcuts: (B, 3, 224, 224) → (B, K) scores.

    41,772,584 parameters, 7.442·10⁹ multiply-adds.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in plain101().parameters())
    41772584
    """
    return ResNet(101, num_classes, in_channels, plain=True, stride_in_1x1=stride_in_1x1)


def plain152(*, num_classes: int = 1000, in_channels: int = 3, stride_in_1x1: bool = False) -> ResNet:
    """ResNet-152 without shortcuts: (B, 3, 224, 224) → (B, K) scores.

    57,416,232 parameters, 11.154·10⁹ multiply-adds.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in plain152().parameters())
    57416232
    """
    return ResNet(152, num_classes, in_channels, plain=True, stride_in_1x1=stride_in_1x1)
