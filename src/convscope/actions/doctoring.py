"""Why does training stall? `check` a program before, while or after training; ask the doctor in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from convscope.errors import StoreError
from convscope.results import Findings, Run

Progress = Callable[[int, int, str], None]


def check(model: Any, data: Any = None, loss: Any = None, optimizer: Any = None, *, prove: int | bool = 0,
          seconds: float = 4.0, seed: int = 0, run: Run | str | Path | None = None, progress: Progress | None = None,
          **words: Any) -> Findings:
    """Why does this not learn, or will it? Findings: symptom, evidence, cause, remedy; with `prove`, a controlled run of it.

    `model`: a torch module, a compiled Keras 3 model, or a watched `Run` alone. `data`: (x, y), x alone where the loss reads
    outputs only, a Dataset, a DataLoader. `loss(output, target)`, `loss(output)`, or a name. `optimizer`: torch's own object,
    'adam:0.001', or a function of the parameters. `words`: held_out, batch_size, epochs, shuffle, metric, scheduler.
    `prove`: seeds (True: 3) of a copy with the remedy beside an untouched one. `seconds`: for looking and short tries; a
    proof takes longer. Everything runs on copies. Misleads: what shows only late in training is not seen before it; give `run`.
    Errors: UsageError, UnknownName, DataError.

    >>> import numpy as np, torch
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1), torch.nn.Softmax(1))
    >>> check(net, (x, (x[:, :1] > 0).astype(np.float32)), "bce", "adam:0.01", seconds=1.0).findings[0].fault
    'O1'
    """
    from convscope.diagnosing import given
    from convscope.diagnosis import diagnose

    seeds = 3 if prove is True else int(prove)
    if isinstance(run, (str, Path)):
        run = _read(Path(run))
    if isinstance(model, Run):
        return diagnose(None, model, seconds, seed)
    program = given.program(model, data, loss, optimizer, **words)
    return diagnose(program, run, seconds, seed, seeds, progress)


def _read(path: Path) -> Run:
    """A training record that was kept. Errors: StoreError."""
    from convscope import store

    found = store.read(path)
    if not isinstance(found, Run):
        raise StoreError(f"a training record in {path}", f"it holds {found.kind}", "keep one: run.save('run.npz')")
    return found
