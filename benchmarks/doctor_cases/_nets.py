"""The networks, losses and data sets that the PyTorch cases share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

Loss = Callable[[Tensor, Tensor], Tensor]


def mlp(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU, flatten: bool = False, last: Any = ()) -> nn.Sequential:
    """A perceptron of these widths; `last` are modules behind its output."""
    layers: list[nn.Module] = [nn.Flatten()] if flatten else []
    for at, (inward, outward) in enumerate(pairwise(widths)):
        layers += [nn.Linear(inward, outward), *([activation()] if at < len(widths) - 2 else [])]
    return nn.Sequential(*layers, *last)


def lenet(classes: int = 10, channels: int = 1, size: int = 8, drop: float = 0.0, norm: bool = False) -> nn.Sequential:
    """Two convolutions with pooling and two dense layers, after LeCun et al. 1998."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), *([nn.BatchNorm2d(16)] if norm else []), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * (size // 4) ** 2, 64), nn.ReLU(), nn.Dropout(drop), nn.Linear(64, classes),
    )  # fmt: skip


class Block(nn.Module):
    """A residual block of two convolutions with batch norm (He et al. 2016)."""

    def __init__(self, inward: int, outward: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)
        same = stride == 1 and inward == outward
        self.short = nn.Identity() if same else nn.Conv2d(inward, outward, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the block and its short cut, rectified."""
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.short(x))


def resnet(depth: int = 3, classes: int = 10, channels: int = 1, width: int = 8) -> nn.Sequential:
    """Three stages of `depth` residual blocks: 6·depth + 2 layers."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    inward = width
    for stage in range(3):
        for at in range(depth):
            layers.append(Block(inward, width * 2**stage, 2 if stage and not at else 1))
            inward = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inward, classes))


def initialised(model: nn.Module, draw: Callable[[Tensor], Any] | None = None) -> nn.Module:
    """The model with He-normal weights, or weights by `draw`, and biases of nought."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            (draw or (lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu")))(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


class Penalised:
    """A loss with an L2 penalty on the weights, as TensorFlow 1 programs wrote it: base + weight · Σ w²."""

    def __init__(self, base: Loss, model: nn.Module, weight: float) -> None:
        self.base, self.model, self.weight = base, model, weight

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of one batch."""
        penalty = sum(parameter.square().sum() for parameter in self.model.parameters() if parameter.ndim > 1)
        return self.base(output, target) + self.weight * penalty


def pretrained(net: nn.Sequential, x: Tensor, y: Tensor) -> nn.Sequential:
    """The network after an epoch of a task like that to come: which of five pairs a digit is in."""
    optimizer = torch.optim.Adam(net.parameters(), 0.003)
    for rows in torch.arange(len(x)).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), (3 * y[rows] % 10) // 2).backward()
        optimizer.step()
    return net


def one_hot(target: Tensor, like: Tensor) -> Tensor:
    """Labels as rows with a single 1, as wide as the output."""
    return F.one_hot(target, like.shape[1]).to(like.dtype)


def of_probabilities(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of what are taken to be probabilities, clipped away from nought."""
    return -(one_hot(target, output) * output.clamp(1e-7, 1.0).log()).sum(1).mean()


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Images with new noise and an erased square at each reading, both as shares: of 1, of the image's side."""

    def __init__(self, x: Tensor, y: Tensor, noise: float, erased: float, seed: int) -> None:
        self.x, self.y, self.noise, self.erased = x, y, noise, erased
        self.rng = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        x = self.x[at] + self.noise * torch.randn(self.x[at].shape, generator=self.rng)
        side = round(self.erased * x.shape[-1])
        if side:
            top, left = (int(v) for v in torch.randint(0, x.shape[-1] - side + 1, (2,), generator=self.rng))
            x[:, top : top + side, left : left + side] = float(torch.rand((), generator=self.rng))
        return x, self.y[at]


class HalfShuffled(Sampler[int]):
    """The order of an epoch, as a program drew it that shuffled the inputs and forgot the labels."""

    def __init__(self, data: InputsOnly) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        self.data.shuffle()
        return iter(range(len(self.data)))


class InputsOnly(Dataset[tuple[Tensor, Tensor]]):
    """Inputs that are put into a new order before each epoch, while their labels stay."""

    def __init__(self, x: Tensor, y: Tensor, seed: int) -> None:
        self.x, self.y = x.clone(), y
        self.rng = torch.Generator().manual_seed(seed)

    def shuffle(self) -> None:
        """Another order of the inputs."""
        self.x = self.x[torch.randperm(len(self.x), generator=self.rng)]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.x[at], self.y[at]


def loader(x: Tensor, y: Tensor, seed: int, batch: int = 32, shuffle: bool = True) -> DataLoader[Any]:
    """A DataLoader with a generator of its own."""
    return DataLoader(TensorDataset(x, y), batch, shuffle=shuffle, generator=torch.Generator().manual_seed(seed))


def noisy_loader(x: Tensor, y: Tensor, seed: int, noise: float, erased: float, batch: int) -> DataLoader[Any]:
    """A DataLoader that augments at each reading."""
    data = Noisy(x, y, noise, erased, seed)
    return DataLoader(data, batch, shuffle=True, generator=torch.Generator().manual_seed(seed))


def half_shuffled(x: Tensor, y: Tensor, seed: int, batch: int) -> DataLoader[Any]:
    """A DataLoader whose inputs are shuffled without their labels."""
    data = InputsOnly(x, y, seed)
    return DataLoader(data, batch, sampler=HalfShuffled(data))


def accuracy(output: Tensor, target: Tensor) -> float:
    """The share of rows whose largest output is their class."""
    return float((output.argmax(1) == target).float().mean())
