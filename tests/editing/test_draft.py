"""A draft: parts are found, moved and taken away; what cannot be done is said with the numbers.

Mutations that turn it red: in `draft.py`, `if user not in kept` -> `if True` in `redirect` (a new call reads itself);
`shared and not everywhere` -> `False` in `put` (other calls of a reused module change too).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.editing import Draft, writing
from convscope.errors import ExportError, ShapeError, UnknownName, UsageError
from convscope.network import Network
from tests.nets import NETS


def draft_of(name: str) -> tuple[Draft, torch.Tensor]:
    model, x = NETS[name]()
    return Draft.of(Network.open(model, x, name)), x


def test_a_layer_is_found_by_its_address_and_a_block_by_its_path() -> None:
    draft, _ = draft_of("residual")
    assert draft.shape(draft["block2.conv1"]) == (8, 8, 8)
    assert isinstance(draft.module(draft["block2.conv1"]), nn.Conv2d)
    assert [draft.address(n) for n in draft.under("block2.downsample")] == ["block2.downsample.0", "block2.downsample.1"]
    assert draft.python("block2.downsample.0") == 'model.block2.downsample[0]'
    with pytest.raises(UnknownName, match=r"no layer named 'block3.conv1'; closest: 'block2.conv1'.*`convscope trace`"):
        draft["block3.conv1"]
    with pytest.raises(UnknownName, match=r"no layer or block named 'blok2'"):
        draft.under("blok2")


def test_a_module_is_put_in_place_of_another() -> None:
    draft, x = draft_of("plain")
    before = draft.run(x)
    old = draft.module(draft["conv1"])
    assert isinstance(old, nn.Conv2d)
    wide = nn.Conv2d(3, 6, 5, padding=2)
    with torch.no_grad():
        wide.weight.zero_()[:, :, 1:4, 1:4] = old.weight
        assert wide.bias is not None
        assert old.bias is not None
        wide.bias.copy_(old.bias)
    draft.put(draft["conv1"], wide)
    draft.measure()
    assert torch.allclose(draft.run(x), before, atol=1e-5)
    assert "self.conv1 = nn.Conv2d(3, 6, 5, padding=2)" in draft.finish()[1]


def test_one_call_of_a_reused_module_changes_alone_unless_all_are_asked_for() -> None:
    draft, x = draft_of("reused_relu")
    calls = draft.find(nn.ReLU)
    assert len(calls) > 1
    draft.put(calls[0], nn.Tanh())
    assert [type(draft.module(n)).__name__ for n in calls] == ["Tanh"] + ["ReLU"] * (len(calls) - 1)
    draft.put(calls[1], nn.GELU(), everywhere=True)
    assert [type(draft.module(n)).__name__ for n in calls[1:]] == ["GELU"] * (len(calls) - 1)
    edited, _ = draft.finish()
    assert torch.isfinite(edited.run(x).output).all()


def test_calls_are_inserted_dropped_and_redirected() -> None:
    draft, x = draft_of("plain")
    before = draft.run(x)
    doubled = draft.insert(draft["relu1"], F.interpolate, "larger", scale_factor=2.0)
    draft.insert(doubled, nn.AvgPool2d(2), "smaller")  # the mean of four copies is the number itself
    draft.measure()
    assert draft.shape(doubled) == (6, 32, 32)
    assert torch.allclose(draft.run(x), before, atol=1e-6)
    edited, source = draft.finish()
    assert "x = F.interpolate(x, scale_factor=2.0)" in source
    assert torch.allclose(edited.run(x).output, before, atol=1e-6)
    for address in ("smaller", "larger"):
        draft.drop(draft[address])
    assert torch.equal(draft.run(x), before)


def test_where_sizes_part_the_layer_and_the_numbers_are_said() -> None:
    draft, _ = draft_of("plain")
    draft.drop(draft["pool2"])
    with pytest.raises(ShapeError, match=r"fc1 cannot take what it is given; it gets 512 and takes 128 numbers"):
        draft.measure()
    draft, _ = draft_of("plain")
    draft.drop(draft["conv2"])
    with pytest.raises(ShapeError, match=r"fc1 cannot take .* gets 96 and takes 128 numbers"):
        draft.measure()
    draft, _ = draft_of("plain")
    draft.put(draft["conv1"], nn.Conv2d(3, 7, 3, padding=1))
    with pytest.raises(ShapeError, match=r"conv2 cannot take .* gets 7×8×8 \(448 numbers\) and takes 6 channels"):
        draft.measure()
    draft, _ = draft_of("residual")
    draft.put(draft["block1.conv2"], nn.Conv2d(6, 6, 3))
    with pytest.raises(ShapeError, match=r"block1.add cannot take .* 6×14×14 .* and 6×16×16 .*; torch says: "):
        draft.measure()


def test_a_join_does_not_go_without_a_word_on_who_goes_on() -> None:
    draft, _ = draft_of("residual")
    with pytest.raises(UsageError, match=r"block1.add without itself; it joins 2 values; say which of them goes on"):
        draft.drop(draft["block1.add"])


def test_a_plain_call_has_no_module_and_several_values_no_size() -> None:
    draft, _ = draft_of("functional_relu")
    with pytest.raises(UsageError, match=r"the module of relu; it is a plain call: relu.default; choose a layer"):
        draft.module(draft["relu"])
    several = draft.insert(draft["relu"], torch.chunk, "parts", chunks=2, dim=1)
    first = draft.call(several, torch.cat, several, dim=1)
    draft.redirect(several, first, but=(first,))
    draft.measure()
    with pytest.raises(UsageError, match=r"the size of parts; its value is no single tensor; choose another layer"):
        draft.shape(several)


def test_a_copy_is_a_draft_of_its_own() -> None:
    draft, x = draft_of("plain")
    before = draft.run(x)
    other = draft.copy()
    other.drop(other["relu1"])
    other.say("no relu1")
    assert torch.equal(draft.run(x), before)
    assert draft.changes == []
    assert not torch.equal(other.run(x), before)


def test_what_python_cannot_say_is_refused() -> None:
    draft, _ = draft_of("plain")
    draft.insert(draft["relu1"], strange, "strange")
    with pytest.raises(ExportError, match=r"a call of strange cannot be written out; it is no function of torch"):
        writing.source(draft.root, "net")

    class Own(nn.Module):
        def __init__(self, *sizes: int) -> None:
            super().__init__()
            self.sizes = sizes

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    draft, _ = draft_of("plain")
    draft.insert(draft["relu1"], Own(1), "own")
    with pytest.raises(ExportError, match=r"own cannot be written out; Own does not keep its settings; use a module"):
        writing.source(draft.root, "net")


def strange(x: torch.Tensor) -> torch.Tensor:
    return x
