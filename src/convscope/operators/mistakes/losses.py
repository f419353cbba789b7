"""Mistakes in the loss: where the deltas begin. For scores x with p = softmax(x) and one-hot targets q,

L = −1/B · Σ_b log p[b, label_b]        ∂L/∂x = (p − q)/B
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.operators._elementwise import logistic
from convscope.operators._log_loss import LogLoss
from convscope.operators.cross_entropy import CrossEntropy
from convscope.operators.log_softmax import LogSoftmax
from convscope.operators.mistakes._mistake import backward, forward
from convscope.operators.mse import MeanSquaredError
from convscope.operators.softmax import Softmax

ANY = (CrossEntropy, LogLoss, MeanSquaredError)
CLASSES = (CrossEntropy, LogLoss)
P_MINUS_Q = "∂L/∂scores = (p − q)/B: softmax and cross-entropy together, nothing more is multiplied"


def _p(x: Any) -> Any:
    return Softmax(1).forward(x)


def _q(x: Any, target: Any) -> Any:
    return (target[:, None] == np.arange(x.shape[1])) * 1.0


def _share(op: Any, x: Any) -> float:
    return 1 / len(x) if op.reduction == "mean" else 1.0


def _batch(op: Any, x: Any) -> int:
    return len(x) if isinstance(op, CrossEntropy | LogLoss) else x.size


@backward(ANY, "the sign is turned: q − p instead of p − q", "∂L/∂scores = p − q, prediction minus target")
def sign_flipped(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (-op.backward(delta, x, target)[0],)


@backward(
    ANY, "the mean over the batch was forgotten: δ was not divided by B", "divide by the number of examples: (p − q)/B"
)
def not_divided_by_the_batch(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] * (len(x) if op.reduction == "mean" else 1.0),)


@backward(ANY, "δ was divided by the number of examples once too often", "divide by B once, and only for a mean")
def divided_by_the_batch_once_more(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] / len(x),)


@backward(CLASSES, "δ was divided by the number of classes too", P_MINUS_Q)
def divided_by_the_classes(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] / x.shape[1],)


@backward(CLASSES, "δ was divided by the number of classes instead of the batch", P_MINUS_Q)
def divided_by_the_classes_instead(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] / _share(op, x) / x.shape[1],)


@backward(MeanSquaredError, "the 2 of the square was forgotten", "∂L/∂x = 2·(x − target)/n")
def two_forgotten(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] / 2,)


@backward(MeanSquaredError, "δ was not divided by the number of outputs", "∂L/∂x = 2·(x − target)/n, n counts all numbers")
def not_divided_by_all_numbers(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] * x.size / len(x),)


@backward(MeanSquaredError, "neither the 2 nor the number of outputs was minded", "∂L/∂x = 2·(x − target)/n")
def difference_over_the_batch(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return ((x - target) / len(x),)


@backward(MeanSquaredError, "the plain difference x − target was used", "∂L/∂x = 2·(x − target)/n")
def plain_difference(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (x - target,)


def _other_label(step: int) -> Any:
    return lambda op, delta, x, target: (op.backward(delta, x, (target + step) % x.shape[1])[0],)


for _step, _said in ((1, "too high"), (-1, "too low")):
    backward(CLASSES, f"the labels were one {_said}", "classes count from 0", key=f"labels off by one, {_said}")(
        _other_label(_step)
    )


@backward(CLASSES, "every example was given the first one's label", "one label an example")
def first_label_for_all(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, np.full_like(target, target[0]))[0],)


@backward(
    CrossEntropy, "the softmax's derivative was taken twice: p − q was multiplied with the softmax's Jacobian", P_MINUS_Q
)
def softmax_derivative_twice(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return Softmax(1).backward(op.backward(delta, x, target)[0], x)


@backward(CrossEntropy, "p − q was multiplied with p·(1 − p) once more", P_MINUS_Q)
def softmax_slope_once_more(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] * _p(x) * (1 - _p(x)),)


@backward(CrossEntropy, "the target was not subtracted: δ = p", P_MINUS_Q)
def target_not_subtracted(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (_p(x) * _share(op, x),)


@backward(
    CrossEntropy, "softmax was left out: −q/p, the derivative by the probabilities, was used for the scores", P_MINUS_Q
)
def softmax_derivative_forgotten(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (-_q(x, target) / _p(x) * _share(op, x),)


@backward(CrossEntropy, "δ was computed for the labelled class only", P_MINUS_Q + ", for every class")
def only_the_labelled_class(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (op.backward(delta, x, target)[0] * _q(x, target),)


@backward(CrossEntropy, "scores were used where probabilities belong: x − q", P_MINUS_Q)
def scores_instead_of_probabilities(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return ((x - _q(x, target)) * _share(op, x),)


@backward(CrossEntropy, "a sigmoid was used in the place of the softmax", P_MINUS_Q)
def sigmoid_instead_of_softmax(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return ((logistic(x) - _q(x, target)) * _share(op, x),)


@backward(
    CrossEntropy, "the softmax was taken over the batch instead of the classes", "p sums to 1 over the classes: axis=1"
)
def softmax_over_the_batch(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return ((Softmax(0).forward(x) - _q(x, target)) * _share(op, x),)


@backward(CrossEntropy, "softmax was applied twice", "the network gives scores: apply softmax once")
def softmax_applied_twice(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return ((_p(_p(x)) - _q(x, target)) * _share(op, x),)


@backward(
    LogLoss,
    "p − q, the derivative by the scores, was used for the output of the softmax, whose own derivative follows "
    "(softmax derivative taken twice)",
    "hand −q/p to the softmax, or p − q to what comes before it",
    key="softmax derivative twice",
)
def p_minus_q_at_the_softmax(op: Any, delta: Any, x: Any, target: Any) -> Any:
    return (((np.exp(x) if op.log else x) - _q(x, target)) * _share(op, x),)


@backward(
    Softmax, "the softmax's derivative was left out", "∂L/∂x = p · (δ − Σ_k δ_k·p_k)", key="softmax derivative forgotten"
)
def softmax_passed_by(op: Any, delta: Any, x: Any) -> Any:
    return (delta,)


@backward(Softmax, "only the diagonal of the Jacobian was used: p·(1 − p)", "∂L/∂x = p · (δ − Σ_k δ_k·p_k)")
def only_the_diagonal(op: Any, delta: Any, x: Any) -> Any:
    p = op.forward(x)
    return (delta * p * (1 - p),)


@backward(LogSoftmax, "the derivative of the log-softmax was left out", "∂L/∂x = δ − p · Σ_k δ_k")
def log_softmax_derivative_forgotten(op: Any, delta: Any, x: Any) -> Any:
    return (delta,)


@forward((Softmax, LogSoftmax), "it was taken over the batch instead of the classes", "p sums to 1 over the classes")
def over_the_wrong_axis(op: Any, x: Any) -> Any:
    return type(op)(0).forward(x)


@forward(Softmax, "it was not divided by the sum", "p = e^x / Σ e^x")
def not_divided_by_the_sum(op: Any, x: Any) -> Any:
    return np.exp(x - x.max(axis=op.dim, keepdims=True))


@forward(ANY, "the losses were added up instead of averaged", "divide by the number of examples")
def sum_instead_of_mean(op: Any, x: Any, target: Any) -> Any:
    return op.forward(x, target) * _batch(op, x)


@forward(ANY, "the loss was averaged where a sum was meant", "use --reduction mean, or add up")
def mean_instead_of_sum(op: Any, x: Any, target: Any) -> Any:
    return op.forward(x, target) / _batch(op, x)


@forward(CLASSES, "the loss was divided by the number of classes too", "divide by the number of examples only")
def divided_by_the_classes_forward(op: Any, x: Any, target: Any) -> Any:
    return op.forward(x, target) / x.shape[1]


@forward(ANY, "the minus sign was forgotten", "L = −mean log p")
def minus_forgotten(op: Any, x: Any, target: Any) -> Any:
    return -op.forward(x, target)


@forward(MeanSquaredError, "the loss was halved", "L = mean (x − target)², without ½")
def halved(op: Any, x: Any, target: Any) -> Any:
    return op.forward(x, target) / 2


@forward(CLASSES, "the logarithm to base 2 was taken", "np.log, the natural logarithm")
def logarithm_to_base_two(op: Any, x: Any, target: Any) -> Any:
    return op.forward(x, target) / np.log(2)


for _step, _said in ((1, "too high"), (-1, "too low")):
    forward(CLASSES, f"the labels were one {_said}", "classes count from 0", key=f"labels off by one, {_said}")(
        lambda op, x, target, step=_step: op.forward(x, (target + step) % x.shape[1])
    )
