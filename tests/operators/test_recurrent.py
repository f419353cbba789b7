"""RNN, LSTM and GRU: layers, directions, projections, states, biases, and backpropagation through time.

Mutations that turn this red: in _recurrent.py `reversed(range(len(x)))` to `range(len(x))`;
`self.bidirectional and i % 2` to
`self.bidirectional`; in gru.py `dn * u` to `dn`; in lstm.py `dc * f` to `dc`; in rnn.py `1 - memory**2` to `1 - memory`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope import operators
from convscope.errors import ShapeError, UsageError
from convscope.geometry import WHOLE
from convscope.operators._recurrent import Recurrent
from convscope.operators.gru import GRU
from convscope.operators.lstm import LSTM
from convscope.operators.rnn import RNN
from tests.operators.against_torch import SEEDS, close, hold, hold_differences, numbers, recorded

KINDS: dict[str, tuple[type[Recurrent], Any]] = {
    "rnn_tanh": (RNN, torch.rnn_tanh), "rnn_relu": (RNN, torch.rnn_relu), "lstm": (LSTM, torch.lstm), "gru": (GRU,
                                                                                                              torch.gru),
}
SIZES = st.integers(1, 3)


def made(name: str, biases: bool = True, layers: int = 1, both: bool = False, first: bool = False) -> Recurrent:
    kind, _ = KINDS[name]
    extra = {"nonlinearity": name.removeprefix("rnn_")} if kind is RNN else {}
    return kind(has_biases=biases, num_layers=layers, bidirectional=both, batch_first=first, **extra)


def arrays(operator: Recurrent, seed: int, sizes: tuple[int, int, int, int], projected: int = 0) -> list[np.ndarray]:
    """x, initial states and weights for T, B, I, H."""
    t, b, i, h = sizes
    rows, out = operator.num_layers * (1 + operator.bidirectional), projected or h
    found = [numbers(seed, *((b, t, i) if operator.batch_first else (t, b, i)))]
    found += [numbers(seed + 1 + s, rows, b, out if s == 0 else h) for s in range(operator.states)]
    for row in range(rows):
        width = i if row < 1 + operator.bidirectional else out * (1 + operator.bidirectional)
        shapes = [(operator.gates * h, width), (operator.gates * h, out), *[(operator.gates * h,)] * 2 * operator.has_biases,
                  *[(projected, h)] * bool(projected)]
        found += [numbers(seed + 10 * row + k, *shape, scale=0.7) for k, shape in enumerate(shapes)]
    return found


def torchs(name: str, operator: Recurrent) -> Any:
    def function(x: torch.Tensor, *rest: torch.Tensor) -> Any:
        states = rest[0] if operator.states == 1 else list(rest[:2])
        return KINDS[name][1](x, states, list(rest[operator.states:]), operator.has_biases, operator.num_layers, 0.0, False,
                              operator.bidirectional, operator.batch_first)

    return function


@pytest.mark.parametrize("name", KINDS)
def test_agrees_with_torch(name: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.tuples(st.integers(1, 5), SIZES, SIZES, SIZES), st.booleans(), SIZES, st.booleans(), st.booleans(), SEEDS)
    def agrees(sizes, biases, layers, both, first, seed) -> None:
        operator = made(name, biases, layers, both, first)
        hold(operator, torchs(name, operator), *arrays(operator, seed, sizes))

    agrees()


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 4), SIZES, SIZES, st.integers(2, 4)), st.booleans(), st.integers(1, 2), st.booleans(), SEEDS)
def test_a_projected_lstm_agrees_with_torch(sizes, biases, layers, both, seed) -> None:
    operator = made("lstm", biases, layers, both)
    hold(operator, torchs("lstm", operator), *arrays(operator, seed, sizes, projected=sizes[3] - 1))


@pytest.mark.parametrize("name", KINDS)
def test_agrees_with_difference_quotients(name: str) -> None:
    operator = made(name, layers=2, both=True)
    hold_differences(operator, *arrays(operator, 3, (3, 2, 2, 2)))


@pytest.mark.parametrize("name", KINDS)
def test_missing_states_are_zeros_and_missing_deltas_too(name: str) -> None:
    operator = made(name)
    x, *rest = arrays(operator, 0, (3, 2, 2, 2))
    states, weights = rest[:operator.states], rest[operator.states:]
    zeros, nones = [np.zeros_like(s) for s in states], [None] * operator.states
    for mine, wanted in zip(operator.forward(x, *nones, *weights), operator.forward(x, *zeros, *weights), strict=True):
        close(mine, wanted)
    delta = numbers(9, 3, 2, 2)
    alone = operator.backward(delta, x, *nones, *weights)
    full = operator.backward((delta, *zeros), x, *zeros, *weights)
    assert alone[1] is None
    close(alone[0], full[0])
    close(alone[-1], full[-1])
    assert not any(g is not None and g.any() for g in operator.backward((None, *nones), x, *nones, *weights))


class Net(nn.Module):
    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.layer = kind(3, 4, **options)

    def forward(self, x: torch.Tensor) -> Any:
        y, last = self.layer(x)
        return y, *(last if isinstance(last, tuple) else (last,))


def test_is_read_from_exported_graphs() -> None:
    x = torch.from_numpy(numbers(0, 5, 2, 3))
    read = recorded(Net(nn.RNN, num_layers=2, bidirectional=True, batch_first=True).eval(), x, kind=RNN)
    assert read == RNN(num_layers=2, bidirectional=True, batch_first=True)
    assert recorded(Net(nn.RNN, nonlinearity="relu", bias=False).eval(), x, kind=RNN) == RNN(has_biases=False,
                                                                                             nonlinearity="relu")
    assert recorded(Net(nn.LSTM, num_layers=2, proj_size=2).eval(), x, kind=LSTM) == LSTM(num_layers=2)
    assert recorded(Net(nn.GRU, bidirectional=True).eval(), x, kind=GRU) == GRU(bidirectional=True)


@pytest.mark.parametrize("name", KINDS)
def test_costs_and_windows(name: str) -> None:
    operator, g = made(name, layers=2, both=True, first=True), KINDS[name][0].gates
    shapes = [a.shape for a in arrays(operator, 0, (7, 3, 5, 4))]
    first, second = g * 4 * (5 + 4), g * 4 * (8 + 4)
    assert operator.macs(*shapes) == 7 * 3 * 2 * (first + second)
    assert operator.parameters(*shapes) == 2 * (first + second + 2 * 2 * g * 4)
    assert operator.output_shape(*shapes) == (3, 7, 8)
    assert operator.windows(*shapes) == (WHOLE,)


def test_macs_of_a_packed_sequence() -> None:
    """A packed sequence is (rows, I), a row for each time of each sequence; the numbers of rows follow as one more array."""
    settings_of_graph = {"has_biases": True, "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False}
    shapes = ((9, 5), (4,), (1, 3, 4), (12, 5), (12, 4), (12,), (12,))
    operator = operators.read("gru", settings_of_graph, shapes)
    assert operator is not None
    assert operator.macs(*shapes) == 9 * 12 * (5 + 4)


def test_errors() -> None:
    operator = made("lstm")
    x, h, c, *weights = arrays(operator, 0, (3, 2, 2, 2))
    with pytest.raises(ShapeError, match=r"a sequence of shape \(2, 2\).*time, batch, features"):
        operator.forward(x[0], h, c, *weights)
    with pytest.raises(ShapeError,
                       match=r"3 arrays of weights for 1 layers and directions.*give 4 for each: W_ih, W_hh, b"):
        operator.forward(x, h, c, *weights[:3])
    with pytest.raises(ShapeError, match=r"weights for 2 features.*x has 1.*last axis of x"):
        operator.forward(x[:, :, :1], h, c, *weights)
    with pytest.raises(ShapeError,
                       match=r"state of shape \(1, 1, 2\).*\(1, 2, 2\) is needed.*layers·directions, batch, width"):
        operator.forward(x, h[:, :1], c, *weights)
    with pytest.raises(UsageError, match=r"dropout between recurrent layers is random.*0\.5 in training.*evaluation graph"):
        LSTM(num_layers=2, dropout=0.5, train=True).forward(x, h, c, *weights)
    with pytest.raises(UsageError, match=r"no recurrent layer with 'elu'.*'tanh' or 'relu'"):
        RNN(nonlinearity="elu")
