"""Does a backward pass agree with its forward pass? Central differences, number by number, in float64.

    ∂L/∂x[i] ≈ (L(x + h·e_i) − L(x − h·e_i)) / 2h,        L = Σ r · f(x) with fixed random weights r

The truncation error falls with h², the rounding error grows with eps/h; at h = 1e-5·max(1, |x[i]|) both lie near 1e-10.
Where the two one-sided differences disagree and the analytic number lies between them, x[i] sits on a kink (ReLU at 0): no
mistake.

Source: Press et al. 2007, "Numerical Recipes", section 5.7; of a ReLU's kinks: Goodfellow, Bengio, Courville 2016, section
11.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import DataError, UsageError
from convscope.results import Finding, Findings, Origin

STEP, TOLERANCE = 1e-5, 1e-6
NUMBERS = 400  # of each array; of larger ones as many are drawn


def differences(function: Any, inputs: Any, seed: int = 0) -> Findings:
    """Does the backward pass of a `torch.autograd.Function` or an `nn.Module` agree with finite differences?

    `inputs`: a tensor, an array, or a tuple of them (whole numbers and None are handed on as they are). Every
    floating-point input and every parameter is checked, number by number (at most 400 drawn ones of each). Raises
    UsageError for what is neither a Function, a module nor a function, DataError for inputs or outputs that are not finite.
    Misleads: what is random must be seeded, and a forward pass that is wrong itself agrees with its own derivative. Source:
    Press et al. 2007.

    >>> differences(torch.tanh, torch.tensor([0.5, -1.0])).findings[0].symptom
    '1 array agrees with finite differences'
    """
    run, named, title = _prepared(function, inputs)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        weights: list[Tensor] = []

        def loss() -> Tensor:
            torch.manual_seed(seed + 1)  # a random forward pass draws the same numbers each time
            outs = [o for o in _flat(run()) if o.is_floating_point()]
            if not weights:
                made = torch.Generator().manual_seed(seed)
                weights.extend(torch.randn(o.shape, generator=made, dtype=torch.float64) for o in outs)
            return sum(((o.double() * w).sum() for o, w in zip(outs, weights, strict=True)), torch.zeros(()))

        whole = loss()
        if not torch.isfinite(whole):
            raise DataError(f"{title} gives {float(whole.detach())}", "its output is not finite", "check the inputs")
        if not whole.requires_grad:
            raise UsageError(
                f"{title} has no gradient",
                "its output does not depend on its inputs by autograd",
                "return what is computed from them with torch",
            )
        grads = torch.autograd.grad(whole, list(named.values()), allow_unused=True)
        rows = [_checked(name, t, g, (loss, seed)) for (name, t), g in zip(named.items(), grads, strict=True)]
    findings = [f for _, f in rows if f is not None]
    if not findings:
        n = len(rows)
        findings = [
            Finding(
                "fine",
                f"{n} array{' agrees' if n == 1 else 's agree'} with finite differences",
                evidence={"largest relative difference": max(r["relative"] for r, _ in rows)},
            )
        ]
    columns = {key: np.array([r[key] for r, _ in rows]) for key in rows[0][0]}
    units = {
        "difference": "largest |analytic − numeric|",
        "relative": "the same, over the largest |number|",
        "checked": "numbers that were moved",
        "kinks": "numbers on a kink, where both sides are right",
    }
    return Findings(
        title=f"{title}: backward pass against finite differences",
        findings=tuple(findings),
        checked=columns,
        units=units,
        origin=Origin(f"differences({title})", seed=seed),
    )


def _prepared(function: Any, inputs: Any) -> tuple[Callable[[], Any], dict[str, Tensor], str]:
    """What to run, the tensors to move by name, and a title. The user's module and tensors stay as they are."""
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    made: list[Any] = []
    named: dict[str, Tensor] = {}
    for at, value in enumerate(given):
        tensor = torch.as_tensor(value) if isinstance(value, (Tensor, np.ndarray)) else value
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            tensor = tensor.detach().double().clone(memory_format=torch.contiguous_format).requires_grad_()
            if not torch.isfinite(tensor).all():
                raise DataError(f"input {at} is not finite", "", "give numbers")
            named[f"input {at}"] = tensor
        made.append(tensor)
    if isinstance(function, nn.Module):
        import copy

        module = copy.deepcopy(function).double()
        module.requires_grad_()
        named |= dict(module.named_parameters())
        kept = {k: v.clone() for k, v in module.named_buffers()}

        def run() -> Any:
            for name, buffer in module.named_buffers():  # running statistics move in training
                buffer.data.copy_(kept[name])
            return module(*made)

        return run, named, type(function).__name__
    if isinstance(function, type) and issubclass(function, torch.autograd.Function):
        return lambda: function.apply(*made), named, function.__name__
    if not callable(function):
        raise UsageError(f"{function!r} cannot be checked", "", "give a torch.autograd.Function, a module or a function")
    return lambda: function(*made), named, getattr(function, "__name__", type(function).__name__)


def _checked(
    name: str, tensor: Tensor, gradient: Tensor | None, how: tuple[Callable[[], Tensor], int]
) -> tuple[dict[str, Any], Finding | None]:
    loss, seed = how
    analytic = np.zeros(tuple(tensor.shape)) if gradient is None else gradient.detach().numpy()
    places = np.arange(tensor.numel())
    if len(places) > NUMBERS:
        places = np.sort(np.random.default_rng(seed).choice(len(places), NUMBERS, replace=False))
    flat = tensor.detach().view(-1)  # the same memory: what is moved here, the function reads
    here = float(loss().detach())
    found, kinks = np.zeros(len(places)), np.zeros(len(places), bool)
    ours = analytic.reshape(-1)[places]
    for n, i in enumerate(places):
        up, down, kinks[n] = _slopes(loss, flat, int(i), here)
        found[n] = (up + down) / 2
        low, high = min(up, down), max(up, down)
        room = 1e-3 * (high - low)
        kinks[n] = kinks[n] and low - room <= ours[n] <= high + room
    apart = np.where(kinks, 0.0, np.abs(found - ours))
    scale = max(float(np.abs(found).max(initial=0)), float(np.abs(ours).max(initial=0)), abs(here) * 1e-3, 1e-12)
    row = {
        "array": name,
        "shape": "×".join(map(str, tensor.shape)),
        "checked": len(places),
        "kinks": int(kinks.sum()),
        "difference": float(apart.max(initial=0)),
        "relative": float(apart.max(initial=0)) / scale,
    }
    row["verdict"] = "right" if row["relative"] <= TOLERANCE else "wrong"
    if row["verdict"] == "right":
        return row, None
    worst = int(apart.argmax())
    at = tuple(int(i) for i in np.unravel_index(int(places[worst]), tuple(tensor.shape)))
    ratio = _ratio(ours, found, kinks)
    return row, Finding(
        "error",
        f"∂L/∂({name}) does not agree with finite differences",
        name,
        {
            "at": ", ".join(map(str, at)),
            "backward pass": float(ours[worst]),
            "finite differences": float(found[worst]),
            "relative difference": row["relative"],
            "numbers that are off": int((apart > TOLERANCE * scale).sum()),
            "of": len(places),
        },
        ratio,
        "derive the backward pass of this array again; the forward pass is taken to be right",
        f"each number was moved by ±{STEP:g} and the loss computed again in float64",
    )


def _slopes(loss: Callable[[], Tensor], flat: Tensor, i: int, here: float) -> tuple[float, float, bool]:
    """The slopes to the right and to the left of number i, and whether they disagree as only a kink can make them."""
    kept = float(flat[i])
    pairs: list[tuple[float, float]] = []
    try:
        for factor in (1.0, 0.1):
            h = STEP * factor * max(1.0, abs(kept))
            flat[i] = kept + h
            above = float(loss().detach())
            flat[i] = kept - h
            pairs.append(((above - here) / h, (here - float(loss().detach())) / h))
    finally:
        flat[i] = kept
    (up, down), (near_up, near_down) = pairs
    # A smooth bend closes tenfold when h shrinks tenfold; a kink inside the smaller step stays.
    bend, near = abs(up - down), abs(near_up - near_down)
    size = max(abs(up), abs(down), 1e-4 * max(1.0, abs(here)))  # below that, differences are rounding
    return up, down, bool(bend > 1e-3 * size and (near > 0.5 * bend or abs(near_up - up) > 1e-3 * size))


def _ratio(ours: Any, found: Any, kinks: Any) -> str:
    """Is the backward pass off by a factor?"""
    a, b = ours[~kinks], found[~kinks]
    if not np.any(a):
        return "the backward pass gives zeros (or None) for it"
    factor = float((a * b).sum() / (b * b).sum()) if np.any(b) else 0.0
    if factor and np.abs(a - factor * b).max() <= 1e-5 * np.abs(a).max():
        return f"it is {factor:.6g} times what finite differences give" + (
            ": the sign is flipped" if abs(factor + 1) < 1e-5 else ""
        )
    return "the numbers differ by no common factor"


def _flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [t for v in items for t in _flat(v)]
