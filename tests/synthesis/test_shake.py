"""Moving an image: exact where it can be, and the same as one move after the other.

Turns red: in `shake.Shake.draw`, `cos * dx + sin * dy` -> `cos * dx - sin * dy`; in `__call__`, drop `- GREY`.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import UsageError
from convscope.synthesis.loop import generator
from convscope.synthesis.shake import GREY, LUCID, Shake


def shift(image: Tensor, y: int, x: int) -> Tensor:
    """out[i, j] = image[i + y, j + x], grey outside."""
    h, w = image.shape[-2:]
    return F.pad(image, (8, 8, 8, 8), value=GREY)[..., 8 + y : 8 + y + h, 8 + x : 8 + x + w]


def turn(image: Tensor, scale: float, angle: float) -> Tensor:
    """Scaled and turned around the middle, pixel by pixel, bilinear, grey outside."""
    h, w = image.shape[-2:]
    out = torch.full_like(image, GREY)
    for i in range(h):
        for j in range(w):
            y, x = i - (h - 1) / 2, j - (w - 1) / 2
            u = (math.cos(angle) * x + math.sin(angle) * y) / scale + (w - 1) / 2
            v = (-math.sin(angle) * x + math.cos(angle) * y) / scale + (h - 1) / 2
            value = torch.zeros_like(out[..., 0, 0])
            for a in (math.floor(v), math.floor(v) + 1):
                for b in (math.floor(u), math.floor(u) + 1):
                    seen = image[..., a, b] if 0 <= a < h and 0 <= b < w else torch.full_like(value, GREY)
                    value = value + seen * (1 - abs(v - a)) * (1 - abs(u - b))
            out[..., i, j] = value
    return out


def smooth(h: int, w: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(h) / h, torch.arange(w) / w, indexing="ij")
    return (0.5 + 0.3 * torch.sin(5 * y + 2) * torch.cos(4 * x))[None, None].float()


IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


def test_nothing_moves_at_the_identity() -> None:
    image = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    assert (LUCID(image, IDENTITY) - image).abs().max() < 1e-5
    assert Shake(0, 0, 0, 0)(image, IDENTITY) is image


@pytest.mark.parametrize(("y", "x"), [(3, -2), (-1, 0), (0, 5)])
def test_a_shift_by_whole_pixels_changes_no_value(y: int, x: int) -> None:
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    move = IDENTITY.clone()
    move[0, 0, 2], move[0, 1, 2] = x, y
    assert (LUCID(image, move) - shift(image, y, x)).abs().max() < 1e-5


def turned(seed: int) -> bool:
    return bool(Shake(rotate=30).draw(generator(seed, "a"), (24, 32))[0, 1] != 0)


@pytest.mark.parametrize("seed", [*range(3), *[seed for seed in range(200) if turned(seed)][:6]])
def test_the_map_is_jitter_scale_rotate_jitter_one_after_the_other(seed: int) -> None:
    """Up to what reading twice smooths: the moves are redrawn from the same generator, and done one by one."""
    h, w = 24, 32
    shake = Shake(jitter=16, scale=0.1, rotate=30, again=10)
    (move,) = shake.draw(generator(seed, "a"), (h, w))[None]
    g = generator(seed, "a")
    share = h / 128
    first, last = (torch.randint(-n, n + 1, (2,), generator=g).tolist() for n in (round(16 * share), round(10 * share)))
    scale = 1 + 0.1 * (2 * torch.rand(1, generator=g).item() - 1)
    turns = torch.rand(2, generator=g)
    angle = 0.0 if turns[0] * 7 > 1 else math.radians(30) * (2 * turns[1].item() - 1)
    image = smooth(h, w)
    wanted = shift(turn(shift(image, *first), scale, angle), *last)
    found = shake(image, move[None])
    inside = slice(8, -8)
    assert (found - wanted)[..., inside, inside].abs().max() < 2e-3


def test_amounts_go_with_the_canvas_and_most_draws_do_not_turn() -> None:
    draws = torch.stack([LUCID.draw(generator(s, "a"), (128, 128)) for s in range(400)])
    assert draws[:, :, 2].abs().max() <= (8 * math.sqrt(2) + 4 * math.sqrt(2)) / 0.9
    assert draws[:, :, 2].abs().max() > 8
    scales = 1 / (draws[:, 0, 0] ** 2 + draws[:, 0, 1] ** 2).sqrt()
    assert 0.9 <= float(scales.min()) < 0.92
    assert 1.08 < float(scales.max()) <= 1.1
    turned = (draws[:, 0, 1] != 0).float().mean()
    assert float(turned) == pytest.approx(1 / 7, abs=0.05)
    small = torch.stack([LUCID.draw(generator(s, "a"), (16, 64)) for s in range(100)])  # its shorter side counts
    assert small[:, :, 2].abs().max() <= 2
    assert LUCID.times(2).jitter == 16


def test_gradients_come_back_to_where_they_were_seen() -> None:
    image = torch.rand(1, 1, 8, 8).requires_grad_()
    move = IDENTITY.clone()
    move[0, 0, 2] = 2
    (gradient,) = torch.autograd.grad(LUCID(image, move)[0, 0, 3, 4], image)
    assert gradient[0, 0, 3, 6] == pytest.approx(1, abs=1e-5)
    assert gradient.abs().sum() == pytest.approx(1, abs=1e-4)


def test_amounts_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="scale"):
        Shake(scale=1.5)
