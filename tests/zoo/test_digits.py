"""The demo's network learns real digits quickly.

Turns red: `width: int = 16` → 1 (accuracy); `if i == 2` → `if i == 3` (sizes).
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from convscope.zoo.digits import digits


def test_ten_epochs_reach_97_percent_of_held_out_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    y = torch.tensor(labels)
    order = np.random.default_rng(0).permutation(len(x))
    train, held_out = torch.tensor(order[360:]), torch.tensor(order[:360])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = digits()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, weight_decay=0)
        for _ in range(10):
            for batch in train[torch.randperm(len(train))].split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
        model.eval()
        assert (model(x[held_out]).argmax(1) == y[held_out]).float().mean() >= 0.97


def test_sizes_inside() -> None:
    model, x = digits(width=4).eval(), torch.zeros(1, 1, 8, 8)
    sizes = {}
    for name, layer in model.named_children():
        x = layer(x)
        sizes[name] = tuple(x.shape[1:])
    assert (sizes["conv1"], sizes["conv2"], sizes["pool"], sizes["conv3"]) == ((4, 8, 8), (8, 8, 8), (8, 4, 4), (16, 4, 4))
