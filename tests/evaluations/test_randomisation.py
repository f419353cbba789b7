"""The randomisation test: the cascade, the private copy, rank correlations and SSIM against scikit-image.

Turns red: in `evaluations/_weights.py`, `reversed(net.layers)` -> `net.layers` · `randomised`, names of the last layer only.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import nn

from convscope.errors import UsageError
from convscope.evaluations._case import spearman
from convscope.evaluations._weights import layers_with_weights, randomised, unit
from convscope.evaluations.randomisation import Randomisation
from convscope.likeness import ssim
from convscope.network import Network
from tests.contracts.leaves import opened
from tests.contracts.test_evaluations import case_of, slope
from tests.evaluations.linear import EXACT, case, heat, six
from tests.nets import NETS
from tests.traces import unchanged

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", NETS)
def test_every_tensor_is_drawn_once_from_the_output_on(name: str) -> None:
    model, x, net = opened(name)
    layers = layers_with_weights(net)
    order = [layer.address for layer in net.layers]
    places = [order.index(address) for address, _ in layers]
    assert places == sorted(places, reverse=True)
    names = [one for _, mine in layers for one in mine]
    assert len(names) == len(set(names))
    learned = {net.parameter_names[n] for n in names if n in net.parameter_names}
    assert learned >= {k for k, _ in model.named_parameters(remove_duplicate=True)} or name == "shared_module"
    with unchanged(model, x):
        copy = randomised(net, names, 0)
    assert not torch.allclose(copy(x), net(x))
    for key, tensor in net.tensors.items():
        assert (copy.tensors[key] is tensor) == (key not in names)


def test_the_draw_keeps_what_it_says() -> None:
    _, _, net = opened("residual")
    names = [one for _, mine in layers_with_weights(net) for one in mine]
    copy = randomised(net, names, 0)
    assert copy.print != net.print
    assert copy.module is None
    kernels = [n for n in names if net.tensors[n].ndim >= 2 and net.tensors[n].numel() > 300]
    for key in kernels:
        before, after = net.tensors[key], copy.tensors[key]
        assert after.dtype == before.dtype
        assert abs(float(after.std() / before.std()) - 1) < 0.2
        assert abs(spearman(before.double().numpy(), after.double().numpy())) < 0.2
    for key in set(names) - {n for n in names if net.tensors[n].ndim >= 2}:
        assert sorted(net.tensors[key].tolist()) == sorted(copy.tensors[key].tolist())
    again = randomised(net, names[:2], 0)
    assert all(torch.equal(again.tensors[k], copy.tensors[k]) for k in names[:2])
    assert not torch.equal(randomised(net, names, 1).tensors[kernels[0]], copy.tensors[kernels[0]])


def test_the_cascade_by_a_loop_over_the_users_modules() -> None:
    """Top-down with the same draws put into a copy of the module itself: the same maps, so the same correlations."""
    asked = case_of("plain")
    found = Randomisation(stages=2)(asked)
    model, _ = NETS["plain"]()
    layers = [address for address, _ in layers_with_weights(asked.net)]
    assert layers == ["fc2", "fc1", "conv2", "conv1"]
    drawn = randomised(asked.net, [one for _, mine in layers_with_weights(asked.net) for one in mine], 0).tensors
    for s, upper in enumerate((layers[:2], layers)):
        with torch.no_grad():
            for key, full in asked.net.parameter_names.items():
                if full.split(".")[0] in upper:
                    model.get_parameter(full).copy_(drawn[key])
        other = slope(Network.open(model, asked.x), asked.x, asked.target).map
        for b in range(2):
            assert found.columns["signed_stages"][b, s] == pytest.approx(spearman(asked.signed[b], other[b]), abs=1e-6)
            sizes = [np.abs(v).astype(np.float64) for v in (asked.signed[b], other[b])]
            assert found.columns["absolute_stages"][b, s] == pytest.approx(spearman(*sizes), abs=1e-6)
            assert found.columns["ssim_stages"][b, s] == pytest.approx(
                structural_similarity(unit(sizes[0]), unit(sizes[1]), gaussian_weights=True, sigma=1.5, data_range=1,
                                      use_sample_covariance=False), abs=1e-6)
    assert found.columns["randomisation"].tolist() == found.columns["signed_stages"][:, -1].tolist()
    assert found.notes == ("randomisation: cascading from the output, after fc1, conv1; seed 0",)


@pytest.mark.parametrize("size", [(16, 16), (33, 21)])
def test_ssim_is_scikit_images(size: tuple[int, int]) -> None:
    a, b = RNG.random((2, *size))
    peer = structural_similarity(a, b, gaussian_weights=True, sigma=1.5, data_range=1, use_sample_covariance=False)
    np.testing.assert_allclose(ssim(a, b), peer, atol=1e-9)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a[:4, :4], a[:4, :4]) == pytest.approx(1)


def test_a_map_that_ignores_the_weights_stays_the_same() -> None:
    asked = dataclasses.replace(case_of("plain"), method=lambda net, x, target: case_of("plain").heat)
    found = Randomisation()(asked).columns
    for column in ("randomisation", "absolute", "similarity"):
        np.testing.assert_allclose(found[column], 1)


def test_it_is_refused_without_a_method_or_weights() -> None:
    _, net, x = six()
    with pytest.raises(UsageError, match="needs a method to ask again, and weights; only its map was given; leave it out"):
        Randomisation()(case(net, x, EXACT))
    bare = Network.open(nn.Sequential(nn.ReLU(), nn.Flatten()), (1, 2, 3))
    with pytest.raises(UsageError, match="Sequential has no weights"):
        Randomisation()(case(bare, x, EXACT, method=lambda net, x, target: heat(EXACT)))
