"""The image cases of the TensorFlow 1 programs, ported: a small and a deep convolutional network, 20 faults each and two.

The small one sees the digits, the deep one (VGG-like, on 16×16 pixels, so that a run takes seconds) coloured
digits. Both are sound as they stand; each case changes one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import Pair, coloured, digits
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import Penalised, half_shuffled, initialised, noisy_loader, of_probabilities, one_hot
from torch import Tensor, nn
from torch.nn import functional as F

PORT = "TensorFlow 1 (port)"
Prepare = Callable[[Tensor], Tensor]


def scaled(x: Tensor) -> Tensor:
    """Pixels in 0..1."""
    return x / 255


def thinned(part: Pair, seed: int) -> Pair:
    """Class k keeps a share 0.65^k of its rows: all of the noughts, 2 % of the nines."""
    x, y = part
    keep = torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < 0.65 ** y.float()
    return x[keep], y[keep]


def small_net(hidden: Callable[[], nn.Module] = nn.ReLU, last: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    """conv 5×5 32 > pool > conv 3×3 64 > pool > dense 512 > dense 10."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), hidden(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), hidden(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 512), hidden(), nn.Linear(512, 10), *last,
    )  # fmt: skip


def deep_net(
    hidden: Callable[[], nn.Module] = nn.ReLU, last: tuple[nn.Module, ...] = (), drop: float | None = None,
    norm: bool = True, momentum: float = 0.1,
) -> nn.Sequential:  # fmt: skip
    """Six convolutions of 12, 24 and 48 channels in pairs with batch norm, pooling and dropout, then two dense layers."""
    layers: list[nn.Module] = []
    inward = 3
    for width, share in ((12, 0.1), (24, 0.1), (48, 0.2)):
        for _ in range(2):
            layers += [nn.Conv2d(inward, width, 3, padding=1), *([nn.BatchNorm2d(width, momentum=momentum)] if norm else [])]
            layers += [hidden(), *([nn.Dropout(drop)] if drop else [])]
            inward = width
        layers += [nn.MaxPool2d(2), nn.Dropout(share if drop is None else drop)]
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(192, 96),
        hidden(),
        nn.Dropout(0.3 if drop is None else drop),
        nn.Linear(96, 10),
        *last,
    )


def small(
    seed: int, *, prepare: Prepare = scaled, net: dict[str, Any] | None = None, draw: Callable[[Tensor], Any] | None = None,
    loss: Any = F.cross_entropy, penalty: float = 0.0, decay: float = 2e-5, rate: float = 0.1, adam: bool = False,
    feed: Any = None, thin: bool = False,
) -> Setup:  # fmt: skip
    """The small program, one of its parts changed."""
    torch.manual_seed(seed)
    model = initialised(small_net(**(net or {})), draw)
    if adam:
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), rate, eps=1e-16, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(model.parameters(), rate, weight_decay=decay)
    return finished(model, digits(seed), optimizer, seed, prepare, loss, penalty, feed, thin, batch=64, epochs=12)


def deep(
    seed: int, *, prepare: Prepare = scaled, net: dict[str, Any] | None = None, draw: Callable[[Tensor], Any] | None = None,
    loss: Any = F.cross_entropy, penalty: float = 0.0, decay: float = 2e-5, rate: float = 0.001, adam: bool = False,
    feed: Any = None, thin: bool = False,
) -> Setup:  # fmt: skip
    """The deep program, one of its parts changed."""
    torch.manual_seed(seed)
    model = initialised(deep_net(**(net or {})), draw)
    if adam:
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), rate, eps=1e-16, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=decay)
    return finished(model, coloured(seed), optimizer, seed, prepare, loss, penalty, feed, thin, batch=16, epochs=12)


def finished(
    model: nn.Module, parts: tuple[Pair, Pair], optimizer: torch.optim.Optimizer, seed: int, prepare: Prepare, loss: Any,
    penalty: float, feed: Any, thin: bool, *, batch: int, epochs: int,
) -> Setup:  # fmt: skip
    """The program from its parts."""
    (x, y), (held, labels) = parts
    if thin:
        x, y = thinned((x, y), seed)
    train: Any = (prepare(x), y) if feed is None else feed(prepare(x), y, seed, batch=batch)
    whole = Penalised(loss, model, penalty) if penalty else loss
    return Setup(model, train, (prepare(held), labels), whole, optimizer, batch, epochs)


def negated(output: Tensor, target: Tensor) -> Tensor:
    """The loss with the wrong sign."""
    return -F.cross_entropy(output, target)


def summed(output: Tensor, target: Tensor) -> Tensor:
    """The loss of a batch as the sum of its rows'."""
    return F.cross_entropy(output, target, reduction="sum")


def wrongly_reduced(output: Tensor, target: Tensor) -> Tensor:
    """Summed over the batch, averaged over the classes: the two axes of the reduction swapped."""
    return -(one_hot(target, output) * F.log_softmax(output, dim=1)).sum(dim=0).mean()


def across_batch(output: Tensor, target: Tensor) -> Tensor:
    """Softmax over the images of the batch, not over the classes."""
    powers = (output - output.max()).exp()
    return of_probabilities(powers / powers.sum(dim=0, keepdim=True), target)


def squared(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error between probabilities and one-hot labels."""
    return F.mse_loss(output.softmax(dim=1), one_hot(target, output))


def softmax_hidden() -> nn.Module:
    """Softmax over the channels."""
    return nn.Softmax(dim=1)


def constant(weight: Tensor) -> Tensor:
    """Every weight .01."""
    return nn.init.constant_(weight, 0.01)


def wide(weight: Tensor, spread: float = 0.1) -> Tensor:
    """Normal weights of one standard deviation, whatever the fan-in."""
    return nn.init.normal_(weight, 0.0, spread)


augmented = partial(noisy_loader, noise=0.9, erased=0.6)

# name: fault, words, change of the small program, change of the deep one where it is another
VARIANTS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any] | None]] = {
    "double_normalization": ("D3", "pixels divided by 255 twice", {"prepare": lambda x: x / 255 / 255}, None),
    "missing_normalization": ("D1", "raw pixels, 0..255", {"prepare": lambda x: x}, None),
    "flipped_sign": ("P3", "the loss has a minus in front", {"loss": negated}, None),
    "high_lr": ("P1", "rate 1 (deep .1; .5 does no harm on 8×8 pixels)", {"rate": 1.0}, {"rate": 0.1}),
    "low_lr": ("P2", "rate a hundredth", {"rate": 0.001}, {"rate": 1e-5}),
    "low_adam_epsilon": ("P10", "Adam, eps 1e-16, rate .1 (deep .01)", {"adam": True, "rate": 0.1},
                         {"adam": True, "rate": 0.01}),
    "missing_regularization": ("P8", "no L2 (deep: no dropout either)", {"decay": 0.0},
                               {"decay": 0.0, "net": {"drop": 0.0}}),
    "over_regularization": ("P8", "L2 .1 in the loss (deep: dropout .5 after each convolution)", {"penalty": 0.1},
                            {"net": {"drop": 0.5}}),
    "missing_softmax": ("O3", "logits into a cross-entropy of probabilities", {"loss": of_probabilities}, None),
    "redundant_softmax": ("O2", "softmax in the model and in the loss", {"net": {"last": (nn.Softmax(dim=1),)}}, None),
    "unbalanced_data": ("D8", "class k keeps .65^k of its images", {"thin": True}, None),
    "wrong_activation": ("O10", "softmax as hidden activation", {"net": {"hidden": softmax_hidden}}, None),
    "wrong_augmentation": ("D12", "noise .9 and six tenths of each side erased at every reading", {"feed": augmented}, None),
    "wrong_init_constant": ("A7", "every weight .01", {"draw": constant}, None),
    "wrong_init_random": ("A8", "normal weights of std .35, four times He's (deep .1)",
                          {"draw": partial(wide, spread=0.35)}, {"draw": wide}),
    "wrong_labels": ("D7", "inputs shuffled without their labels", {"feed": half_shuffled}, None),
    "wrong_loss_function": ("O9", "sum where a mean was meant", {"loss": summed}, None),
    "wrong_loss_function2": ("O9", "summed over the batch, averaged over the classes", {"loss": wrongly_reduced}, None),
    "wrong_softmax_impl": ("O9", "softmax over the batch axis", {"loss": across_batch}, None),
    "wrong_loss_selection": ("O5", "MSE between softmax and one-hot labels", {"loss": squared}, None),
}  # fmt: skip

for name, (fault, words, change, deep_change) in VARIANTS.items():
    program(f"TDC-baseCNN-{name}", fault, words, framework=PORT)(partial(small, **change)).fixed(small)
    program(f"TDC-deepCNN-{name}", fault, words, framework=PORT)(partial(deep, **(deep_change or change))).fixed(deep)

for name, words, change in (
    ("missing_batchnorm", "batch norm removed", {"net": {"norm": False}}),
    ("missing_infer_batchnorm", "running statistics never updated (momentum 0)", {"net": {"momentum": 0.0}}),
):
    program(f"TDC-deepCNN-{name}", "A11", words, framework=PORT)(partial(deep, **change)).fixed(deep)
