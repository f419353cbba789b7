"""Every test starts from the same random state, in whatever order and process it runs."""

import random

import numpy as np
import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed before any fixture is made: a network of a module's fixture depends on no test that ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
