"""PyTorch loops on the digits with a fault of schedule, mode or precision: the rate, train() and eval(), half precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import digits, drawn, split
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import accuracy, lenet, loader, mlp
from torch import Tensor, nn
from torch.nn import functional as F


def scheduled(seed: int, net: str, *, sound: bool = False) -> Setup:
    """ExponentialLR with .8 for an epoch, stepped at every batch."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = digits(seed)
    model = mlp(64, 64, 32, 10, flatten=True) if net == "mlp" else lenet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    data = loader(x / 255, y, seed)

    def loop() -> None:
        for _ in range(10):
            model.train()
            for images, classes in data:
                optimizer.zero_grad()
                F.cross_entropy(model(images), classes).backward()
                optimizer.step()
                if not sound:
                    scheduler.step()
            if sound:
                scheduler.step()

    return Setup(model, data, (held / 255, labels), F.cross_entropy, optimizer, 32, 10, scheduler=scheduler, loop=loop)


for net, suffix in (("mlp", ""), ("lenet", "-lenet")):
    program(f"PT-scheduler_per_batch{suffix}", "P9", "ExponentialLR(.8) stepped at each batch")(
        partial(scheduled, net=net)
    ).fixed(partial(scheduled, net=net, sound=True))


def moded(seed: int, net: str, *, training: Callable[[nn.Module], None], testing: Callable[[nn.Module], None]) -> Setup:
    """A loop that puts the model into some mode before its training and before its validation."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = digits(seed)
    if net == "mlp":
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 32),
            nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10),
        )  # fmt: skip
    else:
        model = lenet(norm=True, drop=0.5)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    data = loader(x / 255, y, seed)
    validation: list[float] = []

    def loop() -> None:
        for _ in range(8):
            training(model)
            for images, classes in data:
                optimizer.zero_grad()
                F.cross_entropy(model(images), classes).backward()
                optimizer.step()
            testing(model)
            with torch.no_grad():
                validation.append(accuracy(model(held / 255), labels))

    return Setup(model, data, (held / 255, labels), F.cross_entropy, optimizer, 32, 8, loop=loop)


def to_training(model: nn.Module) -> None:
    """train()."""
    model.train()


def to_evaluation(model: nn.Module) -> None:
    """eval()."""
    model.eval()


sound = partial(moded, training=to_training, testing=to_evaluation)
for net, suffix in (("mlp", ""), ("lenet", "-lenet")):
    program(f"PT-never_train_mode{suffix}", "E1", "eval() before the first epoch, train() never")(
        partial(moded, net=net, training=to_evaluation, testing=to_evaluation)
    ).fixed(partial(sound, net=net))
    program(f"PT-validate_in_train_mode{suffix}", "E1", "validation with dropout and batch statistics at work")(
        partial(moded, net=net, training=to_training, testing=to_training)
    ).fixed(partial(sound, net=net))


def once_trained(seed: int) -> Setup:
    """train() before the first epoch only: from the first validation on, the model stays in evaluation mode."""
    started: list[int] = []

    def training(model: nn.Module) -> None:
        if not started:
            model.train()
            started.append(1)

    return moded(seed, "mlp", training=training, testing=to_evaluation)


once = program("PT-never_train_mode-once", "E1", "train() before the first epoch only")
once(once_trained).fixed(partial(sound, net="mlp"))


def halved(seed: int, *, scale: float = 1.0) -> Setup:
    """A pixel-wise classifier under autocast to float16; the gradient of one of 32 · 256 pixels is too small for it.

    The loss is a mean over images and pixels and weighs 1e-4 in its objective, so that a pixel's gradient is below 1e-8;
    `scale` multiplies it before backward and divides it afterwards, as GradScaler does.
    """
    torch.manual_seed(seed)
    images, _, masks = drawn(seed, 600)
    (x, y), (held, wanted) = split(images / 255, masks, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    data = loader(x, y, seed)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output.float(), target) * 1e-4

    def loop() -> None:
        for _ in range(6):
            for pixels, mask in data:
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.float16):
                    output = model(pixels)
                (scale * loss(output, mask)).backward()
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.grad /= scale
                optimizer.step()

    return Setup(model, data, (held, wanted), loss, optimizer, 32, 6, loop=loop)


program("PT-fp16_underflow", "P12", "float16 autocast without loss scaling")(halved).fixed(partial(halved, scale=2.0**20))


def half_model(seed: int, *, sound: bool = False) -> Setup:
    """A perceptron held in float16 altogether: squared gradients underflow in Adam, whose eps is 0 there."""
    torch.manual_seed(seed)
    kind = torch.float32 if sound else torch.float16
    (x, y), (held, labels) = digits(seed)
    model = mlp(64, 64, 32, 10, flatten=True).to(kind)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    data = loader((x / 255).to(kind), y, seed)

    def loop() -> None:
        for _ in range(8):
            for images, classes in data:
                optimizer.zero_grad()
                F.cross_entropy(model(images), classes).backward()
                optimizer.step()

    return Setup(model, data, ((held / 255).to(kind), labels), F.cross_entropy, optimizer, 32, 8, loop=loop)


pure = program("PT-fp16_underflow-adam", "P12", "the whole model and Adam in float16")
pure(half_model).fixed(partial(half_model, sound=True))
