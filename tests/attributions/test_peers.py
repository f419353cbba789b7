"""Trained networks and real images give captum's numbers, kept in a file. Skipped where the sample data are not there.

Turns red: in `attributions/occlusion.py`, `values / cover` -> `values`.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convscope.attributions.gradient import Gradient
from convscope.attributions.guided_backprop import GuidedBackprop
from convscope.attributions.integrated_gradients import IntegratedGradients
from convscope.attributions.occlusion import Occlusion
from convscope.attributions.relu_deconvnet import ReLUDeconvnet
from convscope.network import Network
from convscope.run import target

DATA = Path(__file__).parents[3] / "shared" / "data"
CASES = ("tinyvgg_bus_1", "tinyvgg_koala_3", "resnet20_0", "resnet20_4")
pytestmark = pytest.mark.skipif(not (DATA / "refs").is_dir(), reason="the sample data are not there")


@pytest.fixture(scope="module")
def loader() -> Any:
    spec = importlib.util.spec_from_file_location("sample_data", DATA / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", CASES)
def test_same_as_captum_on_trained_networks(case: str, loader: Any) -> None:
    index = json.loads((DATA / "refs" / "peer_attributions_index.json").read_text())
    about = next(c for c in index["cases"] if c["name"] == case)
    kept = np.load(DATA / "refs" / "peer_attributions.npz")
    model, _ = loader.load_model(about["model"])
    x = torch.from_numpy(kept[f"{case}.input"])
    net = Network.open(model, x)
    asked = target(net, about["target"], x)
    window, stride = about["occlusion"]
    slope, drop = Gradient()(net, x, asked), Occlusion(window=window, stride=stride, fill="zero")(net, x, asked)
    assert slope.proof["disagreement with a finite difference"] < 1e-6  # type: ignore[operator]
    for found, wanted in ((slope.values, kept[f"{case}.gradient"]), (drop.values, kept[f"{case}.occlusion"][:, :1])):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_family_is_captums_on_trained_networks(case: str, loader: Any) -> None:
    """These use every ReLU as a module once, where captum is right; integrated gradients completes with at most 64 steps."""
    index = json.loads((DATA / "refs" / "peer_attributions_index.json").read_text())
    about = next(c for c in index["cases"] if c["name"] == case)
    kept = np.load(DATA / "refs" / "peer_attributions.npz")
    model, _ = loader.load_model(about["model"])
    x = torch.from_numpy(kept[f"{case}.input"])
    net = Network.open(model, x)
    asked = target(net, about["target"], x)
    for method, name in ((GuidedBackprop(), "guided_backprop"), (ReLUDeconvnet(), "deconvnet"),
                         (IntegratedGradients(steps=64), "integrated_gradients")):
        wanted = kept[f"{case}.{name}"]
        np.testing.assert_allclose(method(net, x, asked).values, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    own = IntegratedGradients(most=64)(net, x, asked)
    assert own.proof["completeness error"] <= 0.01  # type: ignore[operator]
