"""Images from parameters, against what the papers say.

Turns red: in `image.Image.make`, `(self._scale(parameters) / 4)` -> `self._scale(parameters)`; `"bchw,dc->bdhw"` ->
`"bchw,cd->bdhw"`; in `Image.of`, drop `* 4`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.images import PRESETS, Preprocess
from convscope.synthesis import colours
from convscope.synthesis.image import Image, Reading, spectrum
from convscope.synthesis.loop import generator

SIZES = [(8, 8), (7, 9), (10, 6)]


def slow(z: NDArray[np.complex128], h: int, w: int) -> NDArray[np.float64]:
    """r[y, x]: the definition, term by term, for one channel; z (h, w//2 + 1)."""
    out = np.zeros((h, w))
    for k in range(h):
        for m in range(w // 2 + 1):
            fy, fx = min(k, h - k) / h, m / w
            value = z[k, m] / max(np.hypot(fy, fx), 1 / max(h, w))
            once = m == 0 or 2 * m == w  # columns that are their own mirror image
            for y in range(h):
                for x in range(w):
                    term = (value * np.exp(2j * np.pi * (k * y / h + m * x / w))).real
                    out[y, x] += term if once else 2 * term
    return out / np.sqrt(h * w) / 4


@pytest.mark.parametrize("size", SIZES)
def test_fourier_images_are_those_of_the_definition(size: tuple[int, int]) -> None:
    image = Image("fourier", size, colours.IMAGENET)
    theta = image.start([generator(0, "a")]).double()
    theta *= 30  # far from grey
    raw = np.stack([slow(torch.view_as_complex(theta)[0, c].numpy(), *size) for c in range(3)])
    root = np.array(((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))) / np.sqrt(0.26**2 + 0.27**2 + 0.27**2)
    shown = 1 / (1 + np.exp(-np.einsum("chw,dc->dhw", raw, root)))
    np.testing.assert_allclose(image.make(theta)[0].numpy(), shown, rtol=1e-4, atol=1e-5)


def test_a_start_is_nearly_grey() -> None:
    """0.019 before the sigmoid for 128 px, as measured of Lucid."""
    image = Image("fourier", (128, 128), colours.independent(3))
    theta = image.start([generator(s, "a") for s in range(8)])
    logits = torch.logit(image.make(theta))
    assert float(logits.std()) == pytest.approx(0.019, rel=0.1)
    assert image._scale(theta)[0, 0] == 128
    assert image._scale(theta)[0, 64] == 2


@pytest.mark.parametrize("kind", ["fourier", "pixels"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_of_turns_make_round(kind: str, channels: int, size: tuple[int, int]) -> None:
    some = colours.IMAGENET if channels == 3 else colours.independent(channels)
    image = Image(kind, size, some)
    wanted = 0.05 + 0.9 * torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))
    assert (image.make(image.of(wanted)) - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["fourier", "pixels", "phase"])
def test_images_lie_within_0_and_1_and_have_their_own_random_numbers(kind: str) -> None:
    image = Image(kind, (12, 16), colours.IMAGENET)
    both = image.start([generator(0, "a"), generator(0, "b")])
    assert torch.equal(both[1:], image.start([generator(0, "b")]))
    assert not torch.equal(both[0], both[1])
    made = image.make(both)
    assert made.shape == (2, 3, 12, 16)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1


def test_phase_keeps_the_magnitudes_of_real_images() -> None:
    """Where every phase goes, the spectrum's shape before the sigmoid stays: |F r| ∝ the magnitudes, without the mean."""
    rng = np.random.default_rng(0)
    real = spectrum(rng.random((4, 3, 12, 12)))
    image = Image("phase", (12, 12), colours.IMAGENET, magnitude=real)
    raw = torch.logit(image.make(image.start([generator(0, "a")])))[0].numpy()
    found = np.abs(np.fft.rfft2(raw, norm="ortho"))
    ratio = (found / real)[:, 1:-1, 1:-1]  # the edges of a real transform keep only the cosine of their phases
    assert (ratio.std((1, 2)) / ratio.mean((1, 2)) < 0.01).all()
    with pytest.raises(UsageError, match=r"phase-only search from an image.*use fourier"):
        image.of(torch.rand(1, 3, 12, 12))


def test_a_spectrum_is_the_mean_magnitude_of_logits() -> None:
    values = 1 / (1 + np.exp(-np.cos(2 * np.pi * 3 * np.arange(16) / 16))) * np.ones((2, 1, 16, 1))
    found = spectrum(values)
    assert found.shape == (1, 16, 9)
    assert found.argmax() == 3
    assert found[0, 0, 3] == pytest.approx(8, rel=1e-4)  # ½·√(16·16)


def test_reading_is_the_preprocessing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    shown = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255).float()
    for one in (PRESETS["imagenet"], Preprocess(mean=(123.0, 117.0, 104.0), std=(1.0,), range=255, channels="BGR")):
        plain = Preprocess(mean=one.mean, std=one.std, range=one.range, channels=one.channels)
        np.testing.assert_allclose(Reading(plain, 3)(shown)[0].numpy(), plain(pixels), rtol=1e-5, atol=1e-4)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(UsageError, match=r"an image made from 'wavelets'; there are fourier, pixels, phase; choose one"):
        Image("wavelets", (8, 8), colours.IMAGENET)
