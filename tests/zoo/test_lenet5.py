"""LeNet-5 has the maps of the paper.

Turns red: `padding=2` left out (28×28 pixels then give 24×24 maps, and the linear layers do not fit).
"""

import torch

from convscope.zoo.lenet5 import lenet5
from convscope.zoo.mlp import mlp


def test_the_maps_are_those_of_the_paper() -> None:
    model, x = lenet5().eval(), torch.zeros(1, 1, 28, 28)
    sizes = []
    for layer in model:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    # C1, S2, C3, S4 and the linear layers (LeCun et al. 1998, figure 2; C5 is written as a linear layer here)
    assert [s for i, s in enumerate(sizes) if i in (0, 2, 3, 5, 7, 9, 11)] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)]


def test_mlp_takes_any_number_of_hidden_layers() -> None:
    assert [name for name, _ in mlp(inputs=12, hidden=()).named_children()] == ["flatten", "fc1"]
    model = mlp(inputs=12, hidden=[5, 4, 3], num_classes=2)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(5, 12), (4, 5), (3, 4), (2, 3)]
    assert model(torch.zeros(7, 3, 2, 2)).shape == (7, 2)
