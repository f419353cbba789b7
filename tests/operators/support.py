"""Where an operator really reads, found by brute force, against what its `windows` say."""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.geometry import Window


def reads(window: Window, i: int, n: int) -> set[int]:
    """The input positions that output `i` reads along an axis of n pixels, spelled out from the definition of a Window."""
    if window.transposed:
        from_taps = {i + window.padding - t * window.dilation for t in range(window.kernel)}
        return {j for j in range(n) if j * window.stride in from_taps}
    return {i * window.stride - window.padding + t * window.dilation for t in range(window.kernel)} & set(range(n))


def supported(operator: Any, *arrays: Any, exact: bool = True) -> None:
    """`windows` against brute force: the gradient of each output position lies inside (exact: fills) what they say."""
    x = arrays[0]
    out = operator.output_shape(*(a.shape for a in arrays))
    for axis, window in enumerate(operator.windows(*(a.shape for a in arrays)), start=2):
        for i in range(out[axis]):
            delta, here = np.zeros(out), (*(slice(None),) * axis, i)
            delta[here] = np.random.default_rng(i).uniform(1, 2, delta[here].shape)
            gradient = np.abs(operator.backward(delta, *arrays)[0])
            found = set(np.flatnonzero(gradient.sum(axis=tuple(a for a in range(x.ndim) if a != axis))))
            allowed = set(range(x.shape[axis])) if window == "whole" else reads(window, i, x.shape[axis])
            assert found <= allowed, f"axis {axis}, output {i}: reads {found}, windows say {allowed}"
            assert not exact or found == allowed, f"axis {axis}, output {i}: reads only {found} of {allowed}"
