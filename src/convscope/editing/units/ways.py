"""The words in which channels are followed: where a value's entries come from, which tensors and settings count them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Use:
    """Axis `axis` of a tensor runs over the entries of `value`; `reads`: it multiplies them. `slots`: of one group only."""

    owner: Node  # the call that uses it
    path: str  # 'conv1.weight'
    tensor: Tensor
    axis: int
    value: Node
    reads: bool = False
    slots: int = 1


@dataclass(frozen=True)
class Setting:
    """A module's own number that counts the entries of a value: in_channels, num_features, groups."""

    owner: Node
    path: str
    name: str
    value: Node
    divisor: int = 1


@dataclass(frozen=True)
class Way:
    """How a value's entries come from others: 'write', 'pass', 'spread' and 'gather' (by k), 'concat', 'join', 'whole'."""

    kind: str
    values: tuple[Node, ...] = ()
    k: int = 1
