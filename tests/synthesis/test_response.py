"""How strongly a unit responds to the picture as it is shown.

Turns red: in `response.responses`, `quantised(image)` -> `image`; `sign * float(` -> `float(`.
"""

from __future__ import annotations

import numpy as np
import torch

from convscope.images import PRESETS
from convscope.synthesis.image import Reading
from convscope.synthesis.response import canvas_for, quantised, responses, tiles
from tests.contracts.leaves import opened

READ = Reading(PRESETS["imagenet"], 3)


def test_it_is_the_extreme_of_the_layers_own_value_on_8_bits() -> None:
    net = opened("plain")[2]
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = responses(net, "relu2", [1, 1, 4], [1, -1, 1], images, READ)
    shown = torch.from_numpy(tiles(images).transpose(0, 3, 1, 2) / 255).float()
    value = net.run(READ(shown).contiguous(), keep=["relu2"])["relu2"]
    np.testing.assert_allclose(found, [value[0, 1].max(), value[1, 1].min(), value[2, 4].max()], rtol=1e-5)
    assert float((quantised(images) - images).abs().max()) <= 0.5 / 255 + 1e-6


def test_what_is_looked_at() -> None:
    level = torch.tensor([0.0, 0.5, 1.0, 0.2]).reshape(1, 4, 1, 1).expand(2, 4, 3, 5)
    assert tiles(level[:, :3]).shape == (2, 3, 5, 3)
    assert tiles(level[:, :3])[0, 0, 0].tolist() == [0, 128, 255]
    assert tiles(level[:, 1:2])[0, 0, 0].tolist() == [128, 128, 128]
    four = tiles(level)  # other numbers of channels stand side by side, grey
    assert four.shape == (2, 3, 20, 3)
    assert four[0, 0, ::5, 0].tolist() == [0, 128, 255, 51]


def test_the_smallest_canvas() -> None:
    net = opened("plain")[2]
    assert canvas_for(net, net["conv1"]) == (3, 3)
    assert canvas_for(net, net["fc1"]) == (16, 16)
