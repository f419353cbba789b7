"""Which way is taken, and what is said where one will not do.

Turns red: `WORTH = 0.9` → `9`; `grid.stride % s == 0` → `grid.stride == s` in `_coarse`; the `reading.barriers` line in
`choose` left out; `margin` of `Way` → 0.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convscope.dense import choose, reading, tiles
from convscope.dense.axes import Grid, windows
from convscope.dense.pieces import Grids
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS


def grids(count: int, stride: int = 1) -> Grids:
    return Grid(count, stride), Grid(count, stride)


def tiny(name: str) -> Network:
    module, x = NETS[name]()
    return Network.open(module, x[:1])


class Gate(nn.Module):
    """Squeeze and excitation: each channel is weighted by a function of the whole window."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.after = nn.Conv2d(1, 4, 3), nn.Linear(4, 4), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.after(x).mean((2, 3))


def opened(*parts: nn.Module, size: tuple[int, int, int] = (1, 10, 10)) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network.open(nn.Sequential(*parts).eval(), size)


def between(part: nn.Module) -> Network:
    return opened(nn.Conv2d(1, 4, 3), part, nn.Conv2d(4, 2, 3), nn.Flatten())


def refused(net: Network, way: str, stride: int = 1) -> str:
    with pytest.raises(UsageError) as problem:
        choose.choose(net, way, grids(12, stride))
    return str(problem.value)


def test_what_auto_takes() -> None:
    open_ = tiny("functional_relu")  # no padding, strides 2·2
    assert choose.choose(open_, "auto", grids(20)).name in ("dilated", "fragments")
    assert choose.choose(open_, "auto", grids(20, 2)).name == "dilated"
    assert choose.choose(open_, "auto", grids(20, 4)).name == choose.choose(open_, "auto", grids(20, 8)).name == "coarse"
    assert choose.choose(tiny("plain"), "auto", grids(40)).name == "zones"


def test_a_trial_is_made_once_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    net, trials = tiny("functional_relu"), list[str]()

    def timed(way: choose.Way, some: Grids) -> float:
        trials.append(way.name)
        return {"dilated": 2.0, "fragments": 1.0}[way.name]

    monkeypatch.setattr(choose, "_timed", timed)
    assert [choose.choose(net, "auto", grids(9)).name for _ in range(3)] == ["fragments"] * 3
    assert trials == ["dilated", "fragments"]


def test_padding_forbids_sharing_and_is_named() -> None:
    said = refused(tiny("plain"), "dilated")
    assert said.startswith("the way 'dilated' is not for this network; conv1 reads 1 + 1 cells beyond a map of 16 (")
    assert "'zones' is exact; 'context' takes the pixels around a window for its padding" in said
    assert "conv1" in refused(tiny("plain"), "fragments")
    assert "conv1" in refused(tiny("plain"), "coarse", 4)


def test_coarse_and_fragments_have_their_strides() -> None:
    said = refused(tiny("functional_relu"), "coarse", 3)
    assert "that is 4×4, the scan's is 3; use a multiple of 4 as stride" in said
    assert "fragments hold the windows at every pixel; the stride is 2" in refused(tiny("functional_relu"), "fragments", 2)


@pytest.mark.parametrize(("net", "reason"), [
    (lambda: opened(Gate()), "joins a value of the whole window with a map, as squeeze-and-excitation does"),
    (lambda: between(nn.GroupNorm(2, 4)), "normalises every window by its own mean"),
    (lambda: between(nn.LayerNorm([4, 8, 8])), "normalises every window by its own mean"),
    (lambda: between(nn.InstanceNorm2d(4)), "normalises every window by its own mean"),
    (lambda: between(nn.AdaptiveAvgPool2d(3)), "pools a map into uneven parts (8×8 to 3×3)"),
    (lambda: between(nn.Upsample(scale_factor=2)), "is not known to treat every position alike"),
    (lambda: between(nn.ReflectionPad2d(1)), "pads with pixels of the window itself"),
    (lambda: tiny("rows_lstm"), "reads every window as a whole"),
])  # fmt: skip
def test_what_works_on_whole_windows_is_refused_by_name(net: object, reason: str) -> None:
    asked: Network = net()  # type: ignore[operator]
    for way in ("dilated", "context"):
        said = refused(asked, way)
        assert reason in said
        assert "use the way 'windows', which is always exact" in said
    grid = grids(windows(14, asked.input_shape[2], 1) or 2)
    x = torch.randn(asked.input_shape[1], asked.input_shape[2] + grid[0].count - 1, asked.input_shape[3] + grid[1].count - 1)
    exact = choose.choose(asked, "windows", grid)
    chosen = choose.choose(asked, "auto", grid)
    assert chosen.name in ("zones", "windows")
    assert torch.allclose(tiles.run(tiles.Job(chosen.work), chosen.reading, x, grid, 10**9),
                          tiles.run(tiles.Job(exact.work), exact.reading, x, grid, 10**9), atol=1e-5)
    if chosen.name == "zones":
        assert "every window by itself from where" in chosen.notes[0]
    else:
        assert "one by one" in chosen.notes[0]
        assert "as sharing would save nothing" in chosen.notes[0]


def test_zones_that_fill_the_map_are_refused_when_they_cost_more() -> None:
    deep = opened(*[nn.Conv2d(8 if k else 1, 8, 3, padding=1) for k in range(10)], nn.Flatten(), size=(1, 6, 6))
    assert reading.read(deep).maps[-1].axes[0].filled
    said = refused(deep, "zones")
    assert "the way 'zones' would save nothing here; 0 reads 1 + 1 cells beyond a map of 6; its work is" in said
    assert choose.choose(deep, "auto", grids(12)).name == "windows"


def test_a_bound_batch_leaves_the_loop() -> None:
    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).reshape(3, -1)
            return x - x.mean(0)

    net = Network.open(Mixes(), torch.randn(3, 1, 5, 5))
    assert net.batch == 3
    assert "takes batches of 3 only" in refused(net, "zones")
    chosen = choose.choose(net, "auto", grids(2))
    assert chosen.name == "windows"
    assert chosen.work(torch.randn(1, 6, 6), grids(2)).shape == (4, 18)


@pytest.mark.parametrize(("net", "said"), [
    (lambda: Network.open(nn.Linear(4, 2), torch.zeros(1, 4)), "does not read windows of an image"),
    (lambda: opened(nn.Conv2d(1, 2, 3)), "gives no scores of classes"),
])  # fmt: skip
def test_what_is_no_classifier_of_images(net: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        reading.read(net())  # type: ignore[operator]
