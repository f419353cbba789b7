"""Python's generator stays where it was.

Turns red: in `chance.kept`, drop `random.setstate(state)`.
"""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from convscope import chance


def test_it_comes_back_also_after_an_error() -> None:
    def fail() -> None:
        with chance.kept():
            random.random()
            raise KeyError

    before = random.getstate()
    with pytest.raises(KeyError):
        fail()
    assert random.getstate() == before


def test_a_first_import_of_scikit_learn_leaves_no_trace() -> None:
    code = ("import random, numpy as np\nrandom.seed(0)\nbefore = random.getstate()\n"
            "from convscope.responses._components import components\n"
            "components(np.eye(3), 2)\nassert random.getstate() == before")
    subprocess.run([sys.executable, "-c", code], check=True)
