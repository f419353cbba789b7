"""How to train, in a few numbers and words: optimiser, rate and schedule, stages, and which images each step sees.

The rate is a function of the step alone and the order of images one of (seed, epoch), so nothing about them needs to be
kept to go on later. Both engines, torch (`fit.py`) and NumPy (`glass_training.py`), train by the functions of this file.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class FitSettings:
    """How is the network trained? `optimizer` is any of torch.optim that steps from gradients alone.

    The NumPy engine has sgd, adam and adamw, and no stages. Each engine raises UnknownName or UsageError for an optimiser,
    or an option of it, that it does not have. `stages` decide on the epochs: see `stages.py`.

    >>> FitSettings(optimizer="sgd", rate=0.1, momentum=0.9).schedule
    'constant'
    """

    epochs: int = param(10, "passes over the training images", low=1)
    batch_size: int = param(64, "images a step, over all processes together", unit="images", low=1)
    optimizer: str = param("adamw", "an optimiser of torch.optim: sgd, adam, adamw, rmsprop, …")
    rate: float = param(0.003, "learning rate; with a schedule the largest one", low=0)
    momentum: float | None = param(None, "momentum, for optimisers that have it; none: torch's default", low=0, high=1)
    weight_decay: float = param(0.0, "weight decay", low=0)
    schedule: str = param("constant", "how the rate falls", choices=("constant", "cosine", "step", "one-cycle"))
    seed: int = param(0, "seed of the order of images and of dropout", low=0)
    stages: str = param("", "which parts train, and for how many epochs, one stage after the other, each with those before "
                            "it: head:5,layer4:5,all:5; empty: all that is not frozen")
    old_rate: float = param(1.0, "rate of the old part as a share of the new one's (the head, or the first stage)", low=0)

    def __post_init__(self) -> None:
        validate(self)
        if self.stages:
            object.__setattr__(self, "epochs", sum(stage.epochs for stage in stages_of(self.stages)))

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs must have in common. Stages count where there are some: checkpoints from before know none."""
        added = {"stages": "", "old_rate": 1.0}
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in added or v != added[k]}


@dataclass(frozen=True)
class Stage:
    """For some epochs these parts train, and all that trained before: layers, blocks, 'head' or 'all'."""

    parts: tuple[str, ...]
    epochs: int


def stages_of(text: str) -> tuple[Stage, ...]:
    """'head:5, layer3+layer4:5, all:5' in order. Errors: UsageError.

    >>> stages_of("head:5, layer3+layer4:2")[1]
    Stage(parts=('layer3', 'layer4'), epochs=2)
    """
    found: list[Stage] = []
    for piece in text.split(","):
        read = re.fullmatch(r"\s*([^:\s]+)\s*:\s*(\d+)\s*", piece)
        if read is None or int(read[2]) < 1 or not all(read[1].split("+")):
            raise UsageError(f"cannot read the stage {piece.strip()!r}", "it is no PART:EPOCHS with at least one epoch",
                             "for example head:5,layer4:5,all:5, or layer3+layer4:5")
        found.append(Stage(tuple(read[1].split("+")), int(read[2])))
    return tuple(found)


def images_used(images: int, batch_size: int) -> int:
    """How many of `images` an epoch uses: all, or one less where the last batch would be a single image.

    Batch norm cannot train on one image. Which one is left out changes with the order, from epoch to epoch.

    >>> images_used(130, 64), images_used(129, 64)
    (130, 128)
    """
    return images - 1 if images > 1 and images % batch_size == 1 else images


def order_of(seed: int, epoch: int, images: int, used: int) -> NDArray[np.int64]:
    """The images of an epoch in the order in which they are seen: the first `used` of a shuffle by (seed, epoch).

    >>> order_of(0, 0, 5, 4).tolist()
    [2, 4, 3, 0]
    """
    return np.random.default_rng((seed, epoch)).permutation(images)[:used]


def rate_at(settings: FitSettings, step: int, steps: int) -> float:
    """The learning rate of a step, 0 … steps − 1.

    constant; cosine: ½·(1 + cos(π·step/steps)) (Loshchilov and Hutter 2017); step: a tenth after 1/2 and again after 3/4 of
    the steps (He et al. 2016); one-cycle: from 1/25 up during 30 %, then down to 1/250,000, along cosines (Smith 2018).

    >>> [rate_at(FitSettings(rate=1.0, schedule="step"), step, 8) for step in (0, 4, 6)]
    [1.0, 0.1, 0.01]
    """
    rate = settings.rate
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * step / steps)) / 2
    if settings.schedule == "step":
        return rate / 10 ** ((step >= steps // 2) + (step >= 3 * steps // 4))
    if settings.schedule == "one-cycle":
        top = 0.3 * steps - 1
        if step <= top:
            first, last, share = rate / 25, rate, step / top
        else:
            first, last, share = rate, rate / 250_000, (step - top) / (steps - 1 - top)
        return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
    return rate


def differences(there: dict[str, Any], here: dict[str, Any], name: str = "") -> list[str]:
    """What tells two runs apart, in words; empty where one may go on from the other's checkpoint.

    >>> differences({"settings": {"rate": 0.1}}, {"settings": {"rate": 0.2}})
    ['settings.rate: 0.1 there, 0.2 here']
    """
    found: list[str] = []
    for key in {**there, **here}:
        a, b = there.get(key), here.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{name}{key}.")
        elif a != b and not (key == "epochs" and here.get("schedule") == "constant"):  # a constant rate may go on longer
            found.append(f"{name}{key}: {_short(a)} there, {_short(b)} here")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
