"""A segmenter on a classifier's maps: against one written out by hand, on odd sizes, aligned, frozen, kept and opened.

Turns red: in `edits/segment.py`, `(ratio - 1) / 2` -> `ratio / 2` (half a pixel too far); in `editing/backward/encoder.py`,
`group[0] if pooled` -> `group[-1] if pooled` (another map than the pooled one).
"""

from __future__ import annotations

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
from convscope.errors import UsageError
from tests.nets import NETS
from tests.traces import unchanged


def enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def test_it_is_the_one_written_by_hand() -> None:
    """FCN on strides 4, 2 and 1 of the net 'plain': pooled maps, and the last map of the finest level."""
    model, x = NETS["plain"]()
    with unchanged(model, x):
        edited, receipt = cs.edit(cs.open(model, example=x), "segment", outputs=3)
    s: Any = edited.module.segment  # type: ignore[union-attr]
    for part in (s.score2, s.score1):
        assert not part.weight.any()
        nn.init.normal_(part.weight)
    m: Any = model
    first = m.relu1(m.conv1(x))
    second = m.pool1(first)
    last = m.pool2(m.relu2(m.conv2(second)))
    scores = enlarged(s.score4(last), 2) + s.score2(second)
    torch.testing.assert_close(edited.run(x).output, enlarged(scores, 2) + s.score1(first), rtol=1e-4, atol=1e-5)
    assert receipt.changes[0] == "segment.score4: 3 scores a position on pool2 (8×4×4, 4 px a step)"
    assert receipt.after.output == (3, 16, 16)
    assert "seed 0" in receipt.notes[-1]


def five_poolings() -> nn.Module:
    """As VGG: convolutions and poolings in turn, the last convolutions twice."""
    layers: list[nn.Module] = []
    for count in (1, 1, 2, 2, 2):
        for _ in range(count):
            layers += [nn.Conv2d(4 if layers else 3, 4, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Dropout(), nn.Flatten(), nn.Linear(16, 7))


def test_five_poolings_give_the_strides_and_maps_of_the_paper() -> None:
    net = cs.open(five_poolings(), example=(3, 64, 64))
    edited, receipt = cs.edit(net, "segment", outputs=21)
    scored = [c for c in receipt.changes if "scores a position" in c]
    assert [c.split(":")[0] for c in scored] == ["segment.score32", "segment.score16", "segment.score8"]
    pools = [layer.address for layer in net.layers if layer.operator.startswith("max_pool")]
    assert [f" {pool} " in c for pool, c in zip(pools[:1:-1], scored, strict=True)] == [True] * 3
    assert edited.module is not None
    free = {n for n, p in edited.module.named_parameters() if n.startswith("segment.up") and p.requires_grad}
    assert free == {"segment.up32.weight", "segment.up16.weight"}  # the last one stays bilinear


def test_enlarging_is_fixed_or_learned_where_asked() -> None:
    model, x = NETS["plain"]()
    for upsampling, wanted in (("fixed", [False, False]), ("learned", [True, True]), ("fixed-end", [True, False])):
        edited, _ = cs.edit(cs.open(model, example=x), "segment", skips=1, upsampling=upsampling)
        found = [p.requires_grad for n, p in edited.module.named_parameters() if ".up" in n]  # type: ignore[union-attr]
        assert found == wanted


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(-9, 9), st.integers(1, 40))
def test_enlarging_is_bilinear_at_any_size_and_shift(height: int, width: int, rows: int, columns: int, shift: int,
                                                     size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    found = parts.Enlarge(3, (rows, columns), shift).double()(x, torch.zeros(1, 1, size, size + 1))
    between = [((torch.arange(n, dtype=torch.float64) - shift + 0.5) / f - 0.5).clamp(0, m - 1)
               for n, f, m in ((size, rows, height), (size + 1, columns, width))]
    low = [b.floor().long() for b in between]
    high = [(a + 1).clamp(max=m - 1) for a, m in zip(low, (height, width), strict=True)]
    t, u = (b - a for b, a in zip(between, low, strict=True))
    y = x[:, :, low[0]] * (1 - t)[:, None] + x[:, :, high[0]] * t[:, None]
    torch.testing.assert_close(found, (y[..., low[1]] * (1 - u) + y[..., high[1]] * u), rtol=1e-5, atol=1e-6)


class Means(nn.Module):
    """Averages without padding, so that maps are cut on all sides; one channel, its value the mean of what it sees."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 5, padding=padding, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(1, 1, 3, padding=padding // 2, bias=False)
        self.pool2, self.head = nn.AvgPool2d(2), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
        nn.init.constant_(self.conv.weight, 1 / 25)
        nn.init.constant_(self.conv2.weight, 1 / 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool2(self.conv2(self.pool(self.conv(x)))))


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("skips", [0, 1])
@pytest.mark.parametrize("size", [(40, 48), (43, 51)])
def test_scores_stand_where_their_pixels_are(padding: int, skips: int, size: tuple[int, int]) -> None:
    """A ramp, averaged on the way up and enlarged on the way back, is the ramp again, away from the border."""
    height, width = size
    ramp = (2.0 * torch.arange(height)[:, None] + torch.arange(width)).float().expand(1, 1, -1, -1)
    edited, _ = cs.edit(cs.open(Means(padding), example=ramp), "segment", outputs=1, skips=skips)
    s: Any = edited.module.segment  # type: ignore[union-attr]
    nn.init.ones_(s.score4.weight)
    inside = edited.run(ramp).output[..., 14:26, 14:34]
    torch.testing.assert_close(inside, ramp[..., 14:26, 14:34], rtol=0, atol=1e-3)


def test_any_size_runs() -> None:
    model, x = NETS["plain"]()
    edited, _ = cs.edit(cs.open(model, example=x), "segment", outputs=2, skips=1)
    for size in ((16, 16), (17, 22), (31, 19)):
        assert tuple(edited.run(torch.randn(1, 3, *size)).output.shape) == (1, 2, *size)


def test_it_is_kept_opened_and_traced(tmp_path: Path) -> None:
    model, x = NETS["residual"]()
    edited, receipt = cs.edit(cs.open(model, example=x), "segment", skips=1)
    again = cs.open(keeping.keep(edited, receipt, tmp_path / "kept"))
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert [p.requires_grad for p in again.module.parameters()] == [  # type: ignore[union-attr]
        p.requires_grad for p in edited.module.parameters()]  # type: ignore[union-attr]
    assert again.trace().layers[-1].output_shape == (1, 5, 16, 16)


def test_more_skips_than_resolutions_are_refused_with_the_number_that_works() -> None:
    model, x = NETS["residual"]()
    net = cs.open(model, example=x)
    with pytest.raises(UsageError, match=r"2 skips into .*it has 2 resolutions up to block2.relu:1: strides 1, 2; skips=1"):
        cs.edit(net, "segment")
    with pytest.raises(UsageError, match=r"where the positions of head.2 lie in the image.*receptive field"):
        cs.edit(net, "segment", upto="head.2", skips=0)
