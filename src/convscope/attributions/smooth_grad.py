"""SmoothGrad (Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, "SmoothGrad: removing noise by adding noise").

    A = 1/n · Σᵢ ∂S/∂x (x + σ·εᵢ),   εᵢ ~ N(0, 1),   σ = noise · (max x − min x)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.attributions import _map
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class SmoothGrad:
    """Which pixels would change the score, on the average over images that look the same?

    The mean of `n` gradients at the image with Gaussian noise added; σ is a share of the image's own range, as in the paper
    (10 to 20 %). Nothing is clipped. Signed (the paper's figures show absolute values). The same seed gives the same noise
    to every image, whatever else is in its batch. Values (B, C, H, W), in score per input unit.

    Proof: the standard error of the mean, as a share of the map: √(Σ SE²) / √(Σ A²), the largest of the batch. It falls
    with √n.

    Misleads where noise takes the image to where the network was never trained, and its answer is another. Errors:
    UsageError, ShapeError, DataError. Source: Smilkov et al. 2017.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> SmoothGrad(n=8)(net, ones(1, 1, 2, 2), Target("0", 0)).proof["standard error, share of the map"]
    0.0
    """

    n: int = param(50, "noisy images", low=2)
    noise: float = param(0.15, "σ of the noise", unit="share of the image's range", low=0)
    seed: int = param(0, "of the noise", low=0)
    batch: int = param(16, "images per pass", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'gradients')` may raise to stop."""
        at, x = _map.prepared(net, x)
        maps, errors, notes = [], [], list[str]()
        scores = _map.scores(at, x, target, len(x))
        for b, image in enumerate(x):
            sigma = self.noise * (image.max() - image.min())
            if self.noise > 0 and sigma == 0:
                notes.append(f"image {b} has one value only: its range is zero, and no noise was added")
            first = torch.zeros(image.shape, dtype=torch.float64, device=x.device)
            total, squares = first.clone(), first.clone()
            generator = torch.Generator().manual_seed(self.seed)
            for start in range(0, self.n, self.batch):
                count = min(self.batch, self.n - start)
                # One by one, so that the numbers do not depend on how many images go into a pass.
                noise = torch.stack([torch.randn(image.shape, generator=generator, dtype=torch.float64)
                                     for _ in range(count)])
                slopes = _map.gradient(at, image + sigma * noise.to(x), target)[0].double()
                first = slopes[0] if start == 0 else first
                away = slopes - first  # the deviations' squares: of equal slopes exactly zero
                total, squares = total + away.sum(0), squares + away.square().sum(0)
                if progress is not None:
                    progress(b * self.n + start + count, len(x) * self.n, "gradients")
            mean = first + total / self.n
            variance = ((squares - total.square() / self.n) / (self.n - 1)).clamp_min(0)
            size = float(mean.norm())
            errors.append(float((variance / self.n).sum().sqrt()) / size if size > 0 else 0.0)
            maps.append(mean.to(x.dtype))
        proof: dict[str, float | str] = {"standard error, share of the map": max(errors)}
        if max(errors) > 0.5:
            notes.append(f"the mean of {self.n} is still uncertain by {max(errors):.0%}: take more")
        return _map.heatmap(net, self, x, target, torch.stack(maps), scores, unit="score per input unit", proof=proof,
                            notes=tuple(notes))
