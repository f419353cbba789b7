"""Each equivalence with numbers that can be counted by hand, and where it must not apply.

The contract (tests/contracts/test_equivalences.py) holds every leaf on every net. Turns red: in `equivalences/`, in
`collapsed_linear.py`, `start = np.array(t) * d2 * s1` -> `start = np.array(t) * d2`; in `im2col.py`, `learned.append(delta`
-> `learned.append(-delta`; in `sparse_matrix.py`, `filter_ * part + n` -> `n`; in `average_pool_as_convolution.py`, `not
pool.count_include_pad` -> `pool.count_include_pad`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import actions, registry
from convscope.errors import UsageError
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.network import Network
from convscope.results import Table


def captured(module: nn.Module, *shape: int, loss: bool = True, training: bool = False) -> Capture:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for value in module.parameters():
            nn.init.normal_(value, std=0.5)
        x = torch.randn(2, *shape)
    return Capture(Network.open(module, x, "net"), x, Loss(labels=(0, 1)) if loss else None, training)


def ask(leaf: str, kept: Capture, layer: str, **settings: Any) -> Table:
    found = registry.load("equivalences", leaf)(**settings)(kept, kept.net[layer])
    compared = ~np.isnan(found.columns["difference"])
    assert (found.columns["difference"][compared] <= 1e-12 * found.columns["largest"][compared]).all(), found.columns
    return found


def why(leaf: str, kept: Capture, layer: str) -> str:
    return registry.load("equivalences", leaf)().applies(kept, kept.net[layer])


class Chain(nn.Sequential):
    """Layers by their numbers, then a mean over the map and class scores."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(1)[:, :3]


def test_im2col_sizes_with_groups_stride_and_dilation() -> None:
    kept = captured(Chain(nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)), 4, 7, 6)
    found = ask("im2col", kept, "0")
    assert found.title == "0: convolution = matrix product, 2 products (3×12) · (12×32)"  # 4×4 positions, 2 images
    assert found.columns["other_way"].tolist()[1:] == ["2 products (3×32) · (32×12)", "columns: 768", f"{6 * 12 * 32:,}"]


@pytest.mark.parametrize(("module", "shape"), [(nn.Conv1d(2, 3, 3, padding=1), (2, 9)), (nn.Conv3d(1, 2, 2), (1, 3, 4, 3))])
def test_one_and_three_axes(module: nn.Module, shape: tuple[int, ...]) -> None:
    kept = captured(Chain(module), *shape)
    for leaf in ("im2col", "sparse-matrix", "transposed-convolution", "inverse"):
        ask(leaf, kept, "0")


def test_sparse_matrix_counts() -> None:
    kept = captured(Chain(nn.Conv2d(1, 2, 3)), 1, 5, 5)
    whole = ask("sparse-matrix", kept, "0")
    assert whole.title == "0: convolution = sparse matrix 18×25 with 162 non-zeros, made of 18 shared weights"
    assert whole.columns["other_way"][2] == "36.000%"
    assert whole.columns["one_way"][3] == "shared: 20"
    assert whole.columns["other_way"][3] == f"each position its own: {18 * 10}; dense: {18 * 26}"
    part = ask("sparse-matrix", kept, "0", most=80)
    assert part.title.startswith("0: convolution = sparse matrix 8×25 with 72 non-zeros")
    assert part.notes[-1] == ("the whole matrix is 18×25; this is its part for the first 4 of 9 positions of each filter "
                              "(`most` = 80 non-zeros)")


def test_sparse_matrix_leaves_the_padding_out() -> None:
    kept = captured(Chain(nn.Conv2d(1, 1, 3, padding=1)), 1, 3, 3)
    assert "sparse matrix 9×9 with 49 non-zeros" in ask("sparse-matrix", kept, "0").title  # (2 + 3 + 2)²


def test_dense_behind_a_map_a_vector_and_at_positions() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop, self.fc, self.each = nn.Conv2d(1, 2, 2), nn.Dropout(), nn.Linear(24, 5), nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(self.drop(self.conv(x).flatten(1)))
            return self.each(y[:, :, None]).sum(2)

    kept = captured(Positions(), 1, 4, 5)
    assert ask("dense-as-convolution", kept, "fc").title == \
        "fc: dense 24 → 5 = convolution of 2×3×4 with 5 kernels of 2×3×4"
    assert ask("dense-as-convolution", kept, "each").title == \
        "each: dense 1 → 2 at 5 positions = convolution of 1×5×1 with 2 kernels of 1×1×1"
    vector = captured(nn.Sequential(nn.Linear(4, 3)), 4)
    assert ask("dense-as-convolution", vector, "0").title == "0: dense 4 → 3 = convolution of 4×1×1 with 3 kernels of 4×1×1"
    assert why("dense-as-convolution", kept, "conv") == "conv is a conv2d, not a dense layer"


@pytest.mark.parametrize(
    ("first", "second", "shape", "title"),
    [
        (nn.Linear(6, 9, bias=False), nn.Linear(9, 4), (6,), "one dense layer, 4×6"),
        (nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 4, 1), (2, 6, 7), "one convolution, 4×2×3×3"),
        (nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.Conv2d(4, 6, (3, 2), bias=False), (2, 11, 9),
         "one convolution, 6×2×7×5"),
        (nn.Conv2d(1, 3, 2, dilation=2), nn.Conv2d(3, 6, 3, stride=2, dilation=2, groups=3), (1, 13, 12),
         "one convolution, 6×1×7×7"),
        (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), (2, 6, 6), "one convolution, 3×2×3×3"),
        (nn.Linear(6, 3), nn.BatchNorm1d(3), (6,), "one dense layer, 3×6"),
        (nn.Linear(6, 3), nn.BatchNorm1d(3, affine=False), (6,), "one dense layer, 3×6"),
    ],
)
def test_two_linear_layers_are_one(first: nn.Module, second: nn.Module, shape: tuple[int, ...], title: str) -> None:
    module = Chain(first, nn.Dropout(), second).eval()
    for name, value in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 2.0)
    kept = captured(module, *shape)
    found = ask("collapsed-linear", kept, "0")
    assert found.title == f"0 and 2: nothing between them, so they are {title}"
    assert ask("collapsed-linear", kept, "2").title == found.title  # asked of the second


def test_why_two_layers_do_not_collapse() -> None:
    relu = captured(Chain(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), 6)
    assert why("collapsed-linear", relu, "0") == "1 (ReLU) comes next: the two are not one linear layer"
    assert why("collapsed-linear", relu, "1") == "1 is a relu, not linear with weights of its own"
    assert "comes after" in why("collapsed-linear", relu, "2") or "comes next" in why("collapsed-linear", relu, "2")
    padded = captured(Chain(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, padding=1)), 1, 6, 6)
    assert why("collapsed-linear", padded, "0") == \
        "1 pads with zeros between the two: at the border they are not one convolution"
    norm = Chain(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert why("collapsed-linear", captured(norm, 1, 6, 6, training=True), "0") == \
        "1 uses the batch's statistics in training"

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(y) + y

    assert why("collapsed-linear", captured(Twice(), 3), "a") == "a is read by 2 layers"
    with pytest.raises(UsageError, match=r"CollapsedLinear cannot be asked of 0; 1 .ReLU. comes next.*says which apply"):
        ask("collapsed-linear", relu, "0")


def test_average_pooling_where_a_fixed_kernel_does_it_and_where_none_does() -> None:
    def pooled(pool: nn.Module, *shape: int) -> Capture:
        return captured(Chain(nn.Conv2d(1, 3, 1), pool), *(shape or (1, 6, 6)))

    for pool, kernel in [
        (nn.AvgPool2d((2, 3), (1, 2), (1, 1)), "2×3, all 0.166667"),
        (nn.AvgPool2d(2, divisor_override=3), "2×2, all 0.333333"),
        (nn.AdaptiveAvgPool2d((3, 2)), "2×3, all 0.166667"), (nn.AdaptiveAvgPool2d(1), "6×6, all 0.0277778"),
        (nn.AvgPool2d(3, 3, count_include_pad=False), "3×3, all 0.111111"),
    ]:
        title = f"1: average pooling = convolution with a fixed kernel of {kernel}, in 3 groups"
        assert ask("average-pool-as-convolution", pooled(pool), "1").title == title
    assert "tiles of 6×6: they differ in size" in why("average-pool-as-convolution", pooled(nn.AdaptiveAvgPool2d(4)), "1")
    ceil = pooled(nn.AvgPool2d(2, 2, ceil_mode=True), 1, 5, 5)
    assert "hang over the border" in why("average-pool-as-convolution", ceil, "1")
    bare = pooled(nn.AvgPool2d(3, 2, 1, count_include_pad=False))
    assert "does not count the padding" in why("average-pool-as-convolution", bare, "1")


def test_a_transposed_convolution_and_its_twin() -> None:
    kept = captured(Chain(nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2)), 2, 3, 4)
    assert ask("transposed-convolution", kept, "0").title == "0: ∂L/∂x = convolution of δ, 4×6×8 → 2×3×4"
    strided = captured(Chain(nn.Conv2d(1, 3, 3, stride=3, dilation=2)), 1, 9, 10)
    found = ask("transposed-convolution", strided, "0")
    assert found.notes[-1] == "output_padding 1×2: rows and columns that the stride leaves unread"
    same = captured(Chain(nn.Conv2d(1, 3, 2, padding="same")), 1, 5, 5)
    assert "pads to the 'same' size" in why("transposed-convolution", same, "0")


def test_the_way_back_of_deconvolution_pictures() -> None:
    kept = captured(Chain(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2)), 1, 6, 6)
    assert ask("inverse", kept, "2").title.startswith("2: its 'inverse', unpooling at the switches, = its vector–Jacobian")
    relu = ask("inverse", kept, "1")
    assert "deconvolution pictures cut v where v is negative instead" in relu.notes[-1]
    overlapping = captured(Chain(nn.MaxPool2d(3, 2)), 1, 7, 7)
    assert why("inverse", overlapping, "0") == \
        "windows of 0 overlap: unpooling keeps one of several values, the gradient adds them"
    exact = captured(Chain(nn.Conv2d(1, 1, 1, bias=False)), 1, 4, 4)  # a scale: here the transpose is an inverse
    assert ask("inverse", exact, "0").notes[-1] == "no inverse: Jᵀ·J·x, at its best scale, is off x by 0.0% of |x|"


def test_all_of_them_from_one_sentence() -> None:
    found = actions.equivalences("zoo:lenet5")
    assert found.title == "conv1 (conv2d): 4 of 7 apply"
    assert found.columns["equivalence"].tolist() == list(registry.names("equivalences"))
    proved = found.columns["equivalence"][np.isfinite(found.columns["difference"])].tolist()
    assert proved == ["im2col", "inverse", "sparse-matrix", "transposed-convolution"]
    assert np.nanmax(found.columns["relative"]) < 1e-13
    assert "dense-as-convolution: does not apply: conv1 is a conv2d, not a dense layer" in found.notes
    dense = actions.equivalences("zoo:lenet5", "fc1", method="dense-as-convolution")
    assert dense.title == "fc1: dense 400 → 120 = convolution of 16×5×5 with 120 kernels of 16×5×5"
