"""The hand-made network against torch: without mistakes it is right, and each mistake is one.

Turns red: in `tests/debugger/naive.py`, `weight[:, :, ::-1, ::-1]` -> `weight[:, :, ::-1]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.debugger.handmade import PAIRS, Pair
from tests.debugger.naive import LOSS, MISTAKES, DoesNotFit


def from_torch(pair: Pair) -> dict[str, Any]:
    """Outputs, their deltas, and gradients of every module, as autograd has them."""
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            kept[name] = output[0] if isinstance(output, tuple) else output
            kept[name].retain_grad()
        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in pair.module.named_children()]
    output = pair.module(torch.from_numpy(pair.x))
    loss = F.cross_entropy(output, torch.tensor(pair.labels))
    pair.module.zero_grad()
    loss.backward()
    for hook in hooks:
        hook.remove()
    found = {"loss": loss.item(), "output": output.detach().numpy()}
    for name, value in kept.items():
        assert value.grad is not None
        found |= {f"{name}.activation": value.detach().numpy(), f"{name}.delta": value.grad.numpy()}
    return found | {f"{k}.gradient": v.grad.numpy() for k, v in pair.module.named_parameters() if v.grad is not None}


@pytest.mark.parametrize("name", PAIRS)
def test_without_mistakes_it_is_what_torch_computes(name: str) -> None:
    pair = PAIRS[name]()
    ours, theirs = pair.arrays(), from_torch(pair)
    assert len(theirs) >= 12
    for array, value in theirs.items():
        np.testing.assert_allclose(ours[array], value, rtol=1e-9, atol=1e-12, err_msg=array)


@pytest.mark.parametrize("name", PAIRS)
def test_what_a_layer_hands_back_is_what_the_layer_before_receives(name: str) -> None:
    pair = PAIRS[name]()
    arrays = pair.arrays()
    readers = [read for step in pair.steps for read in step.reads]
    for step in pair.steps:
        before = step.reads[0]
        if len(step.reads) == 1 and readers.count(before) == 1 and before != "input":
            np.testing.assert_array_equal(arrays[f"{step.name}.input_delta"], arrays[f"{before}.delta"])


def test_every_mistake_shows_in_some_network() -> None:
    unseen = {(kind, key) for kind, keys in MISTAKES.items() for key in keys}
    assert len(unseen) >= 24
    for make in PAIRS.values():
        pair = make()
        right = pair.arrays()
        for name, kind in [(step.name, step.kind) for step in pair.steps] + [(LOSS, LOSS)]:
            for key in MISTAKES[kind]:
                try:
                    wrong = pair.arrays({name: key})
                except DoesNotFit:
                    continue
                assert set(wrong) <= set(right)
                stopped = [k for k in wrong if wrong[k].shape != right[k].shape]
                assert stopped == ([f"{name}.input_delta"] if stopped else [])
                assert stopped or len(wrong) == len(right)
                if stopped or any(not np.allclose(wrong[k], right[k], rtol=1e-6, atol=1e-12) for k in right):
                    unseen.discard((kind, key))
    assert not unseen


def test_an_unknown_mistake_is_refused() -> None:
    with pytest.raises(AssertionError, match="conv1 knows no mistake 'coffee'"):
        PAIRS["one_filter"]().arrays({"conv1": "coffee"})
