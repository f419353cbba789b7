"""Unusual PyTorch: objectives without targets, policies, variational and contrastive losses, each faulty.

`fixed=True` builds the repaired program.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import digits, standard, table
from torch import Tensor, nn


class Coupling(nn.Module):
    """A small flow: gives log p(x) of every row under x -> z, z standard normal."""

    def __init__(self, width: int, layers: int = 3) -> None:
        super().__init__()
        self.half = width // 2
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(self.half, 32), nn.Tanh(), nn.Linear(32, 2 * self.half)) for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        log_det = x.new_zeros(len(x))
        for net in self.nets:
            a, b = x[:, : self.half], x[:, self.half :]
            shift, scale = net(a).chunk(2, dim=1)
            scale = torch.tanh(scale)
            x = torch.cat([b * torch.exp(scale) + shift, a], dim=1)
            log_det = log_det + scale.sum(1)
        return -0.5 * (x**2).sum(1) - 0.5 * x.shape[1] * math.log(2 * math.pi) + log_det


@case("UNSEEN-odd-flow-likelihood-sign", "P3", symptom="yes", about="objective -6.278 > -76.21, with the fix 6.044 > 4.005")
def flow_sign(seed: int, fixed: bool = False) -> Setup:
    x = torch.tensor(standard(table("iris", seed)[0]))
    model = Coupling(4)
    sign = -1.0 if fixed else 1.0
    return Setup(
        model,
        x,
        loss=lambda log_p: sign * log_p.mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        batch=32,
        epochs=15,
    )


class VAE(nn.Module):
    """Gives the reconstruction, the mean and the log variance side by side."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, width))

    def forward(self, x: Tensor) -> Tensor:
        mean, log_var = self.encoder(x).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean) if self.training else mean
        return torch.cat([self.decoder(z), mean, log_var], dim=1)


def elbo(weight: float):
    def loss(out: Tensor, x: Tensor) -> Tensor:
        rec, mean, log_var = out[:, :64], out[:, 64:72], out[:, 72:]
        kl = -0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp())
        return F.mse_loss(rec, x) + weight * kl

    return loss


@case(
    "UNSEEN-odd-vae-kl-summed", "O9", also=("P8",), symptom="yes", about="own metric -0.014, with the fix own metric 0.662"
)
def vae_kl(seed: int, fixed: bool = False) -> Setup:
    """The reconstruction is a mean over pixels and examples, the divergence a sum over the batch: the code collapses."""
    x = torch.tensor(digits(seed)[0]).flatten(1) / 16
    model = VAE(64, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    explained = lambda out, y: 1 - float(((out[:, :64] - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())  # noqa: E731
    return Setup(
        model,
        (x, x),
        loss=elbo(1 / 64 / 64 / 32 if fixed else 1.0),
        optimizer=optimizer,
        batch=32,
        epochs=15,
        metric=explained,
    )


@case("UNSEEN-odd-policy-gradient-sign", "P3", symptom="yes", about="own metric 0.003, with the fix 0.880")
def policy_sign(seed: int, fixed: bool = False) -> Setup:
    """A contextual bandit replayed from a log: (state; action, reward)."""
    rng = np.random.default_rng(seed)
    state, action = rng.normal(size=(800, 4)).astype("float32"), rng.integers(0, 3, 800)
    best = (state @ rng.normal(size=(4, 3))).argmax(1)
    y = torch.tensor(np.stack([action, (action == best) - 1 / 3], 1).astype("float32"))
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))

    def reinforce(logits: Tensor, taken: Tensor) -> Tensor:
        log_p = F.log_softmax(logits, dim=-1).gather(1, taken[:, :1].long()).squeeze(1)
        loss = (log_p * taken[:, 1]).mean()
        return -loss if fixed else loss

    return Setup(
        policy,
        (torch.tensor(state), y),
        loss=reinforce,
        optimizer=torch.optim.Adam(policy.parameters(), lr=3e-3),
        batch=64,
        epochs=12,
        metric=lambda out, t: float((out.argmax(1) == t[:, 0])[t[:, 1] > 0].float().mean()),
    )


class Actor(nn.Module):
    def __init__(self, soft: bool) -> None:
        super().__init__()
        self.body = nn.Linear(64, 48)
        self.head = nn.Linear(48, 10)
        self.soft = soft

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(torch.relu(self.body(x)))
        return F.softmax(x, dim=-1) if self.soft else x


@case("UNSEEN-odd-categorical-of-softmax", "O2", symptom="yes", about="accuracy 0.25, with the fix 0.904")
def categorical_softmax(seed: int, fixed: bool = False) -> Setup:
    """Behaviour cloning: `Categorical(logits=...)` over what has been through a softmax."""
    x, y = digits(seed, 800)
    model = Actor(not fixed)

    def nll(out: Tensor, action: Tensor) -> Tensor:
        return -torch.distributions.Categorical(logits=out).log_prob(action).mean()

    return Setup(
        model,
        (torch.tensor(x).flatten(1) / 16, torch.tensor(y)),
        loss=nll,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        batch=64,
        epochs=12,
    )


class Siamese(nn.Module):
    """The distance between the embeddings of two digits, stacked as channels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 16))

    def forward(self, pair: Tensor) -> Tensor:
        return F.pairwise_distance(self.embed(pair[:, :1]), self.embed(pair[:, 1:]))


def pairs(seed: int) -> tuple[Tensor, Tensor]:
    x, y = digits(seed, 500)
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 500, 800)
    right = np.array([rng.choice(np.flatnonzero((y == y[i]) if n % 2 else (y != y[i]))) for n, i in enumerate(left)])
    return torch.tensor(np.stack([x[left], x[right]], 1) / 16), torch.tensor((y[left] == y[right]).astype("float32"))


def contrastive(d: Tensor, different: Tensor) -> Tensor:
    return ((1 - different) * d**2 + different * F.relu(1.0 - d) ** 2).mean()


@case("UNSEEN-odd-siamese-same-is-one", "D6", symptom="yes", about="same or different right in .204, with the fix .995")
def siamese_labels(seed: int, fixed: bool = False) -> Setup:
    """Here 1 means 'same'; the loss of the paper has 1 for 'different'."""
    x, same = pairs(seed)
    model = Siamese()
    closer = lambda d, y: float(((d < 0.5).float() == (y if not fixed else 1 - y)).float().mean())  # noqa: E731
    return Setup(
        model,
        (x, 1 - same if fixed else same),
        loss=contrastive,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        batch=32,
        epochs=10,
        metric=closer,
    )


@case("UNSEEN-odd-siamese-sigmoid-logits", "O2", symptom="weak", about="accuracy 0.89, with the fix 0.961")
def siamese_sigmoid(seed: int, fixed: bool = False) -> Setup:
    x, same = pairs(seed)

    class Matcher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24))
            self.out = nn.Linear(24, 1)

        def forward(self, pair: Tensor) -> Tensor:
            a, b = self.embed(pair[:, 0]), self.embed(pair[:, 1])
            score = self.out(torch.abs(a - b)).squeeze(-1)
            return score if fixed else torch.sigmoid(score)

    model = Matcher()
    return Setup(
        model, (x, same), loss=nn.BCEWithLogitsLoss(), optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), epochs=12
    )


@case("UNSEEN-odd-generator-detached", "P7", symptom="yes", about="objective 0.5931 > 0.5931, with the fix 0.6396 > 0.2275")
def generator_detached(seed: int, fixed: bool = False) -> Setup:
    """The generator of a GAN against a discriminator that stands still; its samples are detached on the way."""
    noise = torch.randn(512, 8, generator=torch.Generator().manual_seed(seed))
    generator = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def fool(sample: Tensor) -> Tensor:
        score = critic(sample if fixed else sample.detach())
        return F.binary_cross_entropy_with_logits(score, torch.ones_like(score))

    return Setup(
        generator, noise, loss=fool, optimizer=torch.optim.Adam(generator.parameters(), lr=2e-3), batch=64, epochs=15
    )
