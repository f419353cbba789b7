"""The image that a unit responds to most.

Turns red: in `activation_maximisation.py`, `filled = weak + …` -> `filled = weak[:1]`; in `_making.judged`,
`signs * values["response"] >=` -> `values["response"] >=`; in `_making.canvas_of`, `return smallest` -> `return whole`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from convscope import inputs
from convscope.data import open_collection
from convscope.errors import UsageError
from convscope.features._given import Given
from convscope.features.activation_maximisation import ActivationMaximisation
from convscope.network import Network
from convscope.results import Picture
from convscope.sweep import Sweep
from convscope.synthesis.forward import Cut
from tests.contracts.leaves import opened


def of(name: str, target: str, given: Given | None = None, **settings: object) -> Picture:
    method = ActivationMaximisation(**{"steps": 24, **settings})  # type: ignore[arg-type]
    return method(opened(name)[2], target, given or Given())


def test_a_linear_unit_gets_its_own_filter() -> None:
    """argmax ⟨w, x⟩ over 0 … 1 is [w > 0], and its value Σ max(w, 0)."""
    conv = nn.Conv2d(1, 2, 5, bias=False)
    with torch.no_grad():
        y, x = torch.meshgrid(torch.arange(5.0) - 2, torch.arange(5.0) - 2, indexing="ij")
        conv.weight.copy_(torch.stack([x + 0.5, y + 0.5])[:, None])
    net = Network.open(nn.Sequential(conv, nn.ReLU()).eval(), (1, 12, 12))
    found = ActivationMaximisation(steps=128, shake=0.0, rate=0.2, basis="pixels")(net, "0")
    assert found.tiles.shape == (2, 5, 5, 3)
    for i in range(2):
        wanted = (conv.weight[i, 0] > 0).numpy()
        assert ((found.tiles[i, :, :, 0] > 127) == wanted).all()
        assert found.values["response"][i] == pytest.approx(float(conv.weight[i].detach().clamp(min=0).sum()), rel=0.02)
    down = ActivationMaximisation(steps=128, shake=0.0, rate=0.2, basis="pixels", sign="both")(net, "0/0")
    assert down.units == ("+0/0", "−0/0")
    assert down.values["response"][1] == pytest.approx(float(conv.weight[0].detach().clamp(max=0).sum()), rel=0.02)


def record_of(name: str, folder: Path, images: NDArray[np.uint8]) -> Given:
    net = opened(name)[2]
    collection = open_collection([(image, -1) for image in images], name="noise")
    return Given(record=Sweep(top=1)(net, collection, inputs.preprocess_of(net)[0], folder), images=collection.__getitem__,
                 count=len(collection))


def test_pictures_stand_beside_the_strongest_real_image(tmp_path: Path) -> None:
    given = record_of("plain", tmp_path, np.random.default_rng(0).integers(100, 156, (6, 16, 16, 3), np.uint8))
    good = of("plain", "conv2", given, steps=96, sign="both", most=2, again=0)
    assert good.values["converged"].all()
    assert (good.values["response"][::2] > good.values["strongest"][::2]).all()
    assert (good.values["response"][1::2] < good.values["strongest"][1::2]).all()
    assert "colours of 6 images" in good.notes
    weak = of("plain", "conv2", given, steps=1, rate=1e-6, again=0)
    names = [name for name, good in zip(weak.units, weak.values["converged"], strict=True) if not good]
    assert names
    assert any(note.startswith(f"not converged, weaker than a real image: {names[0]}") for note in weak.notes)


def test_weak_pictures_are_grown_again_and_only_get_better(tmp_path: Path) -> None:
    given = record_of("plain", tmp_path, np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), np.uint8))
    settings = {"steps": 5, "batch": 3}
    first, again = of("plain", "conv2", given, again=0, **settings), of("plain", "conv2", given, again=3, **settings)
    weak = ~first.values["converged"]
    assert weak.any()
    assert (again.values["response"] >= first.values["response"]).all()
    assert (again.values["response"] > first.values["response"]).sum() >= 1
    assert (again.tiles[~weak] == first.tiles[~weak]).all()
    said = f"{weak.sum()} of 8 stayed below the strongest real image at first: grown again, faster and moved less"
    assert said in again.notes


@pytest.mark.parametrize(("name", "layer", "shape"), [
    ("plain", "conv1", (3, 3)), ("plain", "conv2", (9, 9)), ("plain", "fc1", (16, 16)), ("grey", "conv1", (5, 5)),
    ("grouped", "conv1", (3, 12)), ("non_square", "conv1", (5, 3)), ("non_square", "fc", (20, 14)),
    ("residual", "conv1", (3, 3)),
])  # fmt: skip
def test_the_picture_is_what_a_unit_sees(name: str, layer: str, shape: tuple[int, int]) -> None:
    found = of(name, layer, steps=2, most=2)
    assert found.tiles.shape == (2, *shape, 3)
    assert (found.tiles != found.tiles[:1]).any()


def test_a_larger_canvas_and_sizes_that_cannot_be() -> None:
    assert of("plain", "conv2/1", steps=2, size=40).tiles.shape == (1, 40, 40, 3)
    assert of("plain", "fc1/1", steps=2, size=16).tiles.shape == (1, 16, 16, 3)
    with pytest.raises(UsageError, match=r"pictures of 4×4; a position of conv2 sees 9×9; ask for at least 9"):
        of("plain", "conv2/1", size=4)
    with pytest.raises(UsageError, match=r"pictures of 20×20; fc1 needs 16×16"):
        of("plain", "fc1/1", size=20)
    with pytest.raises(UsageError, match=r"pictures of 20×20; sums, classes and positions need the network's own size"):
        of("plain", "class:1", size=20)


@pytest.mark.parametrize("target", ["class:2", "conv2/1 + 0.5*conv1/2 - class:0", "conv2/1@0,0", "-conv2/1", "relu2/3"])
def test_objectives_in_words_rise(target: str) -> None:
    start, end = (of("plain", target, steps=n).values["score"][0] for n in (1, 48))
    assert end > start


def test_two_networks_are_told_apart() -> None:
    net, other = (Network.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), (3, 8, 8)) for _ in range(2))
    found = ActivationMaximisation(steps=48)(net, "0/1 - 2:0/1", Given(more={"against": (other,)}))
    x = torch.from_numpy(found.tiles / 255).permute(0, 3, 1, 2).contiguous().float()
    first, second = (one.run(torch.cat([x, torch.rand(500, *x.shape[1:])]), keep=["0"])["0"][:, 1] for one in (net, other))
    told = (first - second)[:, 3, 3]  # the centre; not first > second: with these biases no image at all may do that
    assert told[0] > told[1:].mean() + 2 * told[1:].std()
    with pytest.raises(UsageError, match=r"network 2 .*there are 1"):
        of("plain", "conv1/1 - 2:conv1/1")


def test_variants_channels_and_phase() -> None:
    several = of("plain", "conv2/1", variants=3, objective="channel")
    assert several.units == ("conv2/1 #1", "conv2/1 #2", "conv2/1 #3")
    assert (several.tiles[0] != several.tiles[1]).any()
    phase = of("plain", "conv2/1", basis="phase")
    assert "magnitudes fall as 1/f: no images were given" in phase.notes
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    whose = of("plain", "conv2/1", Given(images=images.__getitem__, count=5), basis="phase")
    assert "Fourier magnitudes of 5 images, seed 0" in whose.notes
    assert (whose.tiles != phase.tiles).any()


def test_seeds_batches_and_company() -> None:
    whole = of("plain", "conv2", batch=4)
    again = of("plain", "conv2", batch=4)
    assert (whole.tiles == again.tiles).all()
    assert whole.values["response"].tobytes() == again.values["response"].tobytes()
    assert (of("plain", "conv2", batch=4, seed=1).tiles != whole.tiles).any()
    fewer = of("plain", "conv2", batch=4, most=5)
    assert (fewer.tiles == whole.tiles[:5]).all()
    assert "the first 5 of 8 units" in fewer.notes
    assert "computed in batches of 4" in fewer.notes


def test_frames_of_a_picture_as_it_comes_about() -> None:
    found = of("plain", "conv2/1", frames=4)
    assert found.units == ("step 6", "step 12", "step 18", "step 24")
    assert (found.tiles[-1:] == of("plain", "conv2/1").tiles).all()
    assert found.values["response"][-1] > found.values["response"][0]
    with pytest.raises(UsageError, match="frames of 8 pictures; an animation shows one; name one unit"):
        of("plain", "conv2", frames=4)


def test_the_way_from_one_unit_to_another() -> None:
    found = of("plain", "conv2/1", towards="conv2/4", steps=64)
    assert len(found.tiles) == 6
    assert found.units[0] == "100% conv2/1, 0% conv2/4"
    assert found.tiles.shape[1:3] == (9, 9)
    net = opened("plain")[2]
    x = torch.from_numpy(found.tiles / 255).permute(0, 3, 1, 2).contiguous().float()
    value = Cut(net, ["conv2"])(x)["conv2"].amax((2, 3))
    assert value[0, 1] > value[-1, 1]
    assert value[-1, 4] > value[0, 4]
    assert of("plain", "conv2/1", towards="conv1/2", steps=2).tiles.shape[1:3] == (16, 16)  # two layers: the own size
    with pytest.raises(UsageError, match=r"from class:1 towards conv2/4; a way leads from unit to unit; name units"):
        of("plain", "class:1", towards="conv2/4")


def test_what_cannot_be_pictured_is_refused() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    words = Network.open(Words().eval(), (5, 6))
    with pytest.raises(UsageError, match="does not read images"):
        ActivationMaximisation()(words, "fc/1")


class Unfolded(nn.Module):
    """A layer whose output counts no units: one number an image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).sum((1, 2, 3))


def test_a_layer_without_units_is_refused() -> None:
    net = Network.open(Unfolded().eval(), (3, 8, 8))
    with pytest.raises(UsageError, match=r"sum has no units; its output is .*; choose a layer with channels"):
        ActivationMaximisation()(net, "sum")
