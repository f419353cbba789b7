"""Channels away and copied, in all weights at once: as if their readers had weight 0; and the answers as they were.

Mutations that turn it red: in `moving.py`, `np.repeat(1 / np.maximum(n, 1), n)` -> `np.ones(n.sum())` (copies are not
divided); `v.index + start` -> `v.index` (concatenations forget their offsets).
"""

from __future__ import annotations

import copy
import functools
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope import registry
from convscope.editing import Draft
from convscope.editing.units import moving
from convscope.editing.units.channels import Channels
from convscope.editing.units.ways import Use
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS

NAMES = [name for name in NETS if name != "rows_lstm"]  # nothing of it can be followed


@functools.cache
def whole(name: str) -> tuple[nn.Module, torch.Tensor, Draft]:
    if name in NETS:
        model, x = NETS[name]()
        return model, x, Draft.of(Network.open(model, x, name))
    model = registry.factory(name)().eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return model, x, Draft.of(Network.open(model, x, name))


def free(plan: Channels) -> list[int]:
    pins = plan.pins
    return [c for c in plan.writers() if c not in pins]


def zeroed(name: str, gone: set[int], slots: bool) -> torch.Tensor:
    """The slow twin: the network as it is, every weight that reads one of these channels set to 0."""
    _, x, whole_draft = whole(name)
    plan = Channels(whole_draft.copy(), slots=slots)
    for use in (u for u in plan.uses if u.reads):
        classes = plan.of(use.value)[: len(plan.labels[use.value]) // use.slots]
        for i in np.flatnonzero(np.isin(classes, list(gone))):
            use.tensor.data.select(use.axis, int(i)).zero_()
    return plan.draft.run(x)


def ran(code: list[str], model: nn.Module) -> nn.Module:
    """The receipt's own Python, on a copy of the user's model."""
    space = {"model": copy.deepcopy(model), "nn": nn, "torch": torch}
    exec(textwrap.dedent("\n".join(code)), space)
    return space["model"]  # type: ignore[return-value]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**16), st.booleans())
def test_taking_channels_away_is_zeroing_the_weights_that_read_them(name: str, seed: int, slots: bool) -> None:
    model, x, draft = whole(name)
    plan = Channels(draft.copy(), slots=slots)
    names, rng = free(plan), np.random.default_rng(seed)
    gone = {int(c) for c in rng.choice(names, size=max(1, len(names) // 5), replace=False)}
    for node in plan.ways:  # each value keeps one
        if set(plan.of(node).tolist()) <= gone:
            gone.remove(int(plan.of(node)[0]))
    moving.apply(plan, moving.maps(plan, dict.fromkeys(gone, 0)))
    plan.draft.measure()
    want = zeroed(name, gone, slots)
    assert torch.allclose(plan.draft.run(x), want, atol=1e-5)
    assert torch.allclose(ran(plan.draft.code, model)(x), want, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**16))
def test_copied_channels_leave_the_answers(name: str, seed: int) -> None:
    model, x, draft = whole(name)
    plan = Channels(draft.copy(), slots=True)
    names, rng = free(plan), np.random.default_rng(seed)
    counts = {int(c): int(rng.integers(2, 4)) for c in rng.choice(names, size=max(1, len(names) // 3), replace=False)}
    before = sum(p.numel() for p in plan.draft.root.parameters())
    changes = moving.apply(plan, moving.maps(plan, counts))
    assert torch.allclose(plan.draft.run(x), draft.run(x), atol=1e-5)
    assert torch.allclose(ran(plan.draft.code, model)(x), draft.run(x), atol=1e-5)
    after = sum(p.numel() for p in plan.draft.root.parameters())
    held = dict(plan.draft.root.named_parameters())
    assert after - before == moving.new_parameters([c for c in changes if c.path in held])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet", "densenet121", "squeezenet1_1", "vgg11_bn"])
def test_known_architectures_are_followed(name: str) -> None:
    """A tenth of all units away is a tenth unread; copies of another tenth leave the answers."""
    _, x, draft = whole(name)
    names, rng = free(Channels(draft.copy())), np.random.default_rng(0)
    some = [int(c) for c in rng.choice(names, size=len(names) // 10, replace=False)]
    plan = Channels(draft.copy())
    gone = set(some)
    moving.apply(plan, moving.maps(plan, dict.fromkeys(gone, 0)))
    plan.draft.measure()
    want = zeroed(name, gone, slots=False)
    assert torch.allclose(plan.draft.run(x), want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
    plan = Channels(draft.copy(), slots=True)
    moving.apply(plan, moving.maps(plan, dict.fromkeys(some, 2)))
    want = draft.run(x)
    assert torch.allclose(plan.draft.run(x), want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_all_units_cannot_go_nor_pinned_ones() -> None:
    plan = Channels(whole("plain")[2].copy())
    with pytest.raises(UsageError, match=r"no unit of conv1 would be left; it has 6, and all were chosen; keep at"):
        moving.maps(plan, {int(c): 0 for c in plan.of(plan.draft["conv1"])})
    with pytest.raises(UsageError, match=r"2 of 2 units cannot be changed; fc2 is the network's answer; choose units that"):
        moving.maps(plan, {int(c): 0 for c in plan.of(plan.draft["fc2"])[:2]})


def test_whole_groups_cannot_be_copied() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, groups=4), nn.Conv2d(16, 2, 1)).eval()
    plan = Channels(Draft.of(Network.open(model, torch.zeros(2, 3, 6, 6))))
    classes = plan.of(plan.draft["0"])
    with pytest.raises(UsageError, match=r"copies of single units of 1; whole groups were made one; take slots"):
        moving.maps(plan, {int(classes[0]): 2})
    moving.apply(plan, moving.maps(plan, {int(classes[0]): 0}))
    plan.draft.measure()
    grouped = plan.draft.module(plan.draft["1"])
    assert isinstance(grouped, nn.Conv2d)
    assert (grouped.in_channels, grouped.out_channels, grouped.groups) == (6, 12, 3)


def test_a_view_that_says_its_size_says_the_new_one() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x).view(-1, 16))

    plan = Channels(Draft.of(Network.open(Viewed().eval(), torch.zeros(2, 1, 4, 4))))
    moving.apply(plan, moving.maps(plan, {int(plan.of(plan.draft["conv"])[1]): 0}))
    plan.draft.measure()
    assert plan.draft.run(torch.zeros(3, 1, 4, 4)).shape == (3, 3)


def test_new_channels_begin_at_nothing_and_cannot_pass_a_depthwise_filter() -> None:
    draft = whole("residual")[2].copy()
    plan = Channels(draft)
    node = draft["block2.relu"]
    forced = {node: moving.Moved(np.array([*range(8), -1, -1]), np.ones(10))}
    changes = moving.apply(plan, moving.maps(plan, {}, forced), forced)
    assert [c.path for c in changes] == ["block2.conv2.weight"]
    assert moving.new_parameters(changes) == 2 * 8 * 9
    weight = draft.root.get_parameter("block2.conv2.weight")
    assert not weight[:, 8:].any()
    draft = whole("grouped")[2].copy()
    plan, node = Channels(draft), draft["relu1"]
    forced = {node: moving.Moved(np.array([*range(8), -1]), np.ones(9))}
    with pytest.raises(UsageError, match=r"new channels through depthwise; it filters each channel by itself; choose"):
        moving.apply(plan, moving.maps(plan, {}, forced), forced)


def test_values_that_meet_must_agree() -> None:
    plan = Channels(whole("in_place")[2].copy())
    forced = {plan.draft["conv2"]: moving.kept(5)}
    with pytest.raises(UsageError, match=r"the values that meet in add; they would have 5 and 6 channels; choose another"):
        moving.maps(plan, {}, forced)


def test_a_tensor_in_two_calls_must_agree_too() -> None:
    plan = Channels(whole("shared_module")[2].copy())
    forced = {plan.draft["relu"]: moving.kept(5)}
    with pytest.raises(UsageError, match=r"conv.weight is used twice; conv.* would need it in another size; choose another"):
        moving.apply(plan, moving.maps(plan, {}, forced), forced)


def test_numbers_are_written_short() -> None:
    assert moving.runs((0, 1, 2, 3, 5, 7, 8)) == "[*range(0, 4), 5, 7, 8]"
    assert moving.words([moving.Change("a.weight", (4, 3), (2, 3)), moving.Change("a.bias", (4,), (2,))]) == (
        "a.weight 4×3 → 2×3")
    assert isinstance(Channels(whole("plain")[2].copy()).uses[0], Use)
