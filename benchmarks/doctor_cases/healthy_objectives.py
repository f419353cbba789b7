"""Sound programs without labels, and sound programs with loops of their own: all of them learn.

A loss that is an objective of the output alone, f(output), has an unused target with a default, so that it can be called
with one or with two arguments. Where the score is not an accuracy, `metric` says what has been learned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import digits
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import lenet, loader, mlp
from torch import Tensor, nn
from torch.nn import functional as F

Adam = torch.optim.Adam


def flat(seed: int) -> tuple[Tensor, Tensor]:
    """Digits as rows of 64 values in 0..1, for training and held out."""
    (x, _), (held, _) = digits(seed)
    return x.flatten(1) / 255, held.flatten(1) / 255


class Variational(nn.Module):
    """A variational autoencoder (Kingma and Welling 2014): reconstruction, mean, log variance in a row of 64 + 4 + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = mlp(64, 64, 8), mlp(4, 64, 64, last=(nn.Sigmoid(),))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64) to (B, 72)."""
        mean, logvar = self.encode(x).chunk(2, dim=1)
        code = mean + (logvar / 2).exp() * torch.randn_like(mean) if self.training else mean
        return torch.cat([self.decode(code), mean, logvar], dim=1)


def evidence(output: Tensor, target: Tensor) -> Tensor:
    """The negative evidence lower bound: binary cross-entropy of the pixels plus the divergence from a unit normal."""
    pixels, mean, logvar = output.split((64, 4, 4), dim=1)
    divergence = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(1).mean()
    return F.binary_cross_entropy(pixels, target, reduction="none").sum(1).mean() + divergence


def explained(output: Tensor, target: Tensor) -> float:
    """R² of the pixels that are reconstructed."""
    rest = (output[:, : target.shape[1]] - target).square().mean()
    return float(1 - rest / (target - target.mean(0)).square().mean())


def reconstruction(seed: int, net: Callable[[], nn.Module], loss: Any, *, noise: float = 0.0, epochs: int = 20) -> Setup:
    """A program whose target is its input."""
    torch.manual_seed(seed)
    x, held = flat(seed)
    seen = x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    model = net()
    return Setup(model, (seen, x), (held, held), loss, Adam(model.parameters(), 0.003), 32, epochs, metric=explained)


class Objective:
    """An objective of the output alone; the target, if there is one, is not looked at."""

    def __init__(self, value: Callable[[Tensor], Tensor]) -> None:
        self.value = value

    def __call__(self, output: Tensor, target: Tensor | None = None) -> Tensor:  # noqa: ARG002 - see the class
        """The objective of a batch."""
        return self.value(output)


def decorrelated(output: Tensor) -> Tensor:
    """How far the outputs are from unit variance and from being uncorrelated, as a mean over pairs of units."""
    centred = output - output.mean(0)
    covariance = centred.T @ centred / (len(output) - 1)
    return (covariance - torch.eye(output.shape[1])).square().mean()


def sharp_and_even(output: Tensor) -> Tensor:
    """Clustering by information: sure about each row, even over all of them (Krause et al. 2010)."""
    shares = output.softmax(1)
    even = shares.mean(0)
    return -(shares * shares.clamp(min=1e-9).log()).sum(1).mean() + (even * even.clamp(min=1e-9).log()).sum()


def on_output(seed: int, net: Callable[[], nn.Module], value: Callable[[Tensor], Tensor], *, rate: float = 0.003) -> Setup:
    """A program whose loss is f(output)."""
    torch.manual_seed(seed)
    x, held = flat(seed)
    x, held = (x - x.mean(0)) / (x.std(0) + 0.05), (held - x.mean(0)) / (x.std(0) + 0.05)
    model = net()
    return Setup(model, (x, x), (held, held), Objective(value), Adam(model.parameters(), rate), 64, 15)


def alike(output: Tensor, target: Tensor) -> Tensor:
    """InfoNCE between a row's code and that of its twin, a linear code of the other view (Oord et al. 2018)."""
    near = F.normalize(output, dim=1) @ F.normalize(target, dim=1).T / 0.2
    return F.cross_entropy(near, torch.arange(len(output)))


def contrastive(seed: int) -> Setup:
    """Codes of the left halves are to find those of their right halves, which are fixed random projections."""
    torch.manual_seed(seed)
    x, held = (part.view(-1, 8, 8) for part in flat(seed))
    project = torch.randn(32, 16, generator=torch.Generator().manual_seed(seed)) / 4
    middle = x[:, :, 4:].flatten(1).mean(0)
    views, beside = (((part[:, :, 4:].flatten(1) - middle) @ project) for part in (x, held))
    model = mlp(32, 64, 16)

    def found(output: Tensor, target: Tensor) -> float:
        near = F.normalize(output, dim=1) @ F.normalize(target, dim=1).T
        beaten = (near > near.diag()[:, None]).float().mean(1)
        return float(1 - 2 * beaten.mean())

    sides = (x[:, :, :4].flatten(1), views), (held[:, :, :4].flatten(1), beside)
    return Setup(model, *sides, alike, Adam(model.parameters(), 0.003), 64, 20, metric=found)


class ForwardForward(nn.Module):
    """Two layers, each of which is trained on its own goodness: the mean square of its outputs (Hinton 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(74, 100), nn.Linear(100, 100)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 74) to the goodness of both layers (B, 2); no gradient passes from the second to the first."""
        one = F.relu(self.first(F.normalize(x, dim=1) * 8))
        two = F.relu(self.second(F.normalize(one, dim=1).detach() * 10))
        return torch.stack([one.square().mean(1), two.square().mean(1)], dim=1)


def goodness(output: Tensor, target: Tensor) -> Tensor:
    """High for rows of the right label (1), low for others (0), by a threshold of 1."""
    return F.softplus((1 - 2 * target) * (output - 1)).mean()


def forward_forward(seed: int) -> Setup:
    """Digits with their right label and with a wrong one painted beside them; labels (N, 1)."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = digits(seed)
    rng = torch.Generator().manual_seed(seed)

    def painted(images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        wrong = (classes + torch.randint(1, 10, (len(classes),), generator=rng)) % 10
        both = torch.cat([F.one_hot(classes, 10), F.one_hot(wrong, 10)]) * 1.0
        right = torch.cat([torch.ones(len(classes), 1), torch.zeros(len(classes), 1)])
        return torch.cat([both, images.flatten(1).repeat(2, 1) / 255], dim=1), right

    def told(output: Tensor, target: Tensor) -> float:
        return float(((output.mean(1) > 1) == target[:, 0].bool()).float().mean())

    model = ForwardForward()
    return Setup(model, painted(x, y), painted(held, labels), goodness, Adam(model.parameters(), 0.01), 64, 40, metric=told)


def adversarial(seed: int) -> Setup:
    """A generative adversarial network (Radford et al. 2016, small); the model is the generator, its input is noise."""
    torch.manual_seed(seed)
    (x, _), _ = digits(seed)
    generator = nn.Sequential(
        nn.Linear(16, 128), nn.ReLU(), nn.Unflatten(1, (32, 2, 2)), nn.ConvTranspose2d(32, 16, 4, 2, 1),
        nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(128, 1),
    )  # fmt: skip
    maker, judge = (Adam(net.parameters(), 0.002, betas=(0.5, 0.999)) for net in (generator, critic))
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(x), 16, generator=rng)
    data = loader(x / 127.5 - 1, noise, seed, 64)

    def loss(output: Tensor, target: Tensor | None = None) -> Tensor:  # noqa: ARG001 - an objective of the output
        return F.softplus(-critic(output)).mean()

    def loop() -> None:
        for _ in range(20):
            for real, codes in data:
                made = generator(codes)
                judge.zero_grad()
                (F.softplus(-critic(real)).mean() + F.softplus(critic(made.detach())).mean()).backward()
                judge.step()
                maker.zero_grad()
                loss(made).backward()
                maker.step()

    middle = (x / 127.5 - 1).mean(0)

    def likeness(output: Tensor, _: Tensor) -> float:
        return float(1 - (output.mean(0) - middle).square().mean() / middle.var())

    return Setup(generator, (noise, noise), None, loss, maker, 64, 20, metric=likeness, loop=loop)


def looped(seed: int, *, pieces: int = 1, kind: torch.dtype | None = None, clip: float = 0.0, order: str = "usual") -> Setup:
    """A LeNet in a loop of its own: gradients summed over `pieces`, another precision, clipping, or zero_grad at the end."""
    torch.manual_seed(seed)
    (x, y), (held, labels) = digits(seed)
    model = lenet()
    optimizer = Adam(model.parameters(), 0.003)
    data = loader(x / 255, y, seed, 32 // pieces)

    def loop() -> None:
        for _ in range(10):
            model.train()
            for at, (images, classes) in enumerate(data):
                if order == "usual" and at % pieces == 0:
                    optimizer.zero_grad()
                with torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None):
                    loss = F.cross_entropy(model(images).float(), classes) / pieces
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                if at % pieces == pieces - 1:
                    optimizer.step()
                    if order != "usual":
                        optimizer.zero_grad()
            model.eval()
            with torch.no_grad():
                model(held / 255)

    return Setup(model, data, (held / 255, labels), F.cross_entropy, optimizer, 32 // pieces, 10, loop=loop)


SOUND: dict[str, tuple[str, Any]] = {
    "PTEX-variational-autoencoder": ("evidence lower bound", partial(reconstruction, net=Variational, loss=evidence)),
    "PTEX-DCGAN": ("two optimisers, a loop of its own", adversarial),
    "PTEX-forward-forward": ("layers trained one by one, cut from each other on purpose", forward_forward),
    "autoencoder": ("64 > 8 > 64, MSE", partial(reconstruction, net=lambda: mlp(64, 32, 8, 32, 64), loss=F.mse_loss)),
    "denoising-autoencoder": ("noise .2 in the input", partial(
        reconstruction, net=lambda: mlp(64, 48, 64, last=(nn.Sigmoid(),)), loss=F.mse_loss, noise=0.2)),
    "decorrelation": ("f(output): unit variance, no correlation", partial(
        on_output, net=lambda: mlp(64, 64, 8, activation=nn.Tanh), value=decorrelated)),
    "clustering": ("f(output): sure and even", partial(on_output, net=lambda: mlp(64, 32, 5), value=sharp_and_even)),
    "contrastive": ("InfoNCE between two halves", contrastive),
    "accumulation": ("gradients of four small batches summed", partial(looped, pieces=4)),
    "bfloat16": ("autocast to bfloat16", partial(looped, kind=torch.bfloat16)),
    "clipping": ("clipped at 5", partial(looped, clip=5.0)),
    "clearing-last": ("zero_grad after step", partial(looped, order="last")),
}  # fmt: skip

for id, (words, build) in SOUND.items():
    program(f"HEALTHY-{id}", "", words)(partial(build))
