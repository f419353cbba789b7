"""PyTorch programs on the digits whose fault is in the model, the loss, the data or the metric; their loops are sound.

Each takes `sound=True` for the same program with the seeded change undone. Where it is cheap there are two: a perceptron on
64 inputs and a LeNet on 8×8 images, the second with `-lenet` behind its id.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache, partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import cars, digits, ranged
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import Block, accuracy, lenet, loader, mlp, of_probabilities, pretrained
from torch import Tensor, nn
from torch.nn import functional as F


def digit_program(
    seed: int, net: str = "mlp", *, last: tuple[nn.Module, ...] = (), loss: Any = F.cross_entropy, rate: float = 0.001,
    parts: Any = None, shuffle: bool = True, metric: Any = None, epochs: int = 15,
) -> Setup:  # fmt: skip
    """A classifier of the digits with Adam, sound as it stands."""
    torch.manual_seed(seed)
    model = mlp(64, 64, 32, 10, flatten=True) if net == "mlp" else lenet()
    model.extend(last)
    (x, y), held = parts or scaled(seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    return Setup(model, (x, y), held, loss, optimizer, 32, epochs, shuffle, metric=metric)


def scaled(seed: int) -> Any:
    """The digits in 0..1."""
    (x, y), (held, labels) = digits(seed)
    return (x / 255, y), (held / 255, labels)


def both(id: str, fault: str, words: str, faulty: Any) -> None:
    """Registers `faulty(seed, net)` for the perceptron and the LeNet, with the sound program as repaired twin."""
    for net, suffix in (("mlp", ""), ("lenet", "-lenet")):
        program(id + suffix, fault, words)(partial(faulty, net=net)).fixed(partial(digit_program, net=net))


def softmax_dim0(seed: int, net: str) -> Setup:
    """Softmax over dimension 0, the batch."""
    return digit_program(seed, net, last=(nn.Softmax(dim=0),), loss=of_probabilities)


def softmax_before(seed: int, net: str) -> Setup:
    """Softmax before CrossEntropyLoss."""
    return digit_program(seed, net, last=(nn.Softmax(dim=1),), loss=nn.CrossEntropyLoss(), rate=0.0003)


def nll_of_probabilities(seed: int, net: str) -> Setup:
    """NLLLoss, which wants logarithms, fed with a softmax."""
    return digit_program(seed, net, last=(nn.Softmax(dim=1),), loss=nn.NLLLoss())


def wrong_pairs(seed: int, net: str) -> Setup:
    """Labels in an order of their own."""
    (x, y), held = scaled(seed)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    return digit_program(seed, net, parts=((x, y[order]), held), epochs=10)


def nan_rows(seed: int, net: str) -> Setup:
    """Five images hold a NaN pixel."""
    (x, y), held = scaled(seed)
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))[:5]
    x[rows, 0, 3, 4] = float("nan")
    return digit_program(seed, net, parts=((x, y), held))


def no_shuffle(seed: int, net: str) -> Setup:
    """Images sorted by class, and batches in that order."""
    (x, y), held = scaled(seed)
    order = y.argsort(stable=True)
    return digit_program(seed, net, parts=((x[order], y[order]), held), shuffle=False)


def test_not_scaled(seed: int, net: str) -> Setup:
    """Training pixels standardised one by one, those held out as they came, 0..255."""
    (x, y), held = digits(seed)
    x = (x - x.mean(0)) / x.std(0).clamp(min=1)
    return digit_program(seed, net, parts=((x, y), held))


def offset_input(seed: int, net: str) -> Setup:
    """Inputs of mean 100 and standard deviation 1, under SGD."""
    (x, y), (held, labels) = scaled(seed)
    mean, spread = x.mean(), x.std()
    parts = ((x - mean) / spread + 100, y), ((held - mean) / spread + 100, labels)
    return by_descent(digit_program(seed, net, parts=parts))


def centred_input(seed: int, net: str) -> Setup:
    """The same with mean 0."""
    (x, y), (held, labels) = scaled(seed)
    mean, spread = x.mean(), x.std()
    return by_descent(digit_program(seed, net, parts=(((x - mean) / spread, y), ((held - mean) / spread, labels))))


def by_descent(setup: Setup) -> Setup:
    """The program with SGD at .05 in place of Adam."""
    optimizer = torch.optim.SGD(setup.model.parameters(), 0.05)
    return Setup(setup.model, setup.train, setup.held_out, setup.loss, optimizer, 32, setup.epochs)


def duplicate_rows(seed: int, net: str) -> Setup:
    """Nine tenths of the held-out images are copies of training images."""
    (x, y), (held, labels) = scaled(seed)
    copied = round(0.9 * len(held))
    parts = (x, y), (torch.cat([x[:copied], held[copied:]]), torch.cat([y[:copied], labels[copied:]]))
    return digit_program(seed, net, parts=parts)


def wrong_argmax(output: Tensor, target: Tensor) -> float:
    """Accuracy by the argmax over the batch, as (predicted row numbers == classes)."""
    rows = output.argmax(0)
    return float((rows == target[: len(rows)]).float().mean())


def argmax_dim0(seed: int, net: str) -> Setup:
    """A metric with argmax(0)."""
    return digit_program(seed, net, metric=wrong_argmax)


for id, fault, words, faulty in (
    ("PT-softmax_dim0", "O9", "softmax over the batch axis", softmax_dim0),
    ("PT-logsoftmax_twice", "O2", "softmax before CrossEntropyLoss", softmax_before),
    ("PT-nll_on_probabilities", "O3", "NLLLoss fed with a softmax", nll_of_probabilities),
    ("PT-wrong_pairs", "D7", "labels permuted against images", wrong_pairs),
    ("PT-nan_rows", "D10", "five images with a NaN pixel", nan_rows),
    ("PT-no_shuffle", "D9", "sorted by class, not shuffled", no_shuffle),
    ("PT-test_not_scaled", "D11", "held-out pixels not standardised", test_not_scaled),
    ("PT-duplicate_rows", "D13", "nine tenths of the held-out images are training images", duplicate_rows),
):
    both(id, fault, words, faulty)

for net, suffix in (("mlp", ""), ("lenet", "-lenet")):
    shifted = program(f"PT-offset_input{suffix}", "D2", "mean 100, std 1, SGD .05")
    shifted(partial(offset_input, net=net)).fixed(partial(centred_input, net=net))
    misread = program(f"PT-argmax_dim0{suffix}", "E4", "accuracy by argmax(0); the training is sound")
    misread(partial(argmax_dim0, net=net)).fixed(partial(digit_program, net=net, metric=accuracy))


def broadcast(seed: int, *, sound: bool = False) -> Setup:
    """A regression whose target has lost its column: (N, 1) minus (N,) is (N, N)."""
    torch.manual_seed(seed)
    (x, y), (held, wanted) = cars(seed)
    x, held = ranged(x, x), ranged(held, x)
    y, wanted = ranged(y, y), ranged(wanted, y)
    model = mlp(9, 64, 64, 1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean()

    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    if sound:
        return Setup(model, (x, y), (held, wanted), loss, optimizer, 32, 60)
    return Setup(model, (x, y[:, 0]), (held, wanted[:, 0]), loss, optimizer, 32, 60)


spread = program("PT-broadcast_loss", "O8", "(N, 1) against (N,) in a mean squared error")
spread(broadcast).fixed(partial(broadcast, sound=True))


class Detached(nn.Module):
    """A perceptron whose features are cut from the graph on their way to the head."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.flat, self.how = nn.Flatten(), how
        self.body = mlp(64, 8, 8, activation=nn.Tanh)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        features = torch.tanh(self.body(self.flat(x)))
        if self.how == "detach":
            features = features.detach()
        elif self.how == "copy":
            features = torch.tensor(features.tolist())
        return self.head(features)


def detached(seed: int, how: str) -> Setup:
    """Only the head learns, on eight random features."""
    torch.manual_seed(seed)
    train, held = scaled(seed)
    model = Detached(how)
    return Setup(model, train, held, F.cross_entropy, torch.optim.Adam(model.parameters(), 0.003), 32, 15)


for how, suffix in (("detach", ""), ("copy", "-copy")):
    cut = program(f"PT-detach{suffix}", "P7", {"detach": "features.detach()", "copy": "features through a list"}[how])
    cut(partial(detached, how=how)).fixed(partial(detached, how="sound"))


def normalised(seed: int, *, momentum: float = 0.1, batch: int = 32) -> Setup:
    """A LeNet with batch norm."""
    torch.manual_seed(seed)
    train, held = scaled(seed)
    model = lenet(norm=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
    return Setup(model, train, held, F.cross_entropy, torch.optim.Adam(model.parameters(), 0.003), batch, 4)


lagging = program("PT-bn_momentum", "A11", "running statistics at momentum .001, four epochs")
lagging(partial(normalised, momentum=0.001)).fixed(normalised)


def lone(seed: int, *, batch: int = 2) -> Setup:
    """A perceptron with batch norm on two images at a time: each unit sees only +1 and -1."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = scaled(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for inward, outward in ((64, 32), (32, 32)):
        layers += [nn.Linear(inward, outward), nn.BatchNorm1d(outward), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    data = loader(x[:1436], y[:1436], seed, batch)
    return Setup(model, data, (held, labels), F.cross_entropy, optimizer, batch, 3 if batch < 8 else 15)


program("PT-batch_of_one", "A11", "batch norm on batches of two")(lone).fixed(partial(lone, batch=32))
program("PT-batch_of_one-single", "A11", "batch norm on batches of one: torch refuses")(partial(lone, batch=1)).fixed(
    partial(lone, batch=32)
)


@cache
def body(seed: int) -> nn.Sequential:
    """A residual network that has learned to tell five pairs of digits."""
    torch.manual_seed(seed)
    (x, y), _ = scaled(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 16), Block(16, 32, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return pretrained(net, x, y)


def tuned(seed: int, *, sound: bool = False) -> Setup:
    """A residual network, fine-tuned; everything but batch norm is frozen, and the new head with it."""
    model = deepcopy(body(seed))
    torch.manual_seed(seed)
    (x, y), (held, labels) = scaled(seed)
    model[-1] = nn.Linear(32, 10)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and not sound):
            module.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01, momentum=0.9)
    return Setup(model, (x, y), (held, labels), F.cross_entropy, optimizer, 32, 6)


program("TC-forum84911", "P6", "fine-tuning with the new head frozen too")(tuned).fixed(partial(tuned, sound=True))
