"""Mistakes where branches meet: residual additions, products, concatenations.

add: δ goes to every branch unchanged        mul: δ · other to x, δ · x to other        concat: δ is cut as y was joined
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from convscope.operators.add import Add, Sub
from convscope.operators.concat import Concat
from convscope.operators.mistakes._mistake import backward, forward
from convscope.operators.mul import Mul

BOTH = "both branches get all of δ"


@backward(Add, "δ was given to the second branch only", BOTH, key="delta to one branch only (second)")
def first_forgotten(op: Any, delta: Any, x: Any, *other: Any) -> Any:
    return (np.zeros_like(x),) if other else None


@backward(Add, "δ was given to the first branch only", BOTH, key="delta to one branch only (first)")
def second_forgotten(op: Any, delta: Any, x: Any, *other: Any) -> Any:
    return (None, np.zeros_like(other[0])) if other else None


def _times(factors: tuple[float, float]) -> Any:
    def make(op: Any, delta: Any, x: Any, *other: Any) -> Any:
        found = op.backward(delta, x, *other)
        return tuple(g * f for g, f in zip(found, factors, strict=False)) if other else None

    return make


backward(Add, "δ was doubled for both branches", BOTH, key="delta doubled")(_times((2.0, 2.0)))
backward(Add, "δ was doubled for the first branch", BOTH, key="delta doubled for the first branch")(_times((2.0, 1.0)))
backward(Add, "δ was doubled for the second branch", BOTH, key="delta doubled for the second branch")(_times((1.0, 2.0)))
backward(Add, "δ was halved between the branches", BOTH, key="delta halved")(_times((0.5, 0.5)))
backward(
    Sub, "the minus of the second branch was forgotten", "the branch that is subtracted gets −δ", key="minus forgotten"
)(_times((1.0, -1.0)))


@backward(Mul, "the factors were not crossed: each branch got δ times itself", "x gets δ · other, other gets δ · x")
def factors_not_crossed(op: Any, delta: Any, x: Any, *other: Any) -> Any:
    return (delta * x, delta * other[0]) if other and x.shape == other[0].shape else None


@backward(Mul, "δ was handed on without the other factor", "x gets δ · other, other gets δ · x")
def factor_forgotten(op: Any, delta: Any, x: Any, *other: Any) -> Any:
    return (delta, delta) if other and x.shape == other[0].shape else None


def _cut(op: Any, delta: Any, arrays: tuple[Any, ...], order: list[int]) -> list[Any]:
    """δ cut as if the branches stood in another order."""
    sizes = [arrays[i].shape[op.dim] for i in order]
    pieces = np.split(delta, list(accumulate(sizes))[:-1], axis=op.dim)
    return [pieces[order.index(i)] for i in range(len(arrays))]


CUT = "cut δ in the order, and with the sizes, in which the branches were joined"


@backward(Concat, "δ was cut in the reverse order", CUT)
def concat_cut_in_the_wrong_order(op: Any, delta: Any, *arrays: Any) -> Any:
    return tuple(_cut(op, delta, arrays, list(range(len(arrays)))[::-1]))


@backward(Concat, "the pieces of δ were handed to the branches in the reverse order", CUT)
def concat_pieces_swapped(op: Any, delta: Any, *arrays: Any) -> Any:
    pieces = op.backward(delta, *arrays)[::-1]
    return tuple(p if p.shape == a.shape else None for p, a in zip(pieces, arrays, strict=True))


@backward(Concat, "the branches moved on by one: each got its neighbour's piece", CUT)
def concat_cut_one_branch_further(op: Any, delta: Any, *arrays: Any) -> Any:
    order = list(range(len(arrays)))
    return tuple(_cut(op, delta, arrays, [*order[1:], order[0]])) if len(arrays) > 2 else None


@backward(Concat, "every branch got the first piece of δ", CUT)
def concat_first_piece_for_all(op: Any, delta: Any, *arrays: Any) -> Any:
    axis = op.dim % delta.ndim
    return tuple(delta[(*(slice(None),) * axis, slice(a.shape[axis]))] for a in arrays)


def _alone(which: int) -> Any:
    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        n = len(arrays)
        return tuple(None if i == which % n else np.zeros_like(a) for i, a in enumerate(arrays))

    return make


backward(Concat, "only the first branch got its piece of δ", CUT, key="delta to one branch only (first)")(_alone(0))
backward(Concat, "only the last branch got its piece of δ", CUT, key="delta to one branch only (last)")(_alone(-1))


@forward(Add, "the second branch was not added", "y = x + other", key="shortcut forgotten")
def second_not_added(op: Any, x: Any, *other: Any) -> Any:
    return x if other else None


@forward(Add, "the first branch was not added", "y = x + other", key="main branch forgotten")
def first_not_added(op: Any, x: Any, *other: Any) -> Any:
    return op.alpha * other[0] if other else None


@forward(Concat, "the branches were joined in the reverse order", "keep the order of the network")
def concat_in_the_reverse_order(op: Any, *arrays: Any) -> Any:
    return op.forward(*arrays[::-1])
