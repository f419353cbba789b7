"""Filters from images without labels: k-means on whitened patches, and a convolutional autoencoder with tied weights.

    k-means       x̂ = (x − x̄)/√(var x + ε)   z = P (x̂ − m), P = V (D + ε)^−½ Vᵀ   c_k ← Σ z of its patches, to norm 1
                  filter = P c_k, its mean taken off: on a patch, its response is c_k · z up to the patch's contrast
    autoencoder   h = max(0, W * x̃ + b)   x̂ = Wᵀ * h + c   minimise |x̂ − x|²     x̃: 30 % of x put to 0, the rest /0.7

Both work on the input maps of any convolution. All that is random comes from torch's generator, which the caller seeds.

Sources: Coates, Lee and Ng 2011, "An analysis of single-layer networks in unsupervised feature learning"; Coates and Ng 2012
(updates on the sphere); Masci et al. 2011 (convolutional autoencoders); Vincent et al. 2008 (corrupted inputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import UsageError

ROUNDS = 20  # of k-means
CONTRAST = 0.01  # ε of the contrast, as a share of the mean variance of a patch
WHITENING = 0.1  # ε of the whitening, as a share of the mean eigenvalue
HIDDEN = 0.3  # share of values that the autoencoder does not see
SIDE = 48  # largest side of the pieces that the autoencoder is shown, px of its map


class Learned(NamedTuple):
    """What an autoencoder found."""

    weight: Tensor  # like that of the convolution
    bias: Tensor  # (U,)
    left: float  # share of the maps' variance that is not given back
    still: int  # filters that are less than twice as large as they were at random


def patches(maps: Tensor, module: nn.Conv2d, count: int) -> Tensor:
    """(N, C·kh·kw): about `count` windows of the maps (B, C, h, w) at random places, as many of each."""
    (kh, kw), (dh, dw), (_, _, h, w) = module.kernel_size, module.dilation, maps.shape
    tall, wide = h - dh * (kh - 1), w - dw * (kw - 1)
    if tall < 1 or wide < 1:
        raise UsageError(f"patches of {kh}×{kw} from maps of {h}×{w}", "they do not fit into one",
                         "choose another layer, or how=he")
    each = -(-count // len(maps))
    found: list[Tensor] = []
    for one in maps:
        top, left = torch.randint(tall, (each, 1, 1)), torch.randint(wide, (each, 1, 1))
        rows, columns = top + dh * torch.arange(kh)[:, None], left + dw * torch.arange(kw)
        found.append(one[:, rows, columns].transpose(0, 1).flatten(1))
    return torch.cat(found)[:count]


def k_means(x: Tensor, count: int, report: Callable[[int, int], None]) -> Tensor:
    """(U, n) filters of norm 1 for patches (N, n)."""
    if len(x) < count:
        raise UsageError(f"{count} filters by k-means", f"there are {len(x)} patches", "give more images, or more patches")
    x = x.double()
    x = x - x.mean(1, keepdim=True)
    spread = x.var(1, keepdim=True)
    if float(spread.mean()) < 1e-20:
        raise UsageError("filters by k-means", "every patch of these images is one flat value", "give other images")
    x = x / (spread + CONTRAST * spread.mean()).sqrt()
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    white = vectors @ torch.diag((values.clamp(min=0) + WHITENING * values.mean()) ** -0.5) @ vectors.T
    z = x @ white
    centres = F.normalize(torch.randn(count, z.shape[1], dtype=z.dtype))
    for i in range(ROUNDS):
        likeness = z @ centres.T
        nearest = likeness.argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        empty = torch.bincount(nearest, minlength=count) == 0
        sums[empty] = z[torch.randint(len(z), (int(empty.sum()),))]  # nobody's: begin again at a patch
        centres = F.normalize(sums)
        report(i + 1, ROUNDS)
    filters = centres @ white
    return F.normalize(filters - filters.mean(1, keepdim=True))


def autoencoder(maps: Tensor, module: nn.Conv2d, steps: int,
                report: Callable[[int, int], None]) -> Learned:
    """Train it by Adam on pieces of the maps (B, C, h, w), for a convolution like `module`."""
    how = _geometry(module)
    mean = maps.mean((0, 2, 3), keepdim=True)
    x = maps - mean
    spread = x.var()
    if float(spread) < 1e-20:
        raise UsageError("filters by an autoencoder", "these images are one flat value", "give other images")
    x = x / spread.sqrt()
    # a tenth of the spread with which Wᵀ max(0, W x) is as large as x: what is not learned stays small
    start = 0.1 * (2 / (len(module.weight) * module.kernel_size[0] * module.kernel_size[1])) ** 0.5
    weight = torch.empty_like(module.weight).normal_(0, start).requires_grad_()
    bias = torch.zeros(len(weight), dtype=x.dtype, device=x.device, requires_grad=True)
    shift = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias, shift], lr=0.01)

    def back(seen: Tensor) -> Tensor:
        h = F.conv2d(seen, weight, bias, *how).relu()
        return F.conv_transpose2d(h, weight, shift, how[0], how[1], _over(seen, module, how[1]), how[3], how[2])

    with torch.enable_grad():
        for i in range(steps):
            piece = _piece(x)
            lost = F.mse_loss(back(piece * (torch.rand_like(piece) >= HIDDEN) / (1 - HIDDEN)), piece)
            optimizer.zero_grad()
            lost.backward()
            optimizer.step()
            report(i + 1, steps)
    with torch.no_grad():
        left = float(sum(F.mse_loss(back(one[None]), one[None]) for one in x[:64]) / min(len(x), 64) / x[:64].var())
    found = weight.detach() / spread.sqrt()
    groups = mean.expand(1, -1, *module.kernel_size).reshape(module.groups, -1)  # what the mean of the maps would give
    constant = (found.flatten(1).reshape(module.groups, -1, groups.shape[1]) * groups[:, None]).sum(2).flatten()
    still = int((weight.detach().flatten(1).norm(dim=1) < 2 * start * weight[0].numel() ** 0.5).sum())
    return Learned(found, bias.detach() - constant, left, still)


def _geometry(module: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
    """Stride, padding, dilation, groups; 'same' in numbers."""
    padding, (dh, dw) = module.padding, module.dilation
    if isinstance(padding, str):
        kh, kw = module.kernel_size
        padding = (dh * (kh - 1) // 2, dw * (kw - 1) // 2) if padding == "same" else (0, 0)
    return module.stride, padding, module.dilation, module.groups  # type: ignore[return-value]


def _over(seen: Tensor, module: nn.Conv2d, padding: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns that the stride leaves over, so that the way back has the size of the way there."""
    found = [(n + 2 * p - d * (k - 1) - 1) % s for n, p, d, k, s in
             zip(seen.shape[2:], padding, module.dilation, module.kernel_size, module.stride, strict=True)]
    return found[0], found[1]


def _piece(x: Tensor) -> Tensor:
    """32 of the maps, a window of each where they are large."""
    chosen = x[torch.randint(len(x), (32,))]
    h, w = x.shape[2:]
    top, left = (int(torch.randint(max(n - SIDE, 0) + 1, ())) for n in (h, w))
    return chosen[..., top : top + SIDE, left : left + SIDE]
