"""ResNet: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition". Names of torchvision.

    y = max(0, F(x) + S(x))        the blocks are in `_residual.py`

Parameters and multiply-adds (one 224×224 image): torchvision 0.28. From 50 layers on, the stride of a stage is in the 3×3
convolution of its first block, as in torchvision ("v1.5"). `stride_in_1x1` puts it into the 1×1 before, as in the paper: the
same weights, fewer multiply-adds, smaller receptive fields (ResNet-50: 483 pixels, as published by Araujo et al. 2019).
"""

from __future__ import annotations

from convscope.zoo._residual import BLOCKS, ResNet

INPUTS = {f"resnet{depth}": (3, 224, 224) for depth in BLOCKS}


def resnet18(*, num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18, basic blocks: (B, 3, 224, 224) → (B, K) scores.

    11,689,512 parameters, 1.814·10⁹ multiply-adds.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in resnet18().parameters())
    11689512
    """
    return ResNet(18, num_classes, in_channels)


def resnet34(*, num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-34, basic blocks: (B, 3, 224, 224) → (B, K) scores.

    21,797,672 parameters, 3.664·10⁹ multiply-adds.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in resnet34().parameters())
    21797672
    """
    return ResNet(34, num_classes, in_channels)


def resnet50(*, num_classes: int = 1000, in_channels: int = 3, stride_in_1x1: bool = False) -> ResNet:
    """ResNet-50, bottleneck blocks: (B, 3, 224, 224) → (B, K) scores.

    25,557,032 parameters, 4.089·10⁹ multiply-adds; 3.858·10⁹ in the layout of the paper, which prints 3.8.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in resnet50().parameters())
    25557032
    """
    return ResNet(50, num_classes, in_channels, stride_in_1x1=stride_in_1x1)


def resnet101(*, num_classes: int = 1000, in_channels: int = 3, stride_in_1x1: bool = False) -> ResNet:
    """ResNet-101, bottleneck blocks: (B, 3, 224, 224) → (B, K) scores.

    44,549,160 parameters, 7.801·10⁹ multiply-adds; 7.570·10⁹ in the layout of the paper, which prints 7.6.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in resnet101().parameters())
    44549160
    """
    return ResNet(101, num_classes, in_channels, stride_in_1x1=stride_in_1x1)


def resnet152(*, num_classes: int = 1000, in_channels: int = 3, stride_in_1x1: bool = False) -> ResNet:
    """ResNet-152, bottleneck blocks: (B, 3, 224, 224) → (B, K) scores.

    60,192,808 parameters, 11.514·10⁹ multiply-adds; 11.282·10⁹ in the layout of the paper, which prints 11.3.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in resnet152().parameters())
    60192808
    """
    return ResNet(152, num_classes, in_channels, stride_in_1x1=stride_in_1x1)
