"""The other TensorFlow 1 programs, ported: 17 faults of a regression, and two programs that people asked about.

The regression: 9 > 64 > 64 > 1 with ReLU, MSE, Adam .001, L2 1e-5, on a table in the columns of auto-mpg, inputs and target
brought to 0..1. It is sound as it stands; each case changes one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import cars, clinic, digits, ranged, standardised
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import Penalised, half_shuffled, initialised, mlp
from benchmarks.doctor_cases.ported_images import PORT, constant
from torch import Tensor, nn
from torch.nn import functional as F

Change = Callable[[Tensor], Tensor]


def regression(
    seed: int, *, twice: bool = False, target: Change = lambda y: y, raw: str = "", last: tuple[nn.Module, ...] = (),
    loss: Any = F.mse_loss, penalty: float = 0.0, decay: float = 2e-5, rate: float = 0.001, eps: float = 1e-8,
    draw: Callable[[Tensor], Any] | None = None, feed: Any = None,
) -> Setup:  # fmt: skip
    """The program, one of its parts changed; `raw` names what is left unscaled: 'x', 'y' or ''."""
    torch.manual_seed(seed)
    (x, y), (held, wanted) = cars(seed)
    span = x.amax(0) - x.amin(0)
    if raw != "x":
        x, held = ranged(x, x), ranged(held, x)
    if twice:
        x, held = x / span, held / span
    if raw != "y":
        y, wanted = ranged(y, y), ranged(wanted, y)
    y, wanted = target(y), target(wanted)
    model = initialised(mlp(9, 64, 64, 1, last=last), draw)
    optimizer = torch.optim.Adam(model.parameters(), rate, eps=eps, weight_decay=decay)
    train: Any = (x, y) if feed is None else feed(x, y, seed, batch=32)
    whole = Penalised(loss, model, penalty) if penalty else loss
    return Setup(model, train, (held, wanted), whole, optimizer, 32, 100)


def negated(output: Tensor, target: Tensor) -> Tensor:
    """The loss with the wrong sign."""
    return -F.mse_loss(output, target)


def summed(output: Tensor, target: Tensor) -> Tensor:
    """The sum of the squared errors of a batch."""
    return F.mse_loss(output, target, reduction="sum")


def wrongly_reduced(output: Tensor, target: Tensor) -> Tensor:
    """The errors are averaged over the batch before they are squared, so that only the batch's mean is fitted."""
    return (output - target).mean(dim=0).square().sum()


def entropy(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy over one column: log softmax of a single unit is nought."""
    return -(target * F.log_softmax(output, dim=1)).sum(dim=1).mean()


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "double_normalization": ("D3", "inputs divided by their range twice", {"twice": True}),
    "missing_normalization": ("D1", "raw columns, up to 4000", {"raw": "x"}),
    "flipped_sign": ("P3", "the loss has a minus in front", {"loss": negated}),
    "high_lr": ("P1", "Adam at 1 (.1 does no harm on this table)", {"rate": 1.0}),
    "low_lr": ("P2", "Adam at 1e-5", {"rate": 1e-5}),
    "low_adam_epsilon": ("P10", "Adam with eps 1e-16", {"eps": 1e-16}),
    "missing_regularization": ("P8", "no L2", {"decay": 0.0}),
    "over_regularization": ("P8", "L2 .1 in the loss", {"penalty": 0.1}),
    "wrong_activation_output": ("O1", "softmax over the only output", {"last": (nn.Softmax(dim=1),)}),
    "inapplicable_activation": ("O4", "targets in -1..1, sigmoid output", {"target": lambda y: 2 * y - 1,
                                                                            "last": (nn.Sigmoid(),)}),
    "wrong_init_constant": ("A7", "every weight .01", {"draw": constant}),
    "wrong_init_random": ("A8", "normal weights, std .25", {"draw": lambda w: nn.init.normal_(w, 0.0, 0.25)}),
    "wrong_labels": ("D7", "inputs shuffled without their targets", {"feed": half_shuffled}),
    "wrong_loss_function": ("O9", "sum where a mean was meant, target times ten", {"loss": summed, "raw": "y",
                                                                                   "target": lambda y: 10 * y}),
    "wrong_loss_function2": ("O9", "errors averaged over the batch before they are squared", {"loss": wrongly_reduced}),
    "wrong_loss_selection": ("O5", "cross-entropy for a regression", {"loss": entropy}),
    "over_scaled_outputs": ("D4", "target unscaled and times ten", {"raw": "y", "target": lambda y: 10 * y}),
}  # fmt: skip

for name, (fault, words, change) in CASES.items():
    also = ("D4",) if name == "wrong_loss_function" else ()
    registered = program(f"TDC-regrNN-{name}", fault, words, also=also, framework=PORT)(partial(regression, **change))
    registered.fixed(regression)


def rectified(seed: int, *, activated: bool = True) -> Setup:
    """A LeNet with wide initial weights and, as asked about, a ReLU on its logits."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        *([nn.ReLU()] if activated else []),
    )  # fmt: skip
    initialised(model, lambda weight: nn.init.normal_(weight, 0.0, 0.1))
    (x, y), (held, labels) = digits(seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    return Setup(model, (x / 255, y), (held / 255, labels), F.cross_entropy, optimizer, 64, 15)


program("TDC-IPS_11", "O10", "LeNet with ReLU on its logits, weights of std .1", also=("A8", "A2"), framework=PORT)(
    rectified
).fixed(partial(rectified, activated=False))


def logistic(seed: int, *, sound: bool = False) -> Setup:
    """Logistic regression on clinical columns: raw at rate .5 under L2 1, or standardised at .01 under 1e-4."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = standardised(clinic(seed)) if sound else clinic(seed)
    model = nn.Linear(x.shape[1], 2)
    optimizer = torch.optim.Adam(model.parameters(), 0.01 if sound else 0.5)
    penalty = Penalised(F.cross_entropy, model, 1e-4 if sound else 1.0)
    return Setup(model, (x, y), (held, labels), penalty, optimizer, 32, 30)


program("TDC-IPS_13", "D1", "raw clinical columns, Adam .5, L2 1", also=("P1", "P8"), framework=PORT)(logistic).fixed(
    partial(logistic, sound=True)
)
