"""CKA between networks: the slow twin by Gram matrices over the same minibatches; permuted copies are alike wholly.

Turns red: in `comparisons/cka.py`, `between += a @ b.T` -> `between = a @ b.T` · `(kernels**2).sum(1)` -> `.sum(1)**2` ·
the permutation of the order left out (images of one class would share a minibatch).
"""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from convscope.comparisons.cka import CKA
from convscope.errors import DataError, UnknownName, UsageError
from convscope.network import Network
from tests.comparisons.permuted import images, plain
from tests.contracts.leaves import opened
from tests.test_similarity import slow_hsic


def columns(found: object) -> dict[str, np.ndarray]:
    """The numbers alone."""
    return dict(list(found.columns.items())[2:])  # type: ignore[attr-defined]


def kernels(net: Network, x: Tensor, layer: str, pooled: bool) -> np.ndarray:
    value = net.run(x, keep=[layer])[layer].double()
    rows = (value.flatten(2).mean(2) if pooled and value.ndim > 2 else value.flatten(1)).numpy()
    return rows @ rows.T


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("values", ["all", "mean"])
def test_same_as_gram_matrices_over_the_same_minibatches(estimator: str, values: str) -> None:
    nets = [opened("plain")[2], opened("functional_relu")[2]]
    shown = images()
    method = CKA(estimator=estimator, values=values, batch=8, seed=4)
    found = method(nets, "", shown)
    order = np.random.default_rng(4).permutation(24)
    batches = list(shown.batches(nets, order, 8))
    assert sorted(len(x) for x, _ in batches) == [7, 8, 8]  # one image cannot be read
    for layer, other in (("conv1", "conv1"), ("pool2", "conv2"), ("fc2", "fc")):
        sums = np.zeros(3)
        for x, y in batches:
            a, b = kernels(nets[0], x, layer, values == "mean"), kernels(nets[1], y, other, values == "mean")
            sums += [slow_hsic(*pair, estimator) for pair in ((a, b), (a, a), (b, b))]
        row = found.columns["layer of plain"].tolist().index(layer)
        assert found.columns[other][row] == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]), abs=2e-5)
    said = "the mean of each map" if values == "mean" else "every position"
    assert found.notes[0].endswith(f"3 minibatches of 7 … 8 images; {said}")
    assert found.notes[0].startswith(f"{estimator} HSIC")


def test_a_permuted_network_is_the_same() -> None:
    found = CKA(batch=8)(plain(), "", images())
    layers = found.columns["layer of plain"].tolist()
    matrix = np.array([columns(found)[layer] for layer in layers])
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-5)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    assert np.nanmax(matrix) <= 1 + 1e-5
    assert found.columns["most alike"].tolist() == layers


def test_one_layer_is_one_row_of_the_matrix() -> None:
    nets, shown = plain(), images()
    whole, one = CKA()(nets, "", shown), CKA()(nets, "conv2", shown)
    at = whole.columns["layer of plain"].tolist().index("conv2")
    assert one.columns["layer of plain"].tolist() == ["conv2"]
    row = [v[at] for v in columns(whole).values()]
    np.testing.assert_allclose([v[0] for v in columns(one).values()], row, atol=1e-12)
    assert one.notes[0] == "unbiased HSIC₁; 23 images at once; every position"


def test_a_layer_that_says_the_same_to_all_has_none() -> None:
    import copy

    import torch

    model, x, net = opened("plain")
    dead = copy.deepcopy(model)
    with torch.no_grad():
        dead.conv2.weight.zero_()  # type: ignore[union-attr,operator]
    found = CKA()([net, Network.open(dead, x, "dead")], "conv1", images())
    assert np.isnan(found.columns["conv2"]).all()
    assert found.columns["conv1"][0] == pytest.approx(1, abs=1e-6)
    assert found.columns["most alike"].tolist() == ["conv1"]
    only = CKA()([Network.open(dead, x, "dead"), net], "relu2", images())
    assert only.columns["most alike"].tolist() == [""]


def test_refusals() -> None:
    nets = plain()
    with pytest.raises(UsageError, match="CKA needs images; 2 networks were given and no image; give some: --images FOLDER"):
        CKA()(nets)
    with pytest.raises(UsageError, match="CKA compares two networks; got 3; give the two that matter"):
        CKA()([*nets, nets[0]], "", images(networks=3))
    with pytest.raises(UnknownName, match="no layer named 'conv9'"):
        CKA()(nets, "conv9", images())
    few = images(3)
    with pytest.raises(DataError, match="3 images are too few to compare representations; the unbiased estimator needs 4"):
        CKA()(nets, "conv1", few)


def test_minibatches_that_failing_images_make_too_small_are_left_out() -> None:
    shown = images(16)
    chosen = shown.collection.take([0, 1, 2, 3, 4, 6, 7, 8, 5, 5, 5, 5, 5, 9])

    class Fixed:
        def permutation(self, order: np.ndarray) -> np.ndarray:
            return order

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda seed: Fixed())
        found = CKA(batch=8)(plain(), "conv1", type(shown)(chosen, shown.preprocess))
    assert found.notes[0].startswith("unbiased HSIC₁; 7 images at once")
    assert "left out: 2 images whose minibatch was too small" in found.notes
