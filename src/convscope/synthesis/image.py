"""What an optimisation changes: the numbers that an image is made from. Every image lies within 0 … 1.

    pixels     s = σ(M r),  r ~ N(0, 0.01²)
    fourier    r = ¼ · F⁻¹(z · √…/max(f, 1/max(H, W)))      F⁻¹: unitary inverse real Fourier transform, f in cycles/px
    phase      r = F⁻¹(|natural| · e^{iφ}); only φ is changed, |natural| is that of real images or 1/f

M: colours that go together (`colours`). Sources: Olah, Mordvintsev, Schubert 2017 (fourier); Fel et al. 2023 (phase: MACO).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import UsageError
from convscope.images import Preprocess
from convscope.synthesis.colours import Colours

KINDS = ("fourier", "pixels", "phase")
START = 0.01  # standard deviation of what a search starts from


@dataclass(frozen=True)
class Image:
    """A way to make images (B, C, H, W) within 0 … 1 from parameters that start at random."""

    kind: str
    size: tuple[int, int]
    colours: Colours
    decay: float = 1.0  # fourier: how much stronger low frequencies move
    magnitude: NDArray[Any] | None = field(default=None, compare=False)  # phase: (C, H, W//2 + 1) of real images

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"an image made from {self.kind!r}", f"there are {', '.join(KINDS)}", "choose one")

    @property
    def channels(self) -> int:
        return len(self.colours.mean)

    def start(self, generators: list[torch.Generator]) -> Tensor:
        """(B, …) parameters, one generator an image, so that none depends on the others."""
        h, w = self.size
        shape = (self.channels, h, w) if self.kind == "pixels" else (self.channels, h, w // 2 + 1, 2)
        if self.kind == "phase":
            return torch.stack([torch.rand(shape[:-1], generator=g) * (2 * torch.pi) for g in generators])
        return torch.stack([torch.randn(shape, generator=g) * START for g in generators])

    def make(self, parameters: Tensor) -> Tensor:
        """(B, C, H, W) within 0 … 1; differentiable."""
        matrix = torch.from_numpy(self.colours.matrix).to(parameters)
        if self.kind == "pixels":
            raw = parameters
        elif self.kind == "fourier":
            spectrum = torch.view_as_complex(parameters) * (self._scale(parameters) / 4)
            raw = torch.fft.irfft2(spectrum, s=self.size, norm="ortho")
        else:
            raw = torch.fft.irfft2(torch.polar(self._magnitude(parameters), parameters), s=self.size, norm="ortho")
            raw = 2 * (raw - raw.mean((2, 3), keepdim=True)) / (raw.std((2, 3), keepdim=True) + 1e-6)
            return torch.sigmoid(raw)
        return torch.sigmoid(torch.einsum("bchw,dc->bdhw", raw, matrix))

    def of(self, images: Tensor) -> Tensor:
        """Parameters from which `make` makes these images again (B, C, H, W within 0 … 1), away from pure black and white.

        Not for 'phase', whose images have a spectrum of their own.
        """
        if self.kind == "phase":
            raise UsageError("starting a phase-only search from an image", "its spectrum is not the image's", "use fourier")
        logits = torch.logit(images.clamp(0.01, 0.99))
        raw = torch.einsum("bdhw,cd->bchw", logits, torch.linalg.inv(torch.from_numpy(self.colours.matrix).to(images)))
        if self.kind == "pixels":
            return raw
        spectrum = torch.fft.rfft2(raw * 4, norm="ortho")
        return torch.view_as_real(spectrum / self._scale(images)).contiguous()

    def _scale(self, like: Tensor) -> Tensor:
        """(H, W//2 + 1): how far one step moves each frequency."""
        return _falling(*self.size, self.decay).to(like)

    def _magnitude(self, like: Tensor) -> Tensor:
        """(C, H, W//2 + 1)"""
        if self.magnitude is not None:
            return torch.from_numpy(np.asarray(self.magnitude)).to(like)
        return self._scale(like).expand(self.channels, -1, -1)


@functools.lru_cache(maxsize=8)
def _falling(h: int, w: int, decay: float) -> Tensor:
    """1/max(f, 1/max(H, W))^decay, kept: it is asked for at every step."""
    return frequencies(h, w).clamp(min=1 / max(h, w)) ** -decay


def frequencies(h: int, w: int) -> Tensor:
    """(H, W//2 + 1) cycles per pixel of a real Fourier transform."""
    return torch.sqrt(torch.fft.fftfreq(h)[:, None] ** 2 + torch.fft.rfftfreq(w)[None] ** 2)


def spectrum(images: NDArray[np.floating]) -> NDArray[np.float32]:
    """(C, H, W//2 + 1): the mean magnitude of the Fourier transforms of images (N, C, H, W), taken of their logits."""
    clipped = np.clip(images, 0.01, 0.99)
    return np.abs(np.fft.rfft2(np.log(clipped / (1 - clipped)), norm="ortho")).mean(0).astype(np.float32)


class Reading:
    """From images within 0 … 1 to what a network reads, differentiable: x[c] = (s[c]·range − mean[c]) / std[c]."""

    def __init__(self, preprocess: Preprocess, channels: int) -> None:
        white = preprocess.range
        spread = lambda values: torch.tensor(np.broadcast_to(values, (channels,)).copy(), dtype=torch.float32)  # noqa: E731
        self.scale = (white / spread(preprocess.std)).reshape(1, -1, 1, 1)
        self.shift = (-spread(preprocess.mean) / spread(preprocess.std)).reshape(1, -1, 1, 1)
        self.flip = preprocess.channels == "BGR"

    def __call__(self, s: Tensor) -> Tensor:
        s = s.flip(1) if self.flip else s
        return s * self.scale.to(s) + self.shift.to(s)
