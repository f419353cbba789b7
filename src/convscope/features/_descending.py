"""Four ways down from a random image: E(c) + w·prior(c), images held within black and white.

    momentum   μ ← 0.9 μ − η D ∇,  c ← c + μ;  η falls tenfold at ½, ¾ and ⅞ of the steps   Mahendran and Vedaldi 2015
    adam       Kingma and Ba 2015, its rate falling to 0 as a half cosine
    fourier    the same on coefficients z: c = F⁻¹(S z), S ∝ 1/max(f, 1/max(H, W)) of mean square 1, f in cycles/px, so that
               coarse structure moves first (Olah, Mordvintsev, Schubert 2017)
    l-bfgs     Liu and Nocedal 1989 with a strong Wolfe search, begun anew STAGES times; a step is one gradient

D entries of c: the paper's image has norm 1, which makes steps of c = x·√D that much longer.

w = min(1, FADE·E) follows the error down: a prior decides where the layer does not, and does not keep E from reaching 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convscope.synthesis.image import frequencies

FADE = 5.0
STAGES = 5
MOMENTUM = 0.9


@dataclass
class Descent:
    """What is minimised: `error` and `prior` of centred images c, which stay within `low` … `high`."""

    error: Callable[[Tensor], Tensor]
    prior: Callable[[Tensor], Tensor]
    low: Tensor
    high: Tensor
    fade: bool
    report: Callable[[int], None]
    errors: list[float] = field(default_factory=list[float])  # E at every step
    weight: float = 1.0

    def __call__(self, c: Tensor, search: str, steps: int, rate: float) -> Tensor:
        """The image after `steps` gradients; L-BFGS ends the line that it has begun, a few later."""
        c = c.clamp(self.low, self.high)
        if search == "fourier":
            return self._in_frequencies(c, steps, rate)
        c.requires_grad_()
        if search == "l-bfgs":
            ends = [round(steps * (k + 1) / STAGES) for k in range(STAGES)]
            for end in ends:
                self._newton(c, end)
        else:
            self._step_by_step(c, search, steps, rate)
        return c.detach()

    def loss(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """The objective and its gradient; counts as a step."""
        with torch.enable_grad():
            error = self.error(c)
            total = error + self.weight * self.prior(c)
            (gradient,) = torch.autograd.grad(total, c)
        self.errors.append(float(error.detach()))
        self.report(len(self.errors))
        return total.detach(), gradient

    def _step_by_step(self, c: Tensor, search: str, steps: int, rate: float) -> None:
        made = torch.optim.Adam([c], lr=rate) if search == "adam" else torch.optim.SGD([c], lr=rate, momentum=MOMENTUM)
        for step in range(steps):
            fall = _cosine(step, steps) if search == "adam" else 10.0 ** -_falls(step, steps)
            made.param_groups[0]["lr"] = rate * fall * (c.numel() if search == "momentum" else 1)
            self._follow()
            c.grad = self.loss(c)[1]
            made.step()
            self._hold(c)

    def _in_frequencies(self, c: Tensor, steps: int, rate: float) -> Tensor:
        """Adam on Fourier coefficients; what leaves black or white is brought back."""
        size = (c.shape[2], c.shape[3])
        scale = frequencies(*size).clamp(min=1 / max(size)) ** -1.0
        scale = (scale / scale.square().mean().sqrt()).to(c)
        z = _coefficients(c, scale).requires_grad_()
        made, held = torch.optim.Adam([z], lr=rate), c
        for step in range(steps):
            made.param_groups[0]["lr"] = rate * _cosine(step, steps)
            self._follow()
            with torch.enable_grad():
                shown = _image(z, scale, size)
            _, gradient = self.loss(shown.detach().requires_grad_())
            (z.grad,) = torch.autograd.grad(shown, z, gradient)
            made.step()
            with torch.no_grad():
                c = _image(z, scale, size)
                held = c.clamp(self.low, self.high)
                if not torch.equal(held, c):
                    z.copy_(_coefficients(held, scale))
        return held

    def _newton(self, c: Tensor, end: int) -> None:
        """Go on until `end` gradients were taken in all."""
        self._follow()
        while len(self.errors) < end:
            left = end - len(self.errors)
            made = torch.optim.LBFGS([c], max_iter=left, max_eval=left, history_size=20, line_search_fn="strong_wolfe",
                                     tolerance_change=0, tolerance_grad=0)

            def closure() -> Tensor:
                total, c.grad = self.loss(c)
                return total

            before = len(self.errors)
            made.step(closure)  # pyright: ignore[reportArgumentType]
            self._hold(c)
            if len(self.errors) == before + 1:
                break  # no gradient, or no way down along it

    def _follow(self) -> None:
        if self.fade and self.errors:
            self.weight = min(1.0, FADE * self.errors[-1])

    def _hold(self, c: Tensor) -> None:
        with torch.no_grad():
            c.clamp_(self.low, self.high)


def _cosine(step: int, steps: int) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def _coefficients(c: Tensor, scale: Tensor) -> Tensor:
    """z (B, C, H, W//2 + 1, 2) of images c (B, C, H, W)."""
    return torch.view_as_real(torch.fft.rfft2(c, norm="ortho") / scale).contiguous()


def _image(z: Tensor, scale: Tensor, size: tuple[int, int]) -> Tensor:
    """c of coefficients z."""
    return torch.fft.irfft2(torch.view_as_complex(z) * scale, s=size, norm="ortho")


def _falls(step: int, steps: int) -> int:
    """How often the rate has fallen: after ½, ¾ and ⅞."""
    return sum(step >= steps * share for share in (1 / 2, 3 / 4, 7 / 8))
