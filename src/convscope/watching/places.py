"""Where the eye stands: at the bottom of torch's stack of function modes, below whatever the user enters and leaves.

`with mode:` pops what is on top when it ends. A mode that comes and goes between two optimiser steps would be popped in the
place of a user's own mode if it lay above it; so it is put in and taken out below all of them. `torch.set_default_device`
keeps a mode that must be the lowest: the eye then lies just above that one.
"""

from __future__ import annotations

import torch
from torch._C import _get_function_stack_at, _len_torch_function_stack
from torch.overrides import TorchFunctionMode, _pop_mode, _push_mode


def put(mode: TorchFunctionMode) -> None:
    """Put `mode` below the modes that are there, once."""
    if _len_torch_function_stack() == 0:
        _push_mode(mode)
        return
    above = _taken_off()
    if mode not in above:
        default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)  # `with torch.device(…)` is not this one
        above.insert(1 if above and above[0] is default else 0, mode)
    _put_back(above)


def remove(mode: TorchFunctionMode) -> None:
    """Take `mode` away, wherever it lies; the others stay in their order."""
    if _len_torch_function_stack() == 1 and _get_function_stack_at(0) is mode:
        _pop_mode()
        return
    _put_back([other for other in _taken_off() if other is not mode])


def _taken_off() -> list[TorchFunctionMode]:
    """All modes, the lowest first; the stack is empty afterwards."""
    return [_pop_mode() for _ in range(_len_torch_function_stack())][::-1]


def _put_back(modes: list[TorchFunctionMode]) -> None:
    for mode in modes:
        _push_mode(mode)
