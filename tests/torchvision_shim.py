"""Import torchvision for its Python models, beside a torch that its compiled operators do not fit.

A torchvision built for another torch (the wheel for CUDA beside a CPU torch, say) loads no operators, and its import then
fails: it describes shapes of operators that torch has never heard of. None of its classifiers uses those operators, so it is
enough to tell torch their names first. For tests only; convscope itself never needs torchvision.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

_keep: list[torch.library.Library] = []  # a Library that is collected takes its names back


@functools.cache
def _imported() -> ModuleType | None:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as problem:  # "operator torchvision::nms does not exist"
        if "torchvision::" not in str(problem):
            raise
    source = (Path(spec.origin).parent / "_meta_registrations.py").read_text(encoding="utf-8")
    library = torch.library.Library("torchvision", "DEF")
    for name in {*re.findall(r'register_meta\("(\w+)"\)', source), *re.findall(r'"torchvision::(\w+)"', source)}:
        library.define(f"{name}(Tensor x) -> Tensor")  # never called: only the name has to be there
    _keep.append(library)
    return importlib.import_module("torchvision")


def torchvision() -> ModuleType:
    """The torchvision module; the test is skipped where it is not installed.

    A test of convscope against torchvision starts with `models = torchvision().models`.
    """
    module = _imported()
    if module is None:
        pytest.skip("torchvision is not installed")
    return module
