"""RNN, LSTM and GRU: layers, directions, projections, states, biases, and backpropagation through time.

Mutations that turn this red: in _recurrent.py `reversed(range(len(x)))` to `range(len(x))`;
`self.bidirectional and i % 2` to `self.bidirectional`; in gru.py `dn * u` to `dn`; in lstm.py `dc * f` to `dc`; in rnn.py
`1 - memory**2` to `1 - memory`; in _unrolled.py `layer.in_order(made.inputs[-2], i)[step]` to `made.inputs[-2][step]`, or
`(m.above, m.later[0])` to `(m.later[0], m.above)`.
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
from tests.operators.written import comes_to, hold_written, texts

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


# --- written out -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "both", "first", "biases"), [
    (1, False, False, True), (2, True, True, True), (2, False, True, False), (1, True, False, False)])
@pytest.mark.parametrize("name", KINDS)
def test_written_out_as_autograd_has_it(name: str, layers: int, both: bool, first: bool, biases: bool) -> None:
    operator = made(name, biases, layers, both, first)
    hold_written(operator, torchs(name, operator), *arrays(operator, 4, (5, 2, 3, 4)), positions=3)


@pytest.mark.parametrize(("layers", "both", "first"), [(1, False, True), (2, True, False)])
def test_a_projected_lstm_written_out(layers: int, both: bool, first: bool) -> None:
    operator = made("lstm", True, layers, both, first)
    hold_written(operator, torchs("lstm", operator), *arrays(operator, 4, (4, 2, 3, 5), projected=2), positions=3)


@pytest.mark.parametrize("name", KINDS)
def test_a_delta_may_be_missing_in_part(name: str) -> None:
    operator = made(name, layers=2)
    x, *rest = arrays(operator, 0, (3, 2, 2, 2))
    nones, weights = [None] * operator.states, rest[operator.states:]
    last = numbers(5, 2, 2, 2)
    for delta in (numbers(6, 3, 2, 2), (None, last, *[None] * (operator.states - 1)), (numbers(6, 3, 2, 2), *nones)):
        whole = operator.backward(delta, x, *nones, *weights)
        for which in (0, 1 + operator.states, len(whole) - 1):
            at = (0,) * whole[which].ndim
            comes_to(operator.explain_gradient(which, at, delta, x, *nones, *weights), float(whole[which][at]))
    with pytest.raises(UsageError, match=r"h0 of .* has no gradient"):
        operator.explain_gradient(1, (0, 0, 0), last, x, *nones, *weights)


def sigmoid(a: float) -> float:
    return float(1 / (1 + np.exp(-a)))


def test_an_lstm_by_hand_over_two_times() -> None:
    """One unit, one feature, no biases: every gate, and backpropagation through time, on paper and by autograd."""
    w, u, x = np.array([0.5, -1.0, 2.0, 1.5]), np.array([1.0, 0.5, -0.5, 0.25]), np.array([1.0, -2.0])
    i, f, o = (sigmoid(w[k] * x[0]) for k in (0, 1, 3))
    g = np.tanh(w[2] * x[0])
    c1 = i * g
    h1 = o * np.tanh(c1)
    i2, f2, o2 = (sigmoid(w[k] * x[1] + u[k] * h1) for k in (0, 1, 3))
    g2 = np.tanh(w[2] * x[1] + u[2] * h1)
    c2 = f2 * c1 + i2 * g2
    h2 = o2 * np.tanh(c2)

    operator, given_arrays = LSTM(has_biases=False), (x.reshape(2, 1, 1), None, None, w.reshape(4, 1), u.reshape(4, 1))
    working = operator.explain_value((1, 0, 0), *given_arrays)
    said = texts(working)
    assert said[0] == "layer 0, unit 0"
    assert said[1] == "before the first time c = 0"
    assert said[2].startswith(f"t = 0: i = {i:.6g}, f = {f:.6g}, g = {g:.6g}, o = {o:.6g}; c = ")
    assert said[3].startswith("t = 1: i = ")
    assert [line.value for line in working.lines][-7:] == pytest.approx([i2, f2, g2, o2, c2, h2, h2])
    assert working.terms is not None
    assert working.terms.products.tolist() == [w[2] * x[1]]  # of the gate that proposes, g

    # δ = 1 at the last h only: dc2, what reaches h1, then the gates of the first time
    dc2 = o2 * (1 - np.tanh(c2) ** 2)
    da2 = np.array([dc2 * g2 * i2 * (1 - i2), dc2 * c1 * f2 * (1 - f2), dc2 * i2 * (1 - g2**2), np.tanh(c2) * o2 * (1 - o2)])
    dh1 = float(da2 @ u)
    dc1 = dc2 * f2 + dh1 * o * (1 - np.tanh(c1) ** 2)
    da1 = np.array([dc1 * g * i * (1 - i), 0.0, dc1 * i * (1 - g**2), dh1 * np.tanh(c1) * o * (1 - o)])
    delta = np.array([0.0, 1.0]).reshape(2, 1, 1)
    back = operator.explain_gradient(0, (0, 0, 0), delta, *given_arrays)
    comes_to(back, float(da1 @ w))
    assert texts(back)[1].startswith("t = 1: δh = 1 (from above) + 0 (from the last state) = 1; c brings 0 besides; ∂a_i = ")
    assert texts(back)[2].startswith("t = 0: δh = 0 (from above) ")
    assert "(from t = 1)" in texts(back)[2]
    assert back.lines[2].value == pytest.approx(dh1)
    weight = operator.explain_gradient(3, (2, 0), delta, *given_arrays)
    comes_to(weight, float(da1[2] * x[0] + da2[2] * x[1]))
    assert [line.value for line in weight.lines][:2] == pytest.approx([da1[2] * x[0], da2[2] * x[1]])
    again = operator.explain_gradient(4, (2, 0), delta, *given_arrays)
    comes_to(again, float(da2[2] * h1))  # h before the first time is 0

    tensors = [torch.tensor(a, requires_grad=True) for a in (x.reshape(2, 1, 1), w.reshape(4, 1), u.reshape(4, 1))]
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    y, _, _ = torch.lstm(tensors[0], [zero, zero], tensors[1:], False, 1, 0.0, False, False, False)
    theirs = torch.autograd.grad(y[1, 0, 0], tensors)
    close(np.array([working.value]), y[1, 0].detach().numpy())
    close(np.array([back.value, weight.value, again.value]),
          np.array([float(theirs[0][0, 0, 0]), float(theirs[1][2, 0]), float(theirs[2][2, 0])]))


def test_long_sequences_stay_readable() -> None:
    operator = made("gru", both=True, layers=2)
    many = arrays(operator, 0, (40, 1, 2, 2))
    delta = np.ones((40, 1, 4))
    value = texts(operator.explain_value((39, 0, 0), *many))
    assert value[0] == "layer 1, unit 0; x[t] is what layer 0 gave, taken as computed"
    assert value[1].endswith("; 8 times from there on are not written out")
    assert value[2].startswith("t = 8: u = ")
    turned = texts(operator.explain_value((39, 0, 2), *many))
    assert turned[0].startswith("layer 1, read from the last time to the first, unit 0")
    assert turned[2].startswith("t = 39: u = ")
    back = texts(operator.explain_gradient(0, (0, 0, 0), delta, *many))
    assert "from above comes the δ of layer 1, taken as computed" in back[0]
    alone = made("gru")
    back = texts(alone.explain_gradient(0, (0, 0, 0), delta[..., :2], *arrays(alone, 0, (40, 1, 2, 2))))
    assert back[1].startswith("t = 31: δh = 1 (from above)")
    assert "(from t = 32, 8 times on the way from the end not written out)" in back[1]
    weight = texts(operator.explain_gradient(2, (0, 0), delta, *many))
    assert len(weight) == 11
    assert weight[8].startswith("the other 32 times = ")


def test_the_backward_pass_in_words() -> None:
    operator = made("lstm", layers=2, both=True)
    shapes = [a.shape for a in arrays(operator, 0, (28, 4, 3, 5))]
    found = {g.of: g for g in operator.gradients(*shapes)}
    assert list(found)[:7] == ["x", "h0", "c0", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert list(found)[-1] == "bias_hh_l1_reverse"
    assert found["weight_ih_l0"].how == "Σ over the 28 times of ∂aᵀ·x_t"
    assert found["weight_ih_l0"].sizes == "28 × (20×4) · (4×3)"
    assert found["bias_hh_l0"].sizes == "28·4 = 112 terms"
    assert sum(g.macs for g in found.values()) == 2 * operator.macs(*shapes)  # twice the forward pass, as everywhere
    assert operator.gradients((9, 5), (4,), (1, 3, 4)) == ()  # a packed sequence
