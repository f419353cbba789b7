"""Filters without labels: k-means finds what images are made of, the autoencoder gives its input back.

Mutations that turn this red (each tried): no whitening (`centres` themselves) · the patch's mean kept · `index_add_` of the
wrong patches · the way back by `weight` untied (a second random one) · the constant of the mean not taken from the bias.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from convscope.editing.weights import unlabelled
from convscope.errors import UsageError


def silent(done: int, total: int) -> None:
    assert done <= total


def seeded(seed: int = 0) -> None:
    torch.manual_seed(seed)


def test_k_means_finds_the_patterns_that_patches_are_made_of() -> None:
    """Patches are one of five patterns, dark or bright, with little noise: each pattern has its filter."""
    with torch.random.fork_rng():
        seeded()
        patterns = torch.linalg.qr(torch.randn(25, 25))[0][:5]
        patterns = patterns - patterns.mean(1, keepdim=True)
        which = torch.randint(5, (3000,))
        x = patterns[which] * (1 + torch.rand(3000, 1)) * 7 + 20 * torch.rand(3000, 1) + 0.05 * torch.randn(3000, 25)
        found = unlabelled.k_means(x, 15, silent)
    assert found.shape == (15, 25)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(15, dtype=torch.float64))
    torch.testing.assert_close(found.sum(1), torch.zeros(15, dtype=torch.float64), atol=1e-12, rtol=0)
    answers = patterns.double() @ found.T  # every pattern has a filter that prefers it to all others
    best = answers.argmax(1)
    assert torch.equal(answers[:, best].argmax(0), torch.arange(5))


def test_k_means_is_the_slow_one() -> None:
    """The same, image by image in NumPy, from the same first centres."""
    images = torch.tensor(load_digits().images[:200], dtype=torch.float32)
    module = nn.Conv2d(1, 6, 3)
    with torch.random.fork_rng():
        seeded()
        x = unlabelled.patches(images[:, None], module, 900)
        state = torch.get_rng_state()
        found = unlabelled.k_means(x, 6, silent).numpy()
        torch.set_rng_state(state)
        c = torch.randn(6, 9, dtype=torch.float64).numpy()
    p = x.double().numpy()
    p = p - p.mean(1, keepdims=True)
    v = p.var(1, ddof=1, keepdims=True)
    p = p / np.sqrt(v + unlabelled.CONTRAST * v.mean())
    p -= p.mean(0)
    d, e = np.linalg.eigh(np.cov(p.T, bias=True))
    white = e @ np.diag(1 / np.sqrt(np.maximum(d, 0) + unlabelled.WHITENING * d.mean())) @ e.T
    z = p @ white
    c /= np.linalg.norm(c, axis=1, keepdims=True)
    for _ in range(unlabelled.ROUNDS):
        sums = np.zeros_like(c)
        for one in z:
            sums[np.argmax(c @ one)] += one
        assert (np.linalg.norm(sums, axis=1) > 0).all()
        c = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    expected = c @ white
    expected -= expected.mean(1, keepdims=True)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_patches_are_windows_of_the_maps() -> None:
    maps = torch.arange(2 * 3 * 6 * 7.0).reshape(2, 3, 6, 7)
    module = nn.Conv2d(3, 4, (2, 3), dilation=(2, 1))
    windows = {tuple(w.tolist()) for w in nn.functional.unfold(maps, (2, 3), (2, 1)).transpose(1, 2).flatten(0, 1)}
    with torch.random.fork_rng():
        found = unlabelled.patches(maps, module, 101)
    assert found.shape == (101, 18)
    assert {tuple(w.tolist()) for w in found} <= windows


@pytest.mark.parametrize("module", [
    nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.Conv2d(1, 9, 3, dilation=2, padding="same"),
])
def test_the_autoencoder_gives_its_input_back(module: nn.Conv2d) -> None:
    images = torch.tensor(load_digits().images[:100], dtype=torch.float32)[:, None] + 3
    with torch.random.fork_rng():
        seeded()
        first = unlabelled.autoencoder(images, module, 1, silent)
        found = unlabelled.autoencoder(images, module, 250, silent)
    assert first.left > 0.9
    assert found.left < 0.25
    assert found.weight.shape == module.weight.shape
    assert found.still <= len(found.weight)


def test_the_bias_makes_up_for_the_mean_of_the_maps() -> None:
    """The code of x is that of x − mean in the autoencoder, also in groups: what training began from has bias 0."""
    module = nn.Conv2d(4, 6, 3, groups=2)
    noise = torch.randn(20, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    maps = noise + torch.tensor([1.0, -2, 5, 0])[:, None, None]
    mean = maps.mean((0, 2, 3), keepdim=True)
    with torch.random.fork_rng():
        seeded()
        a = unlabelled.autoencoder(maps, module, 5, silent)
        seeded()
        b = unlabelled.autoencoder(maps - mean, module, 5, silent)
    code = nn.functional.conv2d(maps, a.weight, a.bias, groups=2)
    torch.testing.assert_close(code, nn.functional.conv2d(maps - mean, b.weight, b.bias, groups=2), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_learned() -> None:
    flat = torch.ones(4, 1, 8, 8)
    module = nn.Conv2d(1, 4, 3)
    with pytest.raises(UsageError, match="filters by an autoencoder; these images are one flat value; give other images"):
        unlabelled.autoencoder(flat, module, 1, silent)
    with pytest.raises(UsageError, match="filters by k-means; every patch of these images is one flat value"):
        unlabelled.k_means(torch.ones(10, 9), 4, silent)
    with pytest.raises(UsageError, match="20 filters by k-means; there are 10 patches; give more images, or more patches"):
        unlabelled.k_means(torch.ones(10, 9), 20, silent)
    with pytest.raises(UsageError, match="patches of 3×3 from maps of 2×2; they do not fit into one; choose another layer"):
        unlabelled.patches(torch.ones(1, 1, 2, 2), module, 5)
