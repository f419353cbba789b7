"""`verify` from Python and the command line.

Mutation: let `doors.verify` drop `settings` for `of_network`, and this file turns red.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import convscope as cs
from convscope.cli import main
from convscope.errors import UsageError
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss

IMAGE = "digits/0042"


def _arrays(reduction: str = "mean") -> dict[str, Any]:
    net = cs.open("zoo:lenet5")
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    kept = Capture(net, x, Loss(labels=(3, 7), reduction=reduction))
    return {
        "input": x.numpy(),
        "labels": np.array([3, 7]),
        "fc3.delta": kept.delta("fc3"),
        "conv2.delta": kept.delta("conv2"),
    }


def test_from_the_command_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "right.npz", **_arrays())
    np.savez(tmp_path / "wrong.npz", **_arrays() | {"conv2.delta": 2 * _arrays()["conv2.delta"]})
    run = CliRunner().invoke
    told = run(main, ["verify", "zoo:lenet5", str(tmp_path / "right.npz"), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["findings"][0]["severity"] == "fine"
    told = run(main, ["verify", "zoo:lenet5", str(tmp_path / "wrong.npz")])
    assert told.exit_code == 0, told.output
    assert "conv2.delta is wrong" in told.output
    told = run(main, ["verify", "zoo:lenet5", str(tmp_path / "none.npz")])
    assert told.exit_code == 1
    assert "there is no" in told.output


def test_the_reduction_is_minded() -> None:
    found = cs.verify("zoo:lenet5", _arrays("sum"), reduction="sum")
    assert found.findings[0].severity == "fine"
    found = cs.verify("zoo:lenet5", _arrays("sum"))
    assert "loss: not divided by the batch" in found.findings[0].cause


def test_image_and_label_stand_in_for_the_arrays() -> None:
    net = cs.open("zoo:lenet5", preprocess="unit")
    from convscope import inputs

    kept = Capture(net, inputs.batch(net, IMAGE)[0], Loss(labels=(4,)))
    found = cs.verify(net, {"fc3.delta": kept.delta("fc3")[0]}, image=IMAGE, label=4)
    assert found.findings[0].severity == "fine"


def test_a_module_is_opened_with_the_input_among_the_arrays() -> None:
    from tests.nets import NETS

    model, x = NETS["plain"]()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = cs.verify(model, {"input": x.numpy(), "fc2.activation": model(x).detach().numpy()})
    assert found.findings[0].severity == "fine"
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(UsageError, match="a module needs an example of its input"):
        cs.verify(model, {"fc2.activation": np.zeros((2, 5))})


def test_questions_that_make_no_sense_are_explained() -> None:
    with pytest.raises(UsageError, match="arrays of a network need names; got ndarray"):
        cs.verify("zoo:lenet5", np.zeros(3))
    with pytest.raises(UsageError, match="verify has no setting 'los'"):
        cs.verify("zoo:lenet5", _arrays(), los="mse")
    arrays = {k: v for k, v in _arrays().items() if k != "labels"}
    with pytest.raises(UsageError, match="'conv1/0' is no class"):
        cs.verify("zoo:lenet5", arrays, label="conv1/0")


def test_an_array_that_is_a_constant_times_the_right_one() -> None:
    arrays = _arrays()
    found = cs.verify("zoo:lenet5", arrays | {"conv2.delta": arrays["conv2.delta"] * 5}).findings[0]
    assert "5 times the right array" in found.cause
