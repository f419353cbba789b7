"""New weights: the spread that formulas ask for, unit variance on images, banks in place of old filters.

Mutations that turn this red (each tried): fan_out for fan_in · orthogonal without the gain · running statistics kept · the
bank's norm not scaled · `lsuv` without its scaling.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope import actions
from convscope.data import open_collection
from convscope.editing import keeping
from convscope.errors import UnknownName, UsageError
from tests.nets import NETS
from tests.traces import unchanged

DIGITS = open_collection("digits").take(range(96))


def wide() -> tuple[nn.Module, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 64, 5), nn.ReLU(), nn.Conv2d(64, 96, 3), nn.BatchNorm2d(96), nn.Tanh(),
                              nn.Flatten(), nn.Linear(384, 200), nn.LeakyReLU(0.1), nn.Linear(200, 10))
        model[3].running_mean.normal_()
        return model.eval(), torch.randn(2, 1, 8, 8)


@functools.cache
def wide_net():
    return actions.open(*wide())


def weights(net) -> dict[str, torch.Tensor]:
    return {k: p.detach() for k, p in net.module.named_parameters() if k.endswith("weight") and p.ndim > 1}


@pytest.mark.parametrize(("how", "spreads"), [
    ("he", {"2.weight": 5 / 3 / 576**0.5, "6.weight": (2 / 1.01) ** 0.5 / 384**0.5, "8.weight": 1 / 200**0.5}),
    ("glorot", {"2.weight": 5 / 3 * (2 / (576 + 864)) ** 0.5, "6.weight": (4 / 1.01 / 584) ** 0.5,
                "8.weight": (2 / 210) ** 0.5}),
])
def test_the_spread_is_that_of_the_formula(how: str, spreads: dict[str, float]) -> None:
    model, x = wide()
    with unchanged(model, x):
        net, receipt = actions.edit(actions.open(model, x), "reinit", how=how)
    for name, spread in spreads.items():
        assert weights(net)[name].std().item() == pytest.approx(spread, rel=0.05), name
        assert abs(weights(net)[name].mean().item()) < spread / 10
    assert net.module["3"].running_mean.abs().max() == 0
    assert all((p == 0).all() for k, p in net.module.named_parameters() if k.endswith("bias"))
    assert receipt.changes[-1] == "batch norm, 1 layers: γ = 1, β = 0, mean 0, variance 1: 3"
    told = wide()[0]
    torch.manual_seed(0)
    exec(receipt.code, {"model": told, "nn": nn})
    for (k, p), (_, q) in zip(told.named_parameters(), net.module.named_parameters(), strict=True):
        if k.endswith("weight"):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)  # the code rounds the spread


def test_orthogonal_rows_have_the_gain_for_their_length() -> None:
    net, _ = actions.edit(wide_net(), "reinit", how="orthogonal")
    for name, gain in (("2.weight", 5 / 3), ("6.weight", (2 / 1.01) ** 0.5), ("8.weight", 1.0)):
        rows = weights(net)[name].flatten(1).double()
        torch.testing.assert_close(rows @ rows.T, gain**2 * torch.eye(len(rows), dtype=torch.float64), atol=1e-5, rtol=0)


def test_one_layer_or_block_and_nothing_else() -> None:
    model, x = NETS["residual"]()
    net, receipt = actions.edit(actions.open(model, x), "reinit", layer="block2", how="zero")
    old, new = model.state_dict(), net.module.state_dict()
    assert {k.split(".")[0] for k in old if not torch.equal(old[k], new[k])} == {"block2"}
    assert all((p == 0).all() for k, p in net.module.named_parameters() if k.startswith("block2"))
    assert receipt.changes[0] == "block2.conv1: 8×6×3×3 put to 0"
    other, _ = actions.edit(wide_net(), "reinit", layer="0", seed=5)
    again, _ = actions.edit(wide_net(), "reinit", layer="0", seed=6)
    assert not torch.equal(weights(other)["0.weight"], weights(again)["0.weight"])


@pytest.mark.parametrize("reference", ["demo:digits", pytest.param("zoo:lenet5", marks=pytest.mark.slow)])
def test_lsuv_gives_every_output_unit_variance_on_the_images(reference: str, tmp_path: Path) -> None:
    net, receipt = actions.edit(reference, "reinit", how="lsuv", data=DIGITS, sample=96)
    preprocess = net.preprocess
    from convscope.inputs import preprocess_of

    x = torch.stack([torch.from_numpy((preprocess or preprocess_of(net)[0])(DIGITS[i])) for i in range(96)])
    drawn = [layer.address for layer in net.layers if layer.operator in ("conv", "conv2d", "linear", "Conv2d", "Linear")]
    assert len(drawn) >= 4
    values = net.run(x, keep=drawn)
    for address in drawn:
        assert abs(values[address].double().var().item() - 1) < 0.02, address
    assert receipt.notes[0] == "variance of every layer's output is 1 within 1 % on 96 images"
    again = actions.open(keeping.keep(net, receipt, tmp_path / "kept"))
    assert torch.equal(again.run(x).output, net.run(x).output)


@pytest.mark.parametrize("how", ["gabor", pytest.param("sobel", marks=pytest.mark.slow), "kmeans", "autoencoder"])
def test_a_bank_has_the_old_filters_norm(how: str) -> None:
    model, _ = wide()
    own = wide_net().module
    with unchanged(own):
        net, receipt = actions.edit(wide_net(), "reinit", how=how, data=DIGITS, steps=3, patches=2000)
    old, new = model[0].weight.detach().flatten(1), weights(net)["0.weight"].flatten(1)
    assert not torch.equal(old, new)
    assert new.square().sum(1).mean() == pytest.approx(old.square().sum(1).mean().item(), rel=1e-4)
    assert torch.equal(weights(net)["2.weight"], model[2].weight)
    assert receipt.changes[0].startswith("0: 64×1×5×5 ")
    assert torch.isfinite(net.run(torch.ones(1, 1, 8, 8)).output).all()
    if how == "gabor":
        assert "8 orientations" not in receipt.changes[0]
        assert "32 orientations, wavelengths 3.0 px, phases 0° and 90°" in receipt.changes[0]
    if how == "autoencoder":
        assert "hardly moved from their random start" in receipt.notes[-1] or "learned without labels" in receipt.notes[-1]


def test_a_deeper_layer_learns_from_what_it_reads() -> None:
    net, _ = actions.edit("demo:digits", "reinit", how="kmeans", layer="conv2", data=DIGITS, patches=2000)
    rows = net.module.conv2.weight.flatten(1)
    assert rows.sum(1).abs().max() < 1e-4  # the mean of a patch says nothing


@pytest.mark.parametrize(("name", "how", "error", "message"), [
    ("plain", {"layer": "relu1"}, UsageError, "there are no weights to draw in relu1; it has ReLU; choose a convolution"),
    ("plain", {"layer": "conv9"}, UnknownName, "no layer or block named 'conv9'"),
    ("plain", {"how": "lsuv"}, UsageError, "how=lsuv needs images; none were given"),
    ("plain", {"how": "kmeans"}, UsageError, "how=kmeans needs images"),
    ("plain", {"how": "gabor", "layer": "conv2"}, UsageError,
     "gabor filters for conv2; it does not read the image: its channels are no colours; choose the first"),
    ("plain", {"how": "gabor", "layer": "fc1"}, UsageError,
     "a bank of filters for fc1; it has 0 convolutions of images; name one convolution"),
    ("concat", {"how": "gabor", "layer": "branch2"}, UsageError, "branch2; it has 2 convolutions of images; name one"),
    ("grouped", {"how": "kmeans", "data": True}, UsageError, "k-means on patches; the convolution has 2 groups"),
])
def test_what_cannot_be(name: str, how: dict, error: type[Exception], message: str) -> None:
    model, x = NETS[name]()
    if how.pop("data", False):
        import numpy as np

        how["data"] = [(np.random.default_rng(i).integers(0, 255, (16, 16, 4), np.uint8), 0) for i in range(4)]
    net = actions.open(model, x, preprocess={"channels": 4} if name == "grouped" else None)
    with pytest.raises(error, match=message), unchanged(model, x):
        actions.edit(net, "reinit", **how)


def test_what_has_other_weights_is_left_and_said() -> None:
    model, x = NETS["rows_lstm"]()
    net, receipt = actions.edit(actions.open(model, x), "reinit")
    assert receipt.changes == ("fc: 5×8 drawn anew, he, standard deviation 0.354 (gain 1: no nonlinearity follows)",)
    assert net.layers
