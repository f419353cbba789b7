"""Torch's own messages, provoked for real, in terms of the user's layers.

Turns red: take the traceback away in `message.scene_of` (`trace = None`), exchange `features` and `inputs` in
`of_shapes._dense`, or drop any message.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from convscope.diagnosing.faults import FAULTS
from convscope.errors import UsageError
from convscope.network import Network
from convscope.results import Finding, Findings
from convscope.symptoms.explaining import MESSAGES, explain, knows
from tests.symptoms.provoked import PROVOKED, TEXTS, LeNet
from tests.traces import unchanged


def caught(provoke: Callable[[], Any]) -> Exception:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            provoke()
        except Exception as error:  # noqa: BLE001 whatever torch raises is what is explained
            return error
    raise AssertionError("nothing was raised")


def words(found: Finding) -> str:
    said = (found.symptom, found.where, found.cause, found.remedy, found.code, found.disproof)
    return " ".join((*said, *map(str, found.evidence.values())))


def check(found: Finding, fault: str, expected: tuple[str, ...]) -> None:
    assert (found.severity, found.fault) == ("error", fault), found
    assert not [word for word in expected if word not in words(found)], words(found)
    assert found.symptom, "no symptom"
    assert found.cause, "no cause"
    assert found.remedy, "no remedy"
    assert found.fault in FAULTS or not found.fault
    assert not re.search(r"\{\w*\}", found.symptom + found.cause + found.remedy), "a template was not filled"
    assert all(line[0] in "-+ " for line in found.code.splitlines()), found.code


@pytest.mark.parametrize("name", PROVOKED)
def test_what_torch_raises_is_explained(name: str) -> None:
    fault, expected, provoke = PROVOKED[name]
    check(explain(caught(provoke)), fault, expected)


@pytest.mark.parametrize("text", TEXTS, ids=lambda t: t[:50])
def test_what_needs_other_machines_is_explained_from_its_text(text: str) -> None:
    check(explain(text), *TEXTS[text])


@pytest.mark.parametrize("name", PROVOKED)
def test_the_text_alone_is_explained_too(name: str) -> None:
    fault, _, provoke = PROVOKED[name]
    found = explain(str(caught(provoke)))
    assert found.severity == "error"
    assert found.fault in (fault, "A9", "O7")  # a loss is not told from a layer without the traceback
    assert knows(str(caught(provoke)))


def test_every_message_is_provoked() -> None:
    texts = [*TEXTS, *(str(caught(provoke)) for _, _, provoke in PROVOKED.values())]
    never = [m.pattern for m in MESSAGES if not any(re.search(m.pattern, t, re.I | re.S) for t in texts)]
    assert len(never) <= 10, never  # Keras' are provoked below
    assert all(word in " ".join(never) for word in ("cardinality", "incompatible"))


def test_keras_checks_are_explained() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("keras runs on another backend here")
    import numpy as np

    def fit(loss: str, x: tuple[int, ...], y: tuple[int, ...]) -> Exception:
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, activation="softmax", name="last")])
        model.compile("sgd", loss)
        return caught(lambda: model.fit(np.ones(x, "float32"), np.zeros(y), verbose=0))

    check(explain(fit("categorical_crossentropy", (8, 4), (8,))), "D6", ("targets are 8, outputs 8×3", "sparse_categorical"))
    check(explain(fit("categorical_crossentropy", (8, 4), (8, 1))), "D6", ("8×1",))
    check(explain(fit("sparse_categorical_crossentropy", (8, 4), (8, 3))), "D6", ("8×3",))
    check(explain(fit("mse", (8, 5), (8, 3))), "A9", ("'last'", "reads 4", "gets 8×5"))
    check(explain(fit("mse", (8, 4), (7, 3))), "D7", ("8", "7"))
    small = caught(lambda: keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(4, 5)]))
    check(explain(small), "A10", ("kernel",))


def test_an_opened_network_names_the_layer_of_a_text() -> None:
    net = Network.open(LeNet().eval(), torch.rand(1, 3, 32, 32))
    found = explain("mat1 and mat2 shapes cannot be multiplied (32x256 and 400x120)", net)
    check(found, "A9", ("'fc1'", "256 = 16×4×4", "the network was opened with 3×32×32", "+self.fc1 = nn.Linear(256, 120)"))
    assert found.where == "fc1"
    found = explain("Given groups=1, weight of size [16, 6, 5, 5], expected input[2, 8, 14, 14] to have 6 channels, "
                    "but got 8 channels", net)
    check(found, "A9", ("'conv2'", "+self.conv2 = nn.Conv2d(8, 16, 5)"))
    check(explain("Target 10 is out of bounds.", net), "D6", ("'fc3' has 10 outputs", "0 … 9", "count from 1"))


def test_two_layers_that_fit_are_both_named() -> None:
    twins = nn.ModuleDict({"a": nn.Linear(8, 4), "b": nn.Linear(8, 4)})
    found = explain("mat1 and mat2 shapes cannot be multiplied (2x9 and 8x4)", twins)
    assert "layer 'a' or 'b'" in found.symptom
    assert found.code == "-nn.Linear(8, 4)\n+nn.Linear(9, 4)"


def test_the_users_line_is_shown_and_nothing_is_changed() -> None:
    net, x = LeNet().train(), torch.randn(2, 3, 28, 28)
    error = caught(lambda: net(x))
    with unchanged(net, x):
        found = explain(error, net)
    assert re.fullmatch(r"provoked\.py:\d+", str(found.evidence["line"]))
    assert found.where == "fc1"


def test_the_broadcasting_warning_is_explained() -> None:
    with pytest.warns(UserWarning, match="target size") as told:
        nn.MSELoss()(torch.randn(5, 1), torch.ones(5))
    check(explain(str(told[0].message)), "O8", ("5×5",))


def test_what_is_not_known_is_said() -> None:
    found = explain(KeyError("flux capacitor"))
    assert (found.severity, found.fault) == ("unknown", "")
    assert "not one of" in found.cause
    assert not knows("my loss is nan after a few batches")


def test_a_finding_of_words_can_be_kept_and_drawn() -> None:
    told = Findings(title="a message explained", findings=(explain(caught(PROVOKED["no flattening"][2])),))
    assert "flatten" in str(told)


def test_errors_teach() -> None:
    with pytest.raises(UsageError, match="no message to explain; the text is empty; give the exception"):
        explain("  ")
    with pytest.raises(UsageError, match="str is no network; neither a Network nor a torch module"):
        explain("Target 10 is out of bounds.", "lenet")
