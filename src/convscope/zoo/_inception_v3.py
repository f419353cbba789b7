"""The five blocks of Inception v3 (Szegedy et al. 2016, figures 5 to 7 and 10): branches joined along the channels.

A name such as `branch7x7dbl_3` is the third step of the branch with two 7×7 kernels, taken apart; names are torchvision's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.zoo._parts import ConvNormReLU


def _row(inputs: int, outputs: int, k: int) -> ConvNormReLU:
    """A kernel of one row, k columns wide."""
    return ConvNormReLU(inputs, outputs, (1, k), padding=(0, k // 2))


def _column(inputs: int, outputs: int, k: int) -> ConvNormReLU:
    return ConvNormReLU(inputs, outputs, (k, 1), padding=(k // 2, 0))


class _Pooled(nn.Module):
    """A branch that all but B and D have: mean over 3×3 positions (the padding counts), then 1×1."""

    branch_pool: ConvNormReLU

    def pooled(self, x: Tensor) -> Tensor:
        return self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))


class A(_Pooled):
    """On 35×35: 1×1, 5×5, two 3×3, pooling → 224 + `pooled` channels."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = ConvNormReLU(inputs, 48, 1), ConvNormReLU(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNormReLU(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, padding=1)
        self.branch_pool = ConvNormReLU(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.pooled(x)], 1)


class B(nn.Module):
    """From 35×35 to 17×17 with stride 2: 3×3, two 3×3, max pooling → 480 more channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNormReLU(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNormReLU(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class C(_Pooled):
    """On 17×17: 1×1, 7×7 and two 7×7, taken apart into rows and columns, pooling → 768 channels. `width`: on the way."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, 192, 1)
        self.branch7x7_1 = ConvNormReLU(inputs, width, 1)
        self.branch7x7_2, self.branch7x7_3 = _row(width, width, 7), _column(width, 192, 7)
        self.branch7x7dbl_1 = ConvNormReLU(inputs, width, 1)
        self.branch7x7dbl_2, self.branch7x7dbl_3 = _column(width, width, 7), _row(width, width, 7)
        self.branch7x7dbl_4, self.branch7x7dbl_5 = _column(width, width, 7), _row(width, 192, 7)
        self.branch_pool = ConvNormReLU(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.pooled(x)], 1)


class D(nn.Module):
    """From 17×17 to 8×8 with stride 2: 3×3, 7×7 taken apart and then 3×3, max pooling → 512 more channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = ConvNormReLU(inputs, 192, 1), ConvNormReLU(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNormReLU(inputs, 192, 1)
        self.branch7x7x3_2, self.branch7x7x3_3 = _row(192, 192, 7), _column(192, 192, 7)
        self.branch7x7x3_4 = ConvNormReLU(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, F.max_pool2d(x, 3, stride=2)], 1)


class E(_Pooled):
    """On 8×8: 1×1, 3×3 as row and column side by side, the same after one more 3×3, pooling → 2048 channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, 320, 1)
        self.branch3x3_1 = ConvNormReLU(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _row(384, 384, 3), _column(384, 384, 3)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvNormReLU(inputs, 448, 1), ConvNormReLU(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _row(384, 384, 3), _column(384, 384, 3)
        self.branch_pool = ConvNormReLU(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([
            self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.pooled(x)], 1)
