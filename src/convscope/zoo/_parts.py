"""What several families share: checks of sizes, initial weights, one block, names in published files."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green, blue, where white is 1


def positive(**sizes: int) -> None:
    """Refuse sizes that are not whole numbers from 1 up: torch would build a network without outputs, and warn at most.

    >>> positive(num_classes=0)
    Traceback (most recent call last):
    convscope.errors.UsageError: num_classes must be a whole number from 1 up; got 0; for example num_classes=10
    """
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number from 1 up", f"got {value!r}", f"for example {name}=10")


def start(model: nn.Module, linear: float | None = 0.01) -> None:
    """Initial weights: convolutions normal with variance 2 / (outputs · k · k) (He et al. 2015, "Delving deep into
    rectifiers"), no bias; linear layers normal with standard deviation `linear` (None: torch's own, as they are)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and linear is not None:
            nn.init.normal_(module.weight, 0, linear)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def bare_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose weights are still to be set: torch's own would cost a second for the 100 million of a VGG."""
    return nn.Linear(inputs, outputs, device="meta").to_empty(device=torch.get_default_device())


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU. `window`: stride, padding, … of the convolution."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int | tuple[int, int], **window: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, bias=False, **window)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Published(nn.Module):
    """A network whose published files have other names than it has: `published_name` translates them while loading."""

    def published_name(self, name: str) -> str | None:
        """The name here of a tensor in a published file; None for one that has no place here."""
        raise NotImplementedError

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        state_dict: MutableMapping[str, Tensor] = args[0]
        prefix: str = args[1]
        for key in [key for key in state_dict if key.startswith(prefix)]:  # the caller's own dictionary is a copy already
            name = self.published_name(key.removeprefix(prefix))
            tensor = state_dict.pop(key)
            if name is not None:
                state_dict[prefix + name] = tensor
        super()._load_from_state_dict(*args, **kwargs)


def signed(x: Tensor) -> Tensor:
    """From pixels standardised by ImageNet's mean and deviation to pixels from −1 to 1, (B, 3, H, W) → (B, 3, H, W).

    x'[c] = x[c] · std[c] / 0.5 + (mean[c] − 0.5) / 0.5        for weights that were trained on pixels from −1 to 1
    """
    channels = (x[:, c : c + 1] * (STD[c] / 0.5) + (MEAN[c] - 0.5) / 0.5 for c in range(3))
    return torch.cat(tuple(channels), 1)
