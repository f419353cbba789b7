"""Banks of filters that are known beforehand: Gabor functions and oriented derivatives, (U, kh, kw), each of norm 1.

    gabor   g(x, y) = exp(−(x'² + y'²) / 2σ²) · cos(2π x'/λ + φ)        x' = x cos θ + y sin θ,  σ = 0.56 λ (one octave)
    sobel   cos θ · S_x + sin θ · S_y        S_x = binomial ⊗ derivative of binomial; 3×3: [1 2 1]ᵀ [1 0 −1]

Sources: Gabor 1946; Daugman 1985 (two dimensions); Sobel and Feldman 1968; Freeman and Adelson 1991 (steered derivatives).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from convscope.errors import UsageError


def gabor(count: int, size: tuple[int, int]) -> tuple[Tensor, str]:
    """The bank, and in words what it has: both phases φ = 0, π/2 of each wavelength λ of each orientation θ. Mean 0.

    >>> bank, words = gabor(16, (7, 7))
    >>> tuple(bank.shape), words
    ((16, 7, 7), '4 orientations, wavelengths 3.0 and 6.0 px, phases 0° and 90°')
    """
    kh, kw = _at_least(3, size, "a Gabor function")
    lengths = [3.0 * 2**i for i in range(4) if 3 * 2**i < min(kh, kw)] or [3.0]
    turns = math.ceil(count / (2 * len(lengths)))
    y, x = torch.meshgrid(torch.arange(kh) - (kh - 1) / 2, torch.arange(kw) - (kw - 1) / 2, indexing="ij")
    bank: list[Tensor] = []
    for i in range(count):
        phase, wave, angle = i % 2, lengths[i // 2 % len(lengths)], math.pi * (i // (2 * len(lengths))) / turns
        along = x * math.cos(angle) + y * math.sin(angle)
        envelope = torch.exp(-(x**2 + y**2) / (2 * (0.56 * wave) ** 2))
        found = envelope * torch.cos(2 * math.pi * along / wave + phase * math.pi / 2)
        bank.append(found - envelope * (found.sum() / envelope.sum()))  # an even grating alone would pass brightness
    said = " and ".join(f"{n:.1f}" for n in lengths)
    return _unit(torch.stack(bank)), f"{turns} orientation{'s' * (turns > 1)}, wavelengths {said} px, phases 0° and 90°"


def sobel(count: int, size: tuple[int, int]) -> tuple[Tensor, str]:
    """The bank and its words: the derivative of a smoothed image in `count` directions, all around.

    >>> bank, _ = sobel(4, (3, 3))
    >>> (bank[0] / bank[0, 0, 0]).tolist()
    [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]
    """
    kh, kw = _at_least(2, size, "a derivative")
    rows, columns = _binomial(kh)[:, None] * _slope(kw), _slope(kh)[:, None] * _binomial(kw)
    angles = [2 * math.pi * i / count for i in range(count)]
    bank = torch.stack([math.cos(a) * rows / rows.norm() + math.sin(a) * columns / columns.norm() for a in angles])
    return _unit(bank), f"{count} directions"


def _binomial(n: int) -> Tensor:
    """1; 1 1; 1 2 1; …"""
    return torch.tensor([float(math.comb(n - 1, i)) for i in range(n)])


def _slope(n: int) -> Tensor:
    """The difference of neighbours of a binomial: 1 −1; 1 0 −1; 1 1 −1 −1; 1 2 0 −2 −1; …"""
    smooth = _binomial(n - 1)
    nothing = torch.zeros(1)
    return torch.cat([smooth, nothing]) - torch.cat([nothing, smooth])


def _at_least(least: int, size: tuple[int, int], what: str) -> tuple[int, int]:
    if min(size) < least:
        raise UsageError(f"{what} in a kernel of {size[0]}×{size[1]}", f"it needs {least}×{least} at least",
                         "choose another layer, or how=he")
    return size


def _unit(bank: Tensor) -> Tensor:
    return bank / bank.flatten(1).norm(dim=1)[:, None, None]
