"""Networks of residual blocks, and the same without their shortcuts: what `resnet.py` and `plain.py` share.

    y = max(0, F(x) + S(x))        F: the block's convolutions and batch norms; S: identity, or a 1×1 convolution
                                   where the sizes change; a plain block is max(0, F(x))

He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition". Initial weights as in He et al. 2015, "Delving
deep into rectifiers". Names of torchvision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.zoo._parts import positive, start

# Blocks in each of four stages, by the number of layers with weights.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class _Block(nn.Module):
    """A block's end: its shortcut, if it has one, through `downsample` where the sizes change; then ReLU."""

    expansion = 1
    downsample: nn.Sequential | None

    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.relu, self.shortcut = nn.ReLU(inplace=True), shortcut

    def projection(self, inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
        """To be made last, so that parameters have torchvision's order, by which optimisers know them."""
        if not self.shortcut or (stride == 1 and inputs == outputs):
            return None
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def end(self, x: Tensor, y: Tensor) -> Tensor:
        if self.shortcut:
            y = y + (x if self.downsample is None else self.downsample(x))
        return self.relu(y)


class Basic(_Block):
    """Two 3×3 convolutions, the first with the stride."""

    def __init__(self, inputs: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__(shortcut)
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample = self.projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.end(x, self.bn2(self.conv2(y)))


class Bottleneck(_Block):
    """1×1 to few channels, 3×3 with the stride ("v1.5"), 1×1 to four times as many channels."""

    expansion = 4
    stride_first = False

    def __init__(self, inputs: int, width: int, stride: int, shortcut: bool) -> None:
        super().__init__(shortcut)
        first, second = (stride, 1) if self.stride_first else (1, stride)
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, first, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, second, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = self.projection(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.end(x, self.bn3(self.conv3(y)))


class Bottleneck2015(Bottleneck):
    """The bottleneck of the paper: the stride is in the first 1×1, which skips three of four positions."""

    stride_first = True


class ResNet(nn.Module):
    """7×7 / 2 → max pool / 2 → four stages of blocks (64, 128, 256, 512 wide, each half the size) → mean → linear."""

    def __init__(self, depth: int, num_classes: int, in_channels: int, *,
                 plain: bool = False, stride_in_1x1: bool = False) -> None:
        super().__init__()
        positive(num_classes=num_classes, in_channels=in_channels)
        block = Basic if depth < 50 else Bottleneck2015 if stride_in_1x1 else Bottleneck

        def stage(inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
            first = block(inputs, width, stride, not plain)
            return nn.Sequential(first, *(block(width * block.expansion, width, 1, not plain) for _ in range(count - 1)))

        n1, n2, n3, n4 = BLOCKS[depth]
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1 = stage(64, 64, n1, 1)
        self.layer2 = stage(64 * block.expansion, 128, n2, 2)
        self.layer3 = stage(128 * block.expansion, 256, n3, 2)
        self.layer4 = stage(256 * block.expansion, 512, n4, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512 * block.expansion, num_classes)
        start(self, linear=None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))
