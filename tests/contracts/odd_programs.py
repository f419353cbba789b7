"""Programs on which a check must not stumble: each by its name, as the user would give it, with what must stay untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from convscope.diagnosing import given
from convscope.diagnosing.program import Program
from convscope.results import Run


@dataclass
class Asked:
    """A program, and the user's own things behind it."""

    program: Program
    module: nn.Module
    tensors: tuple[Tensor, ...]
    optimizer: torch.optim.Optimizer | None = None
    generators: list[torch.Generator] = field(default_factory=list[torch.Generator])

    def state(self) -> Any:
        """What `tests.traces` does not look at."""
        return ({} if self.optimizer is None else self.optimizer.state_dict(),
                [g.get_state().tolist() for g in self.generators])  # fmt: skip


class Pair(nn.Module):
    """Two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)


class Raises(nn.Linear):
    """A forward pass that fails."""

    def forward(self, input: Tensor) -> Tensor:
        raise RuntimeError("no such thing")


class Recurrent(nn.Module):
    """An LSTM, its last state read."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Plain(nn.Module):
    """Nothing to train."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3] * 2


def _of(n: int, *shape: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn((n, *shape), generator=generator)
    return x, torch.randint(0, classes, (n,), generator=generator)


def _small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def _made(model: nn.Module, x: Tensor, y: Tensor | None, loss: Any = "cross-entropy", **words: Any) -> Asked:
    owned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(owned or [nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    held = words.get("held_out", ())
    program = given.program(model, x if y is None else (x, y), loss, optimizer, **words)
    return Asked(program, model, tuple(t for t in (x, y, *held) if t is not None), optimizer)


def _raising(output: Tensor, target: Tensor) -> Tensor:
    raise ValueError(f"a loss of {len(output)} examples and {len(target)} targets fails")


def one_example() -> Asked:
    return _made(_small(), *_of(1, 4))


def objective() -> Asked:
    return _made(_small(), _of(40, 4)[0], None, lambda output: -output.mean())


def two_outputs() -> Asked:
    x, y = _of(40, 4)
    return _made(Pair(), x, y, lambda out, t: F.cross_entropy(out[0], t) + out[1].square().mean())


def forward_raises() -> Asked:
    return _made(Raises(4, 3), *_of(40, 4))


def loss_raises() -> Asked:
    return _made(_small(), *_of(40, 4), _raising)


def loss_of_examples() -> Asked:
    return _made(_small(), *_of(40, 4), lambda o, t: F.cross_entropy(o, t, reduction="none"))


def loss_is_a_number() -> Asked:
    return _made(_small(), *_of(40, 4), lambda o, t: F.cross_entropy(o, t).item())


def nan_inputs() -> Asked:
    x, y = _of(40, 4)
    x[3, 2], x[7, 1] = torch.nan, torch.inf
    return _made(_small(), x, y)


def words_in() -> Asked:
    x = torch.randint(0, 20, (40, 5), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(20, 3))
    return _made(model, x, _of(40, 4)[1])


def recurrent() -> Asked:
    return _made(Recurrent(), *_of(40, 6, 4))


def frozen() -> Asked:
    return _made(_small().requires_grad_(False), *_of(40, 4))


def nothing_to_train() -> Asked:
    return _made(Plain(), *_of(40, 4))


def held_out() -> Asked:
    return _made(_small(), *_of(40, 4), held_out=_of(20, 4), epochs=2)


def several_labels() -> Asked:
    x, _ = _of(40, 4)
    y = (x[:, :3] > 0).float()
    return _made(_small(), x, y, "bce-logits")


def a_class_for_each_pixel() -> Asked:
    x, _ = _of(12, 2, 6, 6)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    return _made(model, x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())


def volumes() -> Asked:
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 3))
    return _made(model, *_of(16, 1, 5, 5, 5))


def a_loader() -> Asked:
    x, y = _of(40, 4)
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=True, generator=generator)
    model = _small()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Asked(given.program(model, loader, nn.CrossEntropyLoss(), optimizer), model, (x, y), optimizer, [generator])


def batch_too_large() -> Asked:
    return _made(_small(), *_of(10, 4), batch_size=64, shuffle=False)


def values() -> Asked:
    x, _ = _of(40, 4)
    return _made(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), x, 1000 * x.sum(1), "mse")


def loss_with_weights() -> Asked:
    model = _small()
    return _made(model, *_of(40, 4),
                 lambda o, t: F.cross_entropy(o, t) + 0.01 * sum(p.square().sum() for p in model.parameters()))  # fmt: skip


def double_precision() -> Asked:
    x, y = _of(40, 4)
    return _made(_small().double(), x.double(), y)


def one_class() -> Asked:
    x, y = _of(40, 4)
    return _made(_small(), x, torch.zeros_like(y))


def keras_model() -> Asked:
    """Keras 3 on torch."""
    import keras

    state = np.random.get_state()
    keras.utils.set_random_seed(0)
    np.random.set_state(state)
    model: Any = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(6, activation="relu"),
                                   keras.layers.Dense(1, activation="softmax")])  # fmt: skip
    model.compile(optimizer="sgd", loss="binary_crossentropy")
    x, _ = _of(40, 4)
    y = (x[:, 0] > 0).float()
    return Asked(given.program(model, (x.numpy(), y.numpy())), model, ())


PROGRAMS: dict[str, Callable[[], Asked]] = {f.__name__: f for f in (
    one_example, objective, two_outputs, forward_raises, loss_raises, loss_of_examples, loss_is_a_number, nan_inputs,
    words_in, recurrent, frozen, nothing_to_train, held_out, several_labels, a_class_for_each_pixel, volumes, a_loader,
    batch_too_large, values, loss_with_weights, double_precision, one_class, keras_model)}  # fmt: skip

_NAN = np.full(20, np.nan)
RUNS: dict[str, Run] = {
    "empty": Run(steps={}, epochs={}),
    "one step": Run(steps={"step": np.array([0]), "loss": np.array([2.3])}, epochs={}, loop={"steps": 1, "backwards": 1}),
    "NaN losses": Run(steps={"step": np.arange(20), "loss": _NAN}, epochs={}, loop={"loss_nonfinite_step": 0}),
    "no health": Run(steps={"loss": np.linspace(2, 1, 20)}, epochs={}, layers=("conv", "fc"), loop={"observed": 4}),
    "keys missing": Run(steps={"step": np.arange(20)}, epochs={"epoch": np.arange(2)}, loop={"forwards": 3}),
    "unseen": Run(steps={"loss": _NAN}, epochs={"held_out_loss": _NAN}, layers=("a", "b"), health={
        "step": np.arange(3),
        **dict.fromkeys(("dead", "saturated", "gradient_std", "update_ratio"), np.full((2, 3), np.nan))},
        loop=dict.fromkeys(("sign", "clipped", "clip_factor", "underflow", "rate_first", "steps_per_epoch", "steps"))),
    "no columns": Run(steps={"loss": np.array([])}, epochs={}, layers=("a", "b", "c", "d"), health={
        "step": np.zeros(0), **dict.fromkeys(("dead", "saturated", "gradient_std", "update_ratio"), np.zeros((4, 0)))}),
}  # fmt: skip
