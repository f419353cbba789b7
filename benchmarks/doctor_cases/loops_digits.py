"""PyTorch programs on the digits whose fault is in the training loop itself; each loop is one as its user wrote it.

`Setup.loop` is that loop. The model, the optimiser and the data are given as well, so that a check before training sees what
the loop will use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import digits
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import accuracy, lenet, loader, mlp
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

Loader = DataLoader[Any]
Batch = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Loader, held: Any, step: Batch, epochs: int) -> None:
    """An ordinary loop: `step` for each batch, and a validation after each epoch."""
    for _ in range(epochs):
        model.train()
        for x, y in data:
            step(model, optimizer, x, y)
        model.eval()
        with torch.no_grad():
            accuracy(model(held[0]), held[1])


def sound_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """zero_grad, forward, backward, step."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def accumulating(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Gradients are never cleared."""
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def stepless(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Gradients are computed and never used."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()


def premature(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """The step comes between zero_grad and backward."""
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()


def late_clearing(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Gradients are cleared between backward and step."""
    F.cross_entropy(model(x), y).backward()
    optimizer.zero_grad()
    optimizer.step()


def ungraded(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """The forward pass under no_grad; `requires_grad_` only silences the error that backward would raise."""
    optimizer.zero_grad()
    with torch.no_grad():
        loss = F.cross_entropy(model(x), y)
    loss.requires_grad_().backward()
    optimizer.step()


def refused(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """The forward pass under no_grad, and the error."""
    optimizer.zero_grad()
    with torch.no_grad():
        output = model(x)
    F.cross_entropy(output, y).backward()
    optimizer.step()


def loss_of_numbers(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """The loss is taken out of the graph by item() and put into a new tensor."""
    optimizer.zero_grad()
    loss = torch.tensor(F.cross_entropy(model(x), y).item(), requires_grad=True)
    loss.backward()
    optimizer.step()


def clipped(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, most: float = 1e-6) -> None:
    """The gradient's norm is held under 1e-6."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), most)
    optimizer.step()


def build(seed: int, net: str = "mlp", step: Batch = sound_step, descent: float = 0.05, norm: bool = False) -> Setup:
    """The program with one kind of step, under SGD with momentum (`descent` 0: Adam at .001)."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = digits(seed)
    model = mlp(64, 64, 32, 10, flatten=True) if net == "mlp" else lenet(norm=norm)
    parameters = model.parameters()
    if descent:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, descent, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(parameters, 0.001)
    data, beside = loader(x / 255, y, seed), (held / 255, labels)
    loop = partial(train, model, optimizer, data, beside, step, 8)
    return Setup(model, data, beside, F.cross_entropy, optimizer, 32, 8, loop=loop)


for net, suffix in (("mlp", ""), ("lenet", "-lenet")):
    for id, fault, words, step, descent in (
        ("PT-no_zero_grad", "P4", "zero_grad() missing", accumulating, 0.05),
        ("PT-no_step", "P5", "step() missing", stepless, 0.05),
        ("PT-no_step-before_backward", "P5", "zero_grad(), step(), backward()", premature, 0.05),
        ("PT-no_step-cleared", "P5", "backward(), zero_grad(), step()", late_clearing, 0.05),
        ("PT-no_grad_forward", "P7", "forward under no_grad, loss.requires_grad_()", ungraded, 0.05),
        ("PT-no_grad_forward-refused", "P7", "forward under no_grad: torch refuses", refused, 0.05),
        ("PT-detach-item", "P7", "loss.item() in a new tensor", loss_of_numbers, 0.05),
        ("PT-clip_tiny", "P13", "the gradient clipped to 1e-6, SGD", clipped, 0.05),
    ):
        made = program(id + suffix, fault, words)(partial(build, net=net, step=step, descent=descent))
        made.fixed(partial(build, net=net, descent=descent))


def slow_accumulation(seed: int, step: Batch = accumulating) -> Setup:
    """The question's small CNN, at a rate that only cleared gradients stand."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = digits(seed)
    model = lenet()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    data, beside = loader(x / 255, y, seed), (held / 255, labels)
    loop = partial(train, model, optimizer, data, beside, step, 8)
    return Setup(model, data, beside, F.cross_entropy, optimizer, 32, 8, loop=loop)


program("TC-so60335387", "P4", "gradients never cleared, Adam 3e-3")(slow_accumulation).fixed(
    partial(slow_accumulation, step=sound_step)
)


def replaced_head(seed: int, net: str, *, sound: bool = False) -> Setup:
    """The optimiser is built, then a new head is put on: it holds the old head's parameters."""
    setup = build(seed, net)
    model = setup.model
    for x, y in setup.train:  # what was learned before: digits, two to a class
        sound_step(model, setup.optimizer, x, (3 * y % 10) // 2)
    model[-1] = nn.Linear(model[-1].in_features, 10)
    model[:-1].requires_grad_(False)  # the body is not to learn, so that all depends on the head
    parameters = list(model.parameters()) if sound else list(setup.optimizer.param_groups[0]["params"])
    optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    loop = partial(train, model, optimizer, setup.train, setup.held_out, sound_step, 8)
    return Setup(model, setup.train, setup.held_out, F.cross_entropy, optimizer, 32, 8, loop=loop)


def partly_owned(seed: int, net: str, *, sound: bool = False) -> Setup:
    """Only the first layer's parameters are given to the optimiser."""
    setup = build(seed, net)
    first = next(m for m in setup.model if any(True for _ in m.parameters()))
    optimizer = torch.optim.SGD(list((setup.model if sound else first).parameters()), 0.01, momentum=0.9)
    loop = partial(train, setup.model, optimizer, setup.train, setup.held_out, sound_step, 8)
    return Setup(setup.model, setup.train, setup.held_out, F.cross_entropy, optimizer, 32, 8, loop=loop)


def frozen(seed: int, net: str) -> Setup:
    """requires_grad is False on every layer but the last bias, without which backward would raise."""
    setup = build(seed, net)
    for parameter in list(setup.model.parameters())[:-1]:
        parameter.requires_grad_(False)
    return setup


def frozen_wholly(seed: int, net: str) -> Setup:
    """requires_grad is False everywhere: backward raises."""
    setup = build(seed, net)
    setup.model.requires_grad_(False)
    return setup


for net, suffix in (("mlp", ""), ("lenet", "-lenet")):
    for id, words, wrong in (
        ("PT-not_in_optimizer", "the head was replaced after the optimiser was built", replaced_head),
        ("PT-not_in_optimizer-part", "only the first layer given to the optimiser", partly_owned),
    ):
        program(id + suffix, "P6", words)(partial(wrong, net=net)).fixed(partial(wrong, net=net, sound=True))
    for id, words, wrong in (
        ("PT-frozen_all", "everything frozen but the last bias", frozen),
        ("PT-frozen_all-refused", "everything frozen: torch refuses", frozen_wholly),
    ):
        program(id + suffix, "P6", words)(partial(wrong, net=net)).fixed(partial(build, net=net))
