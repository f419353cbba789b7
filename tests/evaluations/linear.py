"""A network whose evidence is known in closed form: two classes, scores w·x and 0, so p = σ(w·x)."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn

from convscope.evaluations._case import Case
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


def linear(weights: list[float], height: int, width: int) -> tuple[nn.Module, Network]:
    return _linear(tuple(weights), height, width)


@functools.cache
def _linear(weights: tuple[float, ...], height: int, width: int) -> tuple[nn.Module, Network]:
    layer = nn.Linear(height * width, 2, bias=False)
    layer.weight.data = torch.stack([torch.tensor(weights), torch.zeros(height * width)])
    model = nn.Sequential(nn.Flatten(), layer)
    return model, Network.open(model, (1, height, width))


def heat(values: object, unit: str = "score") -> Heatmap:
    """A map (B, H, W) or (H, W) as a result."""
    array = np.asarray(values, np.float64)
    array = array[None] if array.ndim == 2 else array
    return Heatmap(values=array[:, None], images=np.zeros((*array.shape, 3), np.uint8), targets=("0",) * len(array),
                   scores=np.zeros(len(array)), unit=unit)


def case(net: Network, x: Tensor, values: object, **facts: object) -> Case:
    return Case(net, x, Target("0", 0), heat(values), **facts)  # type: ignore[arg-type]


def sigma(score: float) -> float:
    return float(1 / (1 + np.exp(-score)))


WEIGHTS = [1.5, -0.5, 0.75, -1.0, 0.25, 2.0]
PIXELS = [1.0, 2.0, 0.5, 1.0, 3.0, 0.25]
EXACT = np.array(WEIGHTS).reshape(2, 3) * np.array(PIXELS).reshape(2, 3)  # what each pixel adds to the score


def six() -> tuple[nn.Module, Network, Tensor]:
    """Six pixels, all with different contributions."""
    return *linear(WEIGHTS, 2, 3), torch.tensor(PIXELS).reshape(1, 1, 2, 3)
