"""Expected gradients (Erion, Janizek, Sturmfels, Lundberg, Lee 2021, "Improving performance of deep learning models with
axiomatic attribution priors and expected gradients").

    A = E over x' ~ D, α ~ U(0, 1) of  (x − x') · ∂S/∂x (x' + α(x − x'))  ≈  mean of n draws
    E[ΣA] = S(x) − E[S(x')]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope import data, inputs
from convscope.attributions import _map
from convscope.attributions._baseline import pixel_range
from convscope.errors import ShapeError
from convscope.fields import param, validate
from convscope.network import Network, print_of
from convscope.results import Heatmap
from convscope.run import Target

ENOUGH = 30  # draws for a standard error to be trusted: of fewer, four of them are passed by chance
Progress = Callable[[int, int, str], None]
Draw = Callable[[Tensor, torch.Generator], Tensor]  # image (C, H, W) -> a baseline like it


@dataclass(frozen=True)
class ExpectedGradients:
    """How much does each pixel add to the score, on the average over the images that this one could be held against?

    Integrated gradients over a distribution of baselines instead of one: the mean of `n` terms (x − x')·∂S/∂x, each at a
    random place on the way from a random x'. Baselines: images of a collection (`images`, or tensors given to the call), or
    the image itself under Gaussian noise, or uniform noise, both within the range of its pixels. The same draws for every
    image of a batch. Values (B, C, H, W), signed, in units of the score.

    Proof: completeness holds in expectation: the mean over draws of Σ(x − x')·∂S/∂x − (S(x) − S(x')), which is zero for
    infinitely many, with its standard error, both as shares of the largest |S(x) − S(x')| drawn; of the batch's worst image.

    Misleads: it says what differs from the baselines, and noise is unlike any image. Errors: UsageError, ShapeError,
    DataError. Source: Erion et al. 2021.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> ExpectedGradients(n=8)(net, ones(1, 1, 2, 2), Target("0", 0), baselines=ones(3, 1, 2, 2)).map.any().item()
    False
    """

    n: int = param(128, "draws", low=2)
    draw: str = param("gaussian", "baselines where no images are given: the image under Gaussian noise, or uniform noise",
                      choices=("gaussian", "uniform"))
    noise: float = param(0.5, "σ of the Gaussian noise", unit="share of the pixel range", low=0)
    images: str | None = param(None, "collection to draw baselines from: a folder, an archive, digits, faces, photos")
    seed: int = param(0, "of all draws", low=0)
    batch: int = param(16, "images per pass", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None,
                 baselines: Tensor | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W); `baselines` (N, C, H, W): in place of `images`."""
        at, x = _map.prepared(net, x)
        draw, said = self.source(net, x, baselines)
        scores = _map.scores(at, x, target, len(x))
        maps, offs = [], []
        for b, image in enumerate(x):
            generator = torch.Generator().manual_seed(self.seed)
            total = torch.zeros(image.shape, dtype=torch.float64, device=x.device)
            sums, gains = list[float](), list[float]()
            for start in range(0, self.n, self.batch):
                drawn = [(draw(image, generator), float(torch.rand((), generator=generator, dtype=torch.float64)))
                         for _ in range(min(self.batch, self.n - start))]
                away = torch.stack([one for one, _ in drawn])
                alphas = torch.tensor([alpha for _, alpha in drawn], dtype=x.dtype, device=x.device)[:, None, None, None]
                slopes = _map.gradient(at, away + alphas * (image - away), target)[0]
                terms = (image - away).double() * slopes.double()
                total += terms.sum(0)
                sums += terms.sum((1, 2, 3)).tolist()
                gains += (scores[b].double() - _map.scores(at, away, target, self.batch).double()).tolist()
                if progress is not None:
                    progress(b * self.n + start + len(drawn), len(x) * self.n, "gradients")
            maps.append((total / self.n).to(x.dtype))
            offs.append(completeness(np.array(sums), np.array(gains)))
        off, error = max(offs, key=lambda one: abs(one[0]) - 4 * one[1])
        proof: dict[str, float | str] = {"completeness difference": off, "its standard error": error}
        notes = [f"baselines: {said}"]
        if self.n >= ENOUGH and abs(off) > 4 * error + 1e-4:
            notes.insert(0, f"the promise fails: the sum is {off:+.1%} off, more than four standard errors of {error:.1%}")
        return _map.heatmap(net, self, x, target, torch.stack(maps), scores, unit="score", proof=proof, notes=tuple(notes))

    def source(self, net: Network, x: Tensor, given: Tensor | None) -> tuple[Draw, str]:
        """Where baselines come from, and in words. Errors: ShapeError."""
        if given is not None:
            several = _map.prepared(net, given)[1]
            if several.shape[1:] != x.shape[1:]:
                raise ShapeError(f"baselines must be as large as the images, {'×'.join(map(str, x.shape[1:]))}",
                                 f"got {'×'.join(map(str, several.shape[1:]))}", "resize them first")
            said = f"{len(several)} given images ({print_of(several)})"
            return lambda _, generator: several[_index(len(several), generator)], said
        if self.images is not None:
            collection, preprocess = data.open_collection(self.images), inputs.preprocess_of(net)[0]
            sized = inputs.sized(preprocess, tuple(x.shape[1:]))

            def one(image: Tensor, generator: torch.Generator) -> Tensor:
                pixels = collection[_index(len(collection), generator)]
                return torch.from_numpy(np.ascontiguousarray(sized(pixels))).to(image)

            return one, f"images of {collection.name} ({len(collection)}, drawn with replacement)"
        said = pixel_range(net, x[0])[2]
        if self.draw == "uniform":
            return lambda image, generator: self.noisy(net, image, generator), f"uniform noise over {said}"
        return (lambda image, generator: self.noisy(net, image, generator),
                f"the image under Gaussian noise, σ {self.noise:g} of {said}, clipped to it")

    def noisy(self, net: Network, image: Tensor, generator: torch.Generator) -> Tensor:
        """One baseline of noise (C, H, W)."""
        low, high = (v[:, None, None] for v in pixel_range(net, image)[:2])
        if self.draw == "uniform":
            return low + (high - low) * torch.rand(image.shape, generator=generator, dtype=torch.float64).to(image)
        noise = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)
        return (image + self.noise * (high - low) * noise).clamp(low, high)


def _index(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def completeness(sums: np.ndarray, gains: np.ndarray) -> tuple[float, float]:
    """Mean of `sums` − `gains` and its standard error, as shares of the largest gain."""
    differences, scale = sums - gains, float(np.abs(gains).max())
    if scale == 0:
        return float(differences.mean()), float(differences.std(ddof=1) / len(sums) ** 0.5)
    return float(differences.mean()) / scale, float(differences.std(ddof=1) / len(sums) ** 0.5) / scale
