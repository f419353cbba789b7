"""Rows of many tensors and the moments of many samples, against the plain way; together or one by one, the same numbers.

Mutation: in `watching/samples.py`, let `Rows.values` keep a view whose tensor has moved (drop `or self._at[j] != …`):
`test_rows_follow_a_tensor_that_moves` turns red. In `watching/record.py`, let `work_out` not advance `i` past a window's
layers: `test_windows_worked_out_together_give_what_each_gives` turns red.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from convscope.watching import places, record
from convscope.watching.samples import Rows, moments
from tests.watching.loops import Loop


def plain(tensors: list[Tensor | None], like: list[Tensor], most: int) -> np.ndarray:
    """Each tensor flattened, every so many values of it, as float64."""
    parts = []
    for t, p in zip(tensors, like, strict=True):
        flat = np.zeros(p.numel()) if t is None else t.detach().double().numpy().reshape(-1)
        every = -(-len(flat) // most)
        parts.append(flat[::every + (every % 2 == 0)])
    return np.concatenate(parts)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30), st.sampled_from(["plain", "turned", "none", "half"])),
                min_size=1, max_size=4), st.integers(16, 60))
def test_rows_are_the_plain_rows(made: list[tuple[int, int, str]], most: int) -> None:
    tensors = []
    for a, b, how in made:
        t = torch.randn(b, a).t() if how == "turned" else torch.randn(a, b)
        p = nn.Parameter(t.half() if how == "half" else t)
        p.grad = None if how == "none" else torch.randn_like(p)
        tensors.append(p)
    rows = Rows(tensors, most)
    for _ in range(2):  # the second time from the views that were kept
        np.testing.assert_array_equal(rows.values().numpy(), plain(tensors, tensors, most))
        np.testing.assert_array_equal(rows.gradients().numpy(), plain([t.grad for t in tensors], tensors, most))
        with torch.no_grad():
            tensors[0].mul_(2)
    found = rows.values().double().numpy()[None]
    wanted = [(found[0, a:b] ** 2).sum() for a, b in zip(rows.starts, rows.ends, strict=True)]
    np.testing.assert_allclose(rows.squares(found)[0], wanted)


def test_rows_follow_a_tensor_that_moves() -> None:
    p = nn.Parameter(torch.zeros(3))
    rows = Rows([p], 16)
    assert rows.values().tolist() == [0, 0, 0]
    p.data = torch.ones(3)
    kept = rows.values()
    p.data.add_(1)
    assert kept.tolist() == [1, 1, 1]  # a copy
    assert rows.values().tolist() == [2, 2, 2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.booleans()), min_size=1, max_size=8), st.integers(0, 99))
def test_moments_of_many_are_those_of_each(made: list[tuple[int, int, bool]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [torch.from_numpy(np.maximum(rng.normal(size=(u, m)), 0).astype(np.float32)) for u, m, _ in made]
    asked = [z for *_, z in made]
    found = moments(samples, asked)
    for j, (s, z) in enumerate(zip(samples, asked, strict=True)):
        x = s.double().numpy()
        silent = (x == 0).all(1).mean()
        wanted = [x.mean(), x.std(), (x == 0).mean() if z else np.nan, silent if z else np.nan]
        np.testing.assert_allclose([found[k][j] for k in ("mean", "std", "zeros", "dead")], wanted, atol=1e-12)


@pytest.mark.parametrize("how", [{"full": True}, {"every": 3}])
def test_windows_worked_out_together_give_what_each_gives(how: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(together: int) -> Any:
        monkeypatch.setattr(record, "TOGETHER", together)
        return Loop(settings=how, steps=11, clip=0.1).watched()

    each, some, all_ = run(1), run(4), run(1000)
    for other in (some, all_):
        assert other.layers == each.layers
        assert str(other.loop) == str(each.loop)  # NaN is NaN
        for mine, theirs in ((other.health, each.health), (other.steps, each.steps)):
            for key, values in theirs.items():
                np.testing.assert_allclose(mine[key], values, rtol=1e-12, err_msg=key)


def test_the_quick_ways_of_the_stack_leave_it_as_they_found_it() -> None:
    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    eye, other = Mode(), Mode()
    places.put(eye)
    assert _get_current_function_mode_stack() == [eye]
    places.remove(eye)
    assert _get_current_function_mode_stack() == []
    with other:
        places.remove(eye)
        assert _get_current_function_mode_stack() == [other]
        places.put(eye)
        places.put(eye)
        assert _get_current_function_mode_stack() == [eye, other]
        places.remove(eye)
    assert _get_current_function_mode_stack() == []
