"""The mirror of an encoder: against one written out by hand, against autograd, at other sizes, tied, kept and opened.

Turns red: in `edits/_reversed.py`, `draft.call(node, operator.getitem, pool, 1, …)` -> `…, pool, 0, …` (no switches), or
`made.weight = old` left out (tied is free).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import convscope as cs
from convscope.editing import keeping, parts
from convscope.errors import ConvscopeError, UsageError
from tests.nets import NETS
from tests.traces import unchanged


def by_hand(model: Any, mirror: Any, x: Tensor) -> Tensor:
    """The mirror of the net 'plain', line by line."""
    y = F.relu(model.conv1(x))
    z, first = F.max_pool2d(y, 2, return_indices=True)
    z = F.relu(model.conv2(z))
    z, second = F.max_pool2d(z, 2, return_indices=True)
    z = F.max_unpool2d(z, second, 2)
    z = F.conv_transpose2d(z, model.conv2.weight, mirror.conv2.bias, padding=1)
    z = F.relu(mirror.conv2_norm(z))
    z = F.max_unpool2d(z, first, 2)
    return F.conv_transpose2d(z, model.conv1.weight, mirror.conv1.bias, padding=1)


@pytest.mark.parametrize("filters", ["free", "tied"])
def test_it_is_the_mirror_written_by_hand(filters: str) -> None:
    model, x = NETS["plain"]()
    with unchanged(model, x):
        edited, receipt = cs.edit(cs.open(model, example=x), "mirror", filters=filters)
    module: Any = edited.module
    torch.nn.init.normal_(module.mirror.conv2.bias)
    torch.nn.init.normal_(module.mirror.conv1.bias)
    torch.testing.assert_close(edited.run(x).output, by_hand(model, module.mirror, x))
    assert receipt.after.output == (3, 16, 16)
    assert receipt.drift_on == "the outputs differ in size: 5 and 3×16×16"
    assert any("2 max poolings give their switches" in note for note in receipt.notes)
    assert (module.mirror.conv2.weight is module.conv2.weight) == (filters == "tied")


def test_tied_filters_are_moved_by_both_and_stay_tied_when_kept(tmp_path: Path) -> None:
    model, x = NETS["plain"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "mirror", filters="tied")
    module: Any = copy.deepcopy(edited.module).train()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    F.mse_loss(module(x), x).backward()
    optimizer.step()
    assert module.mirror.conv1.weight is module.conv1.weight
    assert not torch.equal(module.conv1.weight, model.conv1.weight)
    assert "self.mirror.conv2.weight = self.conv2.weight" in receipt.source
    again: Any = cs.open(keeping.keep(edited, receipt, tmp_path / "kept"))
    assert again.module.mirror.conv2.weight is again.module.conv2.weight
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert sum(layer.parameters for layer in again.trace().layers) == receipt.after.parameters


class Linear(nn.Module):
    """Strides, dilation, groups, a sum and a concatenation; no nonlinearity, so that the gradient is Wᵀ·v whatever x."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, (3, 4), stride=(2, 3), padding=(1, 0), bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.conv3 = nn.Conv2d(8, 5, 4, padding="same", bias=False)
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.maps(x))

    def maps(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = x + self.conv2(x)
        return torch.cat([self.conv3(x), x, x], 1)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning", "ignore:Lazy modules:UserWarning")
def test_without_its_nonlinearities_it_is_the_gradient_on_any_graph() -> None:
    torch.manual_seed(0)
    model = Linear().double()
    x = torch.randn(2, 3, 13, 17, dtype=torch.float64)
    model(x)
    edited, _ = cs.edit(cs.open(model, example=x), "mirror")
    module: Any = edited.module
    for name, part in list(module.mirror.named_children()):
        if isinstance(part, (nn.BatchNorm2d, nn.ReLU)):
            setattr(module.mirror, name, nn.Identity())
    leaf = x.clone().requires_grad_()
    z = model.maps(leaf)
    torch.testing.assert_close(module(x), torch.autograd.grad(z, leaf, z.detach())[0], rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 23), st.integers(1, 23), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2))
def test_a_transposed_convolution_gives_back_any_size(height: int, width: int, kernel: int, stride: int, padding: int,
                                                      dilation: int) -> None:
    torch.manual_seed(0)
    padding = min(padding, kernel // 2)
    if min(height, width) + 2 * padding < dilation * (kernel - 1) + 1:
        return
    x = torch.randn(1, 2, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, kernel, kernel, dtype=torch.float64)
    y = F.conv2d(x, weight, None, stride, padding, dilation)
    back = parts.ConvTransposeLike(3, 2, kernel, stride, padding, bias=False, dilation=dilation).double()
    back.weight.data = weight
    torch.testing.assert_close(back(y, x), torch.autograd.grad(y, x, y.detach())[0])


def test_classes_for_a_segmenter_and_another_image_size() -> None:
    model, x = NETS["plain"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "mirror", outputs=4, upto="relu2")
    assert receipt.after.output == (4, 16, 16)
    assert receipt.changes[0] == "the encoder ends at relu2 (8×8×8); what came behind is gone"
    assert receipt.changes[-1] == "mirror.score: 4 classes a pixel, of 6 channels"
    assert any("mirror.conv1, mirror.score" in note for note in receipt.notes)
    assert tuple(edited.run(torch.randn(3, 3, 21, 34)).output.shape) == (3, 4, 21, 34)


def test_dense_layers_are_mirrored_where_asked() -> None:
    model, x = NETS["plain"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "mirror", upto="fc2", filters="tied")
    module: Any = edited.module
    assert module.mirror.fc1.weight is module.fc1.weight
    assert receipt.after.output == (3, 16, 16)
    code = model(x)
    z = F.relu(module.mirror.fc2_norm(code @ model.fc2.weight + module.mirror.fc2.bias))
    addresses = [layer.address for layer in edited.layers if layer.operator == "relu"]
    values = edited.run(x, keep=addresses)
    met = [values[a] for a in addresses if values[a].shape == z.shape]
    assert any(torch.allclose(v, z, atol=1e-5) for v in met)


def test_nearest_neighbours_need_no_switches_and_close_the_way_past_the_code() -> None:
    model, x = NETS["plain"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "mirror", unpooling="nearest")
    assert not any("switches" in note for note in receipt.notes)
    codes = edited.run(x, keep=["pool2"])["pool2"]
    module: Any = edited.module
    z = F.interpolate(codes, scale_factor=2)
    z = F.relu(module.mirror.conv2_norm(module.mirror.conv2(z, torch.zeros(1, 1, 8, 8))))
    torch.testing.assert_close(module.mirror.conv1(F.interpolate(z, scale_factor=2), x), edited.run(x).output)


def test_windows_that_overlap_are_told(tmp_path: Path) -> None:
    model, x = NETS["ceil_pool"]()
    _, receipt = cs.edit(cs.open(model, example=x), "mirror", filters="random", seed=3)
    assert any("windows overlap at pool1, pool2: what goes back to one place is added" in n for n in receipt.notes)
    assert any("drawn at random with seed 3" in n for n in receipt.notes)


def test_what_has_no_mirror_is_named_with_the_end_that_would_work() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.fc(self.last(x * torch.sigmoid(self.gate(x))).mean((2, 3)))

    net = cs.open(Gated(), example=(3, 8, 8))
    with pytest.raises(UsageError, match=r"a mirror of mul \(mul.Tensor\); nothing stands for it.*upto=conv"):
        cs.edit(net, "mirror")
    assert cs.edit(net, "mirror", upto="conv")[1].after.output == (3, 8, 8)
    model, x = NETS["rows_lstm"]()
    with pytest.raises(UsageError, match=r"a mirror of .* nothing stands for it in reverse; it reads x; no map comes"):
        cs.edit(cs.open(model, example=x), "mirror")
    with pytest.raises(UsageError, match=r"has no maps before its head; its first layer, 0, gives 192; say where"):
        cs.edit(cs.open(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), example=(3, 8, 8)), "mirror")
    with pytest.raises(ConvscopeError, match="no layer named 'pool9'"):
        cs.edit("zoo:lenet5", "mirror", upto="pool9")


def test_it_trains_as_an_autoencoder_in_both_modes() -> None:
    model, x = NETS["residual"]()
    edited, _ = cs.edit(cs.open(model, example=x), "mirror")
    module = copy.deepcopy(edited.module)
    assert module is not None
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = F.mse_loss(module(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    norm: Any = module.get_submodule("mirror.block1.conv1_norm")
    assert int(norm.num_batches_tracked) == 25
    module.eval()
    assert torch.equal(module(x)[:1], module(x[:1])) or torch.allclose(module(x)[:1], module(x[:1]), atol=1e-6)
