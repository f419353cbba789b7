"""Which reference goes to which source, and what is no reference.

Turns red: in `opening.open`, drop `if isinstance(asked, Network): return asked`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import convscope.opening as opening
from convscope.errors import OpeningError, UnknownName, UsageError


def test_a_module_object_keeps_its_name_and_facts(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\n\n dog \n")
    net = opening.open(nn.Conv2d(1, 2, 3), (1, 8, 8), classes=names)
    assert (net.name, net.classes, net.reference) == ("Conv2d", ("cat", "dog"), "")
    assert opening.open(net) is net
    assert opening.open(nn.Conv2d(1, 2, 3), (1, 8, 8), classes=["a", 3]).classes == ("a", "3")


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        (
            "weights.safetensors",
            OpeningError,
            "weights.safetensors holds weights, not a network; a file of weights has no graph; give the code too",
        ),
        ("resnet18", UsageError, "'resnet18' is no network reference; expected zoo:NAME"),
        ("zoo:no_such_net", UnknownName, "no architecture named 'no_such_net'"),
        (
            {"a": torch.zeros(1)},
            UsageError,
            "a state dict has no graph; got 1 named tensors; load it into its module and open the module",
        ),
        (nn.Conv2d, UsageError, "cannot open a type; it is no torch.nn.Module; call it and open what it returns"),
        (
            3,
            UsageError,
            "cannot open a int; it is no torch.nn.Module; open a torch.nn.Module or a reference such as 'zoo:resnet18'",
        ),
    ],
)
def test_what_is_no_reference(asked: object, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        opening.open(asked)


def test_class_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        OpeningError,
        match=r"cannot read class names from .*; there is no such file; give a text file with one name per line",
    ):
        opening.open(nn.Conv2d(1, 2, 3), (1, 8, 8), classes=tmp_path / "none.txt")


def test_the_zoo_opens_without_an_example_and_from_one_seed() -> None:
    a = opening.open("zoo:lenet5")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    b = opening.open("zoo:lenet5(num_classes=10)")
    assert torch.equal(torch.get_rng_state(), before)
    assert a.print == b.print
    assert "weights are random (seed 0): give --weights for trained ones" in a.notes
    with pytest.raises(UsageError, match=r"zoo:lenet5\(3\) has arguments without names; got \[3\]; write them as keywords"):
        opening.open("zoo:lenet5(3)")
