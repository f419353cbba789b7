"""Sound programs on images: none of them has a fault, all of them learn, whatever the setting looks like."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import Pair, coloured, digits, drawn, shapes, split
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import (
    initialised,
    lenet,
    loader,
    mlp,
    noisy_loader,
    of_probabilities,
    one_hot,
    pretrained,
    resnet,
)
from benchmarks.doctor_cases.ported_images import deep, small
from torch import Tensor, nn
from torch.nn import functional as F

Adam, SGD = torch.optim.Adam, torch.optim.SGD
Make = Callable[[], nn.Module]
Parts = Callable[[int], tuple[Pair, Pair]]


def pixels(seed: int, data: Parts = digits) -> tuple[Pair, Pair]:
    """Images in 0..1."""
    (x, y), (held, labels) = data(seed)
    return (x / 255, y), (held / 255, labels)


def images(
    seed: int, net: Make, optimizer: Callable[[Any], torch.optim.Optimizer], *, data: Parts = pixels,
    loss: Any = F.cross_entropy, batch: int = 32, epochs: int = 12, schedule: Any = None, feed: Any = None,
) -> Setup:  # fmt: skip
    """An image program from its parts; `feed` makes a loader of the training pair, `schedule` one of the optimiser."""
    torch.manual_seed(seed)
    model = net()
    train, held = data(seed)
    chosen = optimizer(model.parameters())
    whole: Any = train if feed is None else feed(*train, seed)
    return Setup(model, whole, held, loss, chosen, batch, epochs, scheduler=schedule(chosen) if schedule else None)


def with_last(*last: nn.Module) -> Make:
    """A LeNet with these modules behind its logits."""
    return lambda: lenet().extend(last)


def lenet_of(activation: Make) -> Make:
    """A LeNet of another activation."""

    def make() -> nn.Module:
        return nn.Sequential(*(activation() if isinstance(m, nn.ReLU) else m for m in lenet()))

    return make


@cache
def bodies(seed: int, residual: bool) -> nn.Sequential:
    """A network that has learned which of five pairs a digit is in."""
    torch.manual_seed(seed)
    (x, y), _ = pixels(seed)
    return pretrained(resnet(1) if residual else lenet(norm=True), x, y)


def tuned(seed: int, *, freeze: bool) -> Setup:
    """Fine-tuning of a small residual network, or of the head on a frozen LeNet only."""
    model = deepcopy(bodies(seed, not freeze)).requires_grad_(not freeze)
    torch.manual_seed(seed)
    model[-1] = nn.Linear(64 if freeze else 32, 10)
    (x, y), held = pixels(seed)
    optimizer = SGD([p for p in model.parameters() if p.requires_grad], 0.05 if freeze else 0.005, momentum=0.9)
    return Setup(model, (x, y), held, F.cross_entropy, optimizer, 32, 6)


def class_share(seed: int) -> tuple[Pair, Pair]:
    """Is it a nought? 95 to 5 rows."""
    (x, y), (held, labels) = pixels(seed)
    order = torch.cat([(y != 0).nonzero()[:, 0], (y == 0).nonzero()[:68, 0]])
    return (x[order], (y[order] == 0).long()), (held, (labels == 0).long())


def twenty(seed: int) -> tuple[Pair, Pair]:
    """Ten noughts and ten ones."""
    (x, y), (held, labels) = pixels(seed)
    rows = torch.cat([(y == k).nonzero()[:10, 0] for k in (0, 1)])
    kept = labels < 2
    return (x[rows], y[rows]), (held[kept], labels[kept])


def two_digits(seed: int) -> tuple[Pair, Pair]:
    """Two digits side by side, and which of the ten occur: 1 or 2 of 10 labels."""
    (x, y), _ = pixels(seed)
    other = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    pairs = torch.cat([x, x[other]], dim=3)
    return split(pairs, ((F.one_hot(y, 10) + F.one_hot(y[other], 10)) > 0).float(), seed)


def masks(seed: int) -> tuple[Pair, Pair]:
    """Drawn shapes and their pixels."""
    x, _, wanted = drawn(seed, 500)
    return split(x / 255, wanted, seed)


def kinds_of_pixels(seed: int) -> tuple[Pair, Pair]:
    """Drawn shapes and each pixel's class, 0 for the ground: a ground of four fifths."""
    x, kinds, wanted = drawn(seed, 500)
    return split(x / 255, (wanted[:, 0] * (kinds[:, None, None] + 1)).long(), seed)


def halves(seed: int) -> tuple[Pair, Pair]:
    """Coarse digits of 8×8 and fine ones of 16×16."""
    (fine, _), (held, _) = digits(seed, 16)
    return (F.avg_pool2d(fine / 255, 2), fine / 255), (F.avg_pool2d(held / 255, 2), held / 255)


def segmenter(outputs: int) -> nn.Module:
    """Convolutions at full and at half resolution."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(32, outputs, 3, padding=1),
    )  # fmt: skip


def enlarger() -> nn.Module:
    """Sub-pixel super-resolution (Shi et al. 2016), small."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 4, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip


def grouped() -> nn.Module:
    """Depth-wise separable convolutions with group norm and SiLU, a global mean and a head."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 32, 1), nn.GroupNorm(4, 32), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def normal_first() -> nn.Module:
    """Batch norm is the first layer."""
    return nn.Sequential(nn.BatchNorm2d(1), *lenet(norm=True))


def nll_of_log(output: Tensor, target: Tensor) -> Tensor:
    """NLL of the logarithm of a softmax."""
    return F.nll_loss((output + 1e-9).log(), target)


def squares(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error against one-hot labels."""
    return F.mse_loss(output, one_hot(target, output))


def wide_lenet() -> nn.Module:
    """For two digits side by side."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 96), nn.ReLU(), nn.Linear(96, 10),
    )  # fmt: skip


sgd = partial(SGD, lr=0.05, momentum=0.9)
adam = partial(Adam, lr=0.001)
cosine = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=12)
steps = partial(torch.optim.lr_scheduler.StepLR, step_size=5, gamma=0.3)
SOUND: dict[str, tuple[str, Any]] = {
    "PTEX-mnist-CNN": ("LeNet, log softmax and NLL, Adadelta at 1", partial(
        images, net=with_last(nn.LogSoftmax(dim=1)), optimizer=partial(torch.optim.Adadelta, lr=1.0), loss=F.nll_loss)),
    "PTEX-ResNet-18-fine-tune": ("a residual network with a new head, all of it tuned", partial(tuned, freeze=False)),
    "PTEX-super-resolution": ("sub-pixel convolution, MSE", partial(
        images, net=enlarger, optimizer=partial(Adam, lr=0.003), data=halves, loss=F.mse_loss, epochs=6)),
    "baseCNN": ("the small ported program", small),
    "deepCNN": ("the deep ported program", deep),
    "mlp-digits": ("perceptron, Adam", partial(images, net=lambda: mlp(64, 64, 32, 10, flatten=True), optimizer=adam)),
    "lenet-sgd-0.1": ("SGD at .1", partial(images, net=lenet, optimizer=partial(SGD, lr=0.1), epochs=20)),
    "raw-pixels-batchnorm": ("0..255 behind batch norm", partial(images, net=normal_first, optimizer=adam, data=digits)),
    "softmax-nll-log": ("softmax in the model, NLL of its logarithm", partial(
        images, net=with_last(nn.Softmax(dim=1)), optimizer=adam, loss=nll_of_log)),
    "softmax-probability-loss": ("softmax in the model, cross-entropy of probabilities", partial(
        images, net=with_last(nn.Softmax(dim=1)), optimizer=adam, loss=of_probabilities)),
    "logsoftmax-cross-entropy": ("log softmax, then CrossEntropyLoss: harmless", partial(
        images, net=with_last(nn.LogSoftmax(dim=1)), optimizer=adam, loss=nn.CrossEntropyLoss())),
    "large-batch": ("batches of 512", partial(images, net=lenet, optimizer=partial(Adam, lr=0.01), batch=512, epochs=40)),
    "label-smoothing": ("smoothing .1", partial(
        images, net=lenet, optimizer=sgd, loss=nn.CrossEntropyLoss(label_smoothing=0.1))),
    "sum-reduction": ("summed loss at a rate that suits it", partial(
        images, net=lenet, optimizer=partial(SGD, lr=0.002), loss=nn.CrossEntropyLoss(reduction="sum"), epochs=15)),
    "frozen-backbone": ("a trained head on a frozen body", partial(tuned, freeze=True)),
    "cosine-schedule": ("cosine to nought", partial(images, net=lenet, optimizer=sgd, schedule=cosine)),
    "step-schedule": ("rate times .3 every five epochs", partial(images, net=lenet, optimizer=sgd, schedule=steps)),
    "dropout-half": ("dropout .5 before the head", partial(images, net=lambda: lenet(drop=0.5), optimizer=adam, epochs=15)),
    "mse-one-hot": ("MSE on one-hot labels", partial(images, net=lenet, optimizer=adam, loss=squares)),
    "weight-decay": ("SGD, momentum, L2 5e-4", partial(images, net=lenet, optimizer=partial(sgd, weight_decay=5e-4))),
    "resnet-20": ("twenty layers", partial(
        images, net=lambda: resnet(3), optimizer=partial(SGD, lr=0.02, momentum=0.9), batch=32, epochs=8)),
    "leaky-relu": ("LeakyReLU", partial(images, net=lenet_of(partial(nn.LeakyReLU, 0.2)), optimizer=adam)),
    "tanh-lenet": ("tanh", partial(images, net=lenet_of(nn.Tanh), optimizer=adam)),
    "sigmoid-mlp": ("one hidden layer of sigmoids, Adam .01", partial(
        images, net=lambda: mlp(64, 48, 10, activation=nn.Sigmoid, flatten=True), optimizer=partial(Adam, lr=0.01))),
    "adam-3e-3": ("Adam at 3e-3", partial(images, net=lenet, optimizer=partial(Adam, lr=0.003))),
    "adamw": ("AdamW, decay .01", partial(images, net=lenet, optimizer=partial(torch.optim.AdamW, lr=0.002))),
    "shapes-cnn": ("drawn shapes", partial(
        images, net=lambda: lenet(4, size=16), optimizer=adam, data=partial(pixels, data=shapes), epochs=15)),
    "coloured-resnet": ("coloured digits, eight layers", partial(
        images, net=lambda: resnet(1, channels=3), optimizer=partial(Adam, lr=0.003), data=partial(pixels, data=coloured),
        epochs=6)),
    "mild-augmentation": ("noise .1, a quarter erased", partial(
        images, net=lenet, optimizer=adam, feed=partial(noisy_loader, noise=0.1, erased=0.25, batch=32), epochs=15)),
    "loader": ("from a DataLoader", partial(images, net=lenet, optimizer=adam, feed=loader)),
    "channels-last": ("channels-last memory", partial(
        images, net=lambda: lenet().to(memory_format=torch.channels_last), optimizer=adam)),  # type: ignore[call-overload]
    "group-norm": ("depth-wise convolutions, group norm, SiLU", partial(
        images, net=grouped, optimizer=partial(Adam, lr=0.005), epochs=12)),
    "he-init": ("He's weights, SGD", partial(images, net=lambda: initialised(lenet()), optimizer=partial(SGD, lr=0.1))),
    "imbalanced": ("95 to 5, and learned", partial(
        images, net=lambda: lenet(2), optimizer=adam, data=class_share, epochs=10)),
    "tiny": ("twenty images", partial(
        images, net=lambda: lenet(2), optimizer=partial(Adam, lr=0.003), data=twenty, batch=5)),
    "multi-label": ("which digits are there, sigmoids for labels that go together", partial(
        images, net=wide_lenet, optimizer=partial(Adam, lr=0.003), data=two_digits, loss=nn.BCEWithLogitsLoss())),
    "segmentation": ("shape or ground, pixel by pixel", partial(
        images, net=lambda: segmenter(1), optimizer=partial(Adam, lr=0.003), data=masks,
        loss=nn.BCEWithLogitsLoss(), epochs=5)),
    "segmentation-classes": ("five classes of pixels", partial(
        images, net=lambda: segmenter(5), optimizer=partial(Adam, lr=0.003), data=kinds_of_pixels, epochs=10)),
}  # fmt: skip

for id, (words, build) in SOUND.items():
    program(f"HEALTHY-{id}", "", words)(partial(build))
