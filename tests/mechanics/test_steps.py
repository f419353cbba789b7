"""Numbers worked out against autograd, at random positions of every layer; and what is said when a question makes no sense.

Turns red if in steps.py `explain_gradient(which, …)` is asked for array 0 always, if `_index` ignores `asked.channel`, or if
in capture.py `_again` runs on the recorded values instead of its own leaves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import DataError, ShapeError, UnknownName, UsageError
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.mechanics.steps import Question, question, work_out
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged


class Sequence(nn.Module):
    """Reads an image row by row, twice over and both ways, and names its class."""

    def __init__(self, cell: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = cell(6, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.cell(x[:, 0])[0][:, -1])


def classifier(cell: type[nn.RNNBase]) -> tuple[Network, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network.open(Sequence(cell), (1, 7, 6)), torch.randn(2, 1, 7, 6)


def worked(net: Network, x: Tensor, training: bool = False, seed: int = 0) -> dict[str, float]:
    """|ours − autograd's| / max(1, |autograd's|) for a random number of every array of every layer, by layer and array."""
    random = np.random.default_rng(seed)
    kept = Capture(net, x, Loss(labels=tuple(range(len(x)))), training)
    found: dict[str, float] = {}

    def at(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(int(random.integers(n)) for n in shape)

    def ask(name: str, asked: Question) -> None:
        steps = work_out(kept, asked)
        assert steps.lines[-1].value == steps.value
        assert steps.at == asked.position
        found[name] = steps.difference / max(1.0, abs(steps.check))

    for layer in net.layers:
        call = kept.call(layer)
        assert call.operator is not None
        value, gradients = kept.autograd(call, kept.output_delta(call))
        ask(f"{layer.address} forward", Question(layer.address, position=at(tuple(value.shape))))
        for which, gradient in enumerate(gradients):
            if gradient is None or call.reads[which] is None:
                continue
            named = call.operator.arrays
            direction = "weights" if which < len(named) and named[which] in call.operator.learned else "input"
            name = _array(call, which)
            ask(f"{layer.address} {name}", Question(layer.address, direction, position=at(gradient.shape), array=name))
    return found


def _array(call: Any, which: int) -> str:
    from convscope.mechanics.steps import _name

    return _name(call, which)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_every_layer_of_the_odd_networks(name: str, training: bool) -> None:
    module, x = NETS[name]()
    found = worked(Network.open(module, x, name=name), x, training)
    assert max(found.values()) <= 1e-10, max(found, key=found.__getitem__)


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
def test_every_layer_of_a_recurrent_classifier(cell: type[nn.RNNBase]) -> None:
    net, x = classifier(cell)
    for seed in range(3):
        found = worked(net, x, seed=seed)
        assert max(found.values()) <= 1e-10, max(found, key=found.__getitem__)
        assert sum("weight" in name for name in found) >= 4, "two matrices for each layer and direction"


@pytest.mark.parametrize(
    "name",
    ["lenet5", pytest.param("alexnet", marks=pytest.mark.slow), pytest.param("alexnet_2012", marks=pytest.mark.slow),
     pytest.param("googlenet", marks=pytest.mark.slow), pytest.param("resnet18", marks=pytest.mark.slow)],
)
def test_every_layer_of_the_zoo(name: str) -> None:
    net = cs.open(f"zoo:{name}")
    x = torch.randn((2, *net.input_shape[1:]), generator=torch.Generator().manual_seed(0))
    found = worked(net, x)
    assert max(found.values()) <= 1e-10, max(found, key=found.__getitem__)


def small() -> tuple[Network, Tensor]:
    module, x = NETS["residual"]()
    return Network.open(module, x, name="residual"), x


def test_what_is_left_open_is_taken_where_the_number_is_largest() -> None:
    net, x = small()
    kept = Capture(net, x, Loss(labels=(0, 1)))
    value = kept.value("conv1")
    found = work_out(kept, Question("conv1", channel=2))
    assert found.at[:2] == (0, 2)
    assert found.value == pytest.approx(value[0, 2].flat[np.abs(value[0, 2]).argmax()], abs=1e-12)
    assert work_out(kept, Question("conv1", channel=2, example=1)).at[0] == 1


def test_a_value_that_two_layers_read_says_so_and_gives_the_sum() -> None:
    """In a residual block the delta of the shortcut comes back twice."""
    net, x = small()
    kept = Capture(net, x, Loss(labels=(0, 1)))
    through = kept.delta("block1.add")  # what the shortcut hands back, unchanged
    at = tuple(int(i) for i in np.unravel_index(np.abs(through).argmax(), through.shape))
    found = work_out(kept, Question("block1.conv1", "input", position=at))
    total = float(kept.delta("relu")[at])
    assert total == pytest.approx(found.check + through[at], abs=1e-14)
    assert abs(total - found.check) > 1e-6
    assert any(f"is also read by block1.add; over all of them autograd gives {total:.6g}" in n for n in found.notes)


def test_the_loss_is_a_layer_too() -> None:
    net, x = small()
    kept = Capture(net, x, Loss(labels=(3, 1)))
    p = torch.softmax(kept.output.detach(), 1).numpy()
    found = work_out(kept, Question("loss", "input", channel=3))
    assert found.value == pytest.approx((p[0, 3] - 1) / 2, abs=1e-12)
    assert found.difference < 1e-12
    value = work_out(kept, Question("loss"))
    assert value.value == pytest.approx(-np.log([p[0, 3], p[1, 1]]).mean(), abs=1e-12)
    squared = Capture(net, x, Loss("mse", wanted=np.zeros((2, 5))))
    assert work_out(squared, Question("loss", "input")).difference < 1e-12


def test_the_largest_terms_of_a_weight_come_as_crops_of_the_image() -> None:
    net, x = small()
    kept = Capture(net, x[:1], Loss(labels=(0,)))
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    found = work_out(kept, Question("conv1", "weights"), [pixels])
    assert found.terms is not None
    assert len(found.crops) == len(found.captions) == 9
    best = int(np.abs(found.terms.products).argmax())
    _, _, y, z = found.terms.left_at[best]
    rows, columns = (f.span(int(p), 16) for f, p in zip(net["conv1"].fields or (), (y, z), strict=True))
    assert (found.crops[0] == pixels[rows[0]:rows[1], columns[0]:columns[1]]).all()
    assert f"@{y},{z}" in found.captions[0]


def test_a_question_from_an_address() -> None:
    net, _ = small()
    assert question(net, None, "forward") == Question("conv1")
    assert question(net, "conv1/3@5,9", "input", example=1) == Question("conv1", "input", 3, (5, 9), example=1)
    assert question(net, "loss", "input", channel=2) == Question("loss", "input", 2)
    with pytest.raises(UsageError, match="steps has no option 'chanel'"):
        question(net, "conv1", "input", chanel=3)


WRONG: list[tuple[Question, type[Exception], str]] = [
    (Question("conv9"), UnknownName, "no layer named 'conv9'"),
    (Question("conv1", channel=77), UnknownName, "no index 77 along axis 1 of conv1"),
    (Question("conv1", position=(99, 0)), UnknownName, "no index 99 along axis 2"),
    (Question("conv1", position=(1, 2, 3)), ShapeError, "give 2 numbers for the map, or all 4"),
    (Question("conv1", example=5), UnknownName, "no index 5 along axis 0"),
    (Question("relu", "weights"), UsageError, "relu has no weights"),
    (Question("conv1", "input", array="bias2"), UnknownName, "no array of conv1 named 'bias2'"),
]


@pytest.mark.parametrize(("asked", "kind", "message"), WRONG)
def test_questions_that_make_no_sense(asked: Question, kind: type[Exception], message: str) -> None:
    net, x = small()
    with pytest.raises(kind, match=message):
        work_out(Capture(net, x, Loss(labels=(0, 1))), asked)


def test_directions_losses_and_labels_that_make_no_sense() -> None:
    net, x = small()
    with pytest.raises(UsageError, match="no direction 'sideways'"):
        Question("conv1", "sideways")
    with pytest.raises(UsageError, match="no loss named 'hinge'"):
        Loss("hinge")
    with pytest.raises(UsageError, match="no reduction named 'median'"):
        Loss(reduction="median")
    with pytest.raises(DataError, match="there is no class 9"):
        Capture(net, x, Loss(labels=(0, 9)))
    with pytest.raises(ShapeError, match="1 labels for 2 images"):
        Capture(net, x, Loss(labels=(0,)))
    with pytest.raises(ShapeError, match="the two must be equal"):
        Capture(net, x, Loss("mse", wanted=np.zeros((2, 4))))
    with pytest.raises(UsageError, match="there are no deltas without a loss"):
        Capture(net, x).delta("conv1")
    with pytest.raises(UsageError, match="there is no loss to work out"):
        work_out(Capture(net, x), Question("loss"))
    with pytest.raises(UsageError, match="is no class"):
        cs.steps(net, x, "conv1", label="conv1/2")


def test_a_network_that_ends_in_probabilities_is_read_so() -> None:
    """−log p of the right class, not cross-entropy on top of a softmax."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1))
    net, x = Network.open(module, (1, 2, 2)), torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    kept = Capture(net, x, Loss(labels=(2,)))
    assert kept.loss_value == pytest.approx(-float(torch.log(kept.output.detach()[0, 2])))
    assert max(worked(net, x).values()) <= 1e-10
    with pytest.raises(UsageError, match="work out 2 instead"):
        work_out(kept, Question("loss"))


def test_it_leaves_no_trace() -> None:
    module, x = NETS["norm_first"]()
    with unchanged(module, x):
        cs.steps(Network.open(module, x), x, "conv1", "weights", training=True)
        with pytest.raises(UnknownName):
            cs.steps(Network.open(module, x), x, "nothing")
