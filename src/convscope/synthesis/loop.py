"""The ascent: images that make objectives large.

    θ ← θ + Adam(∂ score(network(shake(image(θ)))) / ∂θ)

Every image has its own random numbers (`seed` and its name), and its gradient has nothing from the others, so that it does
not depend on which others share its batch; batches are of one size, because convolutions round otherwise with another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import GraphModule

from convscope.errors import UsageError
from convscope.network import Network
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.objective import Objective, Place, Seen
from convscope.synthesis.redirect import redirected
from convscope.synthesis.shake import Shake

Progress = Callable[[int, int, str], None]
RECOVERY = 16  # steps in which a blocked image may take the redirected gradient
DECAYS, TINY = (0.9, 0.999), 1e-8  # Adam's own


@dataclass(frozen=True)
class Wanted:
    """One picture, or several `variants` of it that may be told to differ."""

    name: str  # what it is called; with the seed it decides its random numbers
    objective: Objective
    variants: int = 1


@dataclass(frozen=True)
class Found:
    """What an ascent came to."""

    images: Tensor  # (B, C, H, W) within 0 … 1
    scores: Tensor  # (steps, B) the objective at each step, on the shaken image
    blocked: tuple[int, ...]  # images that no gradient ever reached
    recovered: tuple[int, ...]  # images that were blocked at first
    frames: tuple[Tensor, ...] = ()  # images on the way


@dataclass(frozen=True)
class Ascent:
    """How images are optimised. `read`: from images within 0 … 1 to what the networks read."""

    nets: tuple[Network, ...]
    image: Image
    read: Reading
    shake: Shake = field(default_factory=Shake)
    steps: int = 256
    rate: float = 0.05
    seed: int = 0
    batch: int = 8
    every: int = 0  # keep a frame every so many steps; 0: none
    start: Tensor | None = None  # (1, C, H, W) within 0 … 1: what to start from
    settle: float = 0.25  # the last share of the steps, in which the moves shrink to nothing: a picture is shown unmoved

    def __call__(self, wanted: Sequence[Wanted], progress: Progress | None = None) -> Found:
        """All pictures, one after the other as `wanted` names them."""
        if not wanted:
            raise UsageError("an ascent without objectives", "nothing is to grow", "name a unit")
        groups = self._groups(wanted)
        done: list[Found] = []
        for number, group in enumerate(groups):
            report = None if progress is None else (
                lambda step, n=number: progress(n * self.steps + step, len(groups) * self.steps, "steps")
            )
            done.append(self._climb(group, report))
        sizes = [sum(w.variants for w in group) for group in groups]
        offsets = [sum(sizes[:i]) for i in range(len(sizes))]
        count = sum(w.variants for w in wanted)  # the last group may have been filled up
        join = lambda parts: torch.cat(parts)[:count]  # noqa: E731
        gather = lambda name: tuple(  # noqa: E731
            i + o for f, o in zip(done, offsets, strict=True) for i in getattr(f, name) if i + o < count
        )
        frames = tuple(join(list(parts)) for parts in zip(*(f.frames for f in done), strict=True))
        return Found(join([f.images for f in done]), torch.cat([f.scores for f in done], 1)[:, :count],
                     gather("blocked"), gather("recovered"), frames)

    def _groups(self, wanted: Sequence[Wanted]) -> list[list[Wanted]]:
        """Batches of one size: a last one that is smaller is filled up with what is there already."""
        most = max(1, self.batch // max(w.variants for w in wanted))
        if len(wanted) <= most:
            return [list(wanted)]
        groups = [list(wanted[i : i + most]) for i in range(0, len(wanted), most)]
        groups[-1] += [groups[-1][-1]] * (most - len(groups[-1]))
        return groups

    def _climb(self, group: Sequence[Wanted], report: Callable[[int], None] | None) -> Found:
        generators = [generator(self.seed, f"{w.name}#{i}") for w in group for i in range(w.variants)]
        cuts = self._cuts(group)
        theta = self.image.start(generators)
        if self.start is not None:
            theta = theta + self.image.of(self.start)
        theta = theta.requires_grad_()
        first, second = torch.zeros_like(theta), torch.zeros_like(theta)
        scores: list[Tensor] = []
        frames: list[Tensor] = []
        reached = torch.zeros(len(generators), dtype=torch.bool)
        recovered = torch.zeros(len(generators), dtype=torch.bool)
        for step in range(1, self.steps + 1):
            shake = self.shake.times(min(1.0, (self.steps - step) / max(self.settle * self.steps, 1)))
            maps = torch.stack([shake.draw(g, self.image.size) for g in generators])
            score, gradient = self._gradient(cuts, group, theta, maps)
            arrives = gradient.flatten(1).abs().amax(1) > 0
            if step <= RECOVERY and not arrives.all():
                _, other = self._gradient([c.redirected() for c in cuts], group, theta, maps)
                gradient = torch.where(arrives.reshape(-1, *[1] * (gradient.ndim - 1)), gradient, other)
                recovered |= ~arrives & (other.flatten(1).abs().amax(1) > 0)
            reached |= arrives
            scores.append(score)
            with torch.no_grad():
                first.lerp_(gradient, 1 - DECAYS[0])
                second.lerp_(gradient.square(), 1 - DECAYS[1])
                scale = (second / (1 - DECAYS[1] ** step)).sqrt_().add_(TINY)
                theta.addcdiv_(first, scale, value=self.rate / (1 - DECAYS[0] ** step))
                if self.every and step % self.every == 0:
                    frames.append(self.image.make(theta).detach())
            if report is not None:
                report(step)
        with torch.no_grad():
            made = self.image.make(theta).detach()
        blocked = tuple(int(i) for i in (~reached).nonzero()[:, 0])
        again = tuple(int(i) for i in (recovered & reached).nonzero()[:, 0])
        return Found(made, torch.stack(scores), blocked, again, tuple(frames))

    def _cuts(self, group: Sequence[Wanted]) -> list[_Network]:
        places = sorted(frozenset().union(*(w.objective.places() for w in group)))
        numbers = sorted({place.network for place in places})
        return [_Network(n, Cut(self.nets[n], [p.layer for p in places if p.network == n])) for n in numbers]

    def _gradient(
        self, cuts: Sequence[_Network], group: Sequence[Wanted], theta: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores (B,) and ∂(−Σ scores)/∂θ, turned to ascend."""
        with torch.enable_grad():
            x = self.read(self.shake(self.image.make(theta), maps))
            values = {Place(one.number, k): v for one in cuts for k, v in one(x).items()}
            seen, at, scores = Seen(self.nets, values, self.image.size), 0, list[Tensor]()
            for w in group:
                scores.append(w.objective.score(seen.some(at, at + w.variants)))
                at += w.variants
            score = torch.cat(scores)
            (gradient,) = torch.autograd.grad(-score.sum(), theta)
        return score.detach(), -gradient


@dataclass
class _Network:
    """One network's cut, and its twin with redirected rectifiers."""

    number: int
    cut: Cut
    graph: GraphModule | None = None
    twin: _Network | None = None

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        return self.cut(x.to(self.cut.net.device, self.cut.net.dtype), self.graph)

    def redirected(self) -> _Network:
        if self.twin is None:
            self.twin = _Network(self.number, self.cut, redirected(self.cut.graph))
        return self.twin


def generator(seed: int, name: str) -> torch.Generator:
    """A generator of its own for every picture; hashed, for torch's generator looks at the lower 32 bits of a seed only."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
