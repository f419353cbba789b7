"""Why does training stall? `check` a program before, while or after training; ask the doctor in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convscope.actions.networks import read_preprocess
from convscope.errors import StoreError, UsageError
from convscope.results import Findings, Run

Progress = Callable[[int, int, str], None]


def check(
    model: Any,
    data: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    *,
    prove: int | bool = 0,
    seconds: float = 4.0,
    seed: int = 0,
    run: Run | str | Path | None = None,
    progress: Progress | None = None,
    **words: Any,
) -> Findings:
    """Why does this not learn, or will it? Findings: symptom, evidence, cause, remedy; with `prove`, a controlled run of it.

    `model`: a torch module, a compiled Keras 3 model, a watched `Run`, or losses. `data`: (x, y), x alone where the loss
    reads outputs only, a Dataset, a DataLoader. `loss(output, target)`, `loss(output)`, or a name. `optimizer`: torch's own
    object, 'adam:0.001', or a function of the parameters. `words`: held_out, batch_size, epochs, shuffle, metric, scheduler.
    `prove`: seeds (True: 3) of a copy with the remedy beside an untouched one. `seconds`: for looking and short tries; a
    proof takes longer. Everything runs on copies. Misleads: what shows only late in training is not seen; give `run`.
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
    if seconds <= 0 or seeds < 0:
        raise UsageError("seconds above 0, and seeds of a proof", f"got seconds={seconds:g}, prove={seeds}",
                         "leave them out: 4 seconds; prove=True takes 3 seeds")  # fmt: skip
    if isinstance(run, (str, Path)):
        run = _read(Path(run))
    if isinstance(model, (list, tuple, np.ndarray)):
        model = _curve(model)
    if isinstance(model, Run):
        return diagnose(None, model, seconds, seed)
    program = given.program(model, data, loss, optimizer, **words)
    return diagnose(program, run, seconds, seed, seeds, progress)


SETTLED = ("normalise", "rate", "shuffle", "batch")  # a test holds them to `diagnosing.settling.QUESTIONS`


def check_reference(reference: str | None, *, run: str | Path | None = None, prove: int = 0, seconds: float = 4.0,
                    progress: Progress | None = None, **words: Any) -> Findings:  # fmt: skip
    """`check` for a program or a network by reference ('train.py:setup', 'zoo:lenet5'), or for a kept record alone.

    Errors: as `check`, OpeningError, StoreError.
    """
    from convscope.diagnosing import opened
    from convscope.diagnosis import diagnose

    record = None if run is None else _read(Path(run))
    seed = words.pop("seed", 0)
    words["network"] = _opening(words.get("network"))
    program = None if reference is None else opened.program(reference, **words)
    return diagnose(program, record, seconds, seed, prove, progress)


def ask(words: str, reference: str | None = None, *, seconds: float = 4.0, progress: Progress | None = None,
        network_words: Any = None, **given: Any) -> Findings:  # fmt: skip
    """What may be wrong when …? A symptom in words, or one of torch's messages; with a program, it is checked too.

    `words`: 'the loss is nan after a few batches'. `reference`: a program ('train.py:setup') or a network; with data, what
    was found on it comes first and the causes that it rules out are said. Errors: as `check_reference`.

    >>> ask("the loss is nan after a few batches").findings[0].severity
    'advice'
    """
    from convscope.diagnosis_words import answered

    return answered(words, reference, seconds, progress, _opening(network_words), given)


def settle(question: str, model: Any, data: Any = None, loss: Any = None, optimizer: Any = None, *, steps: int = 300,
           seeds: int = 3, progress: Progress | None = None, network_words: Any = None,
           **words: Any) -> Findings:  # fmt: skip
    """Should I normalise? Which rate, which batch, shuffled? The same network trained each way, a few hundred steps.

    `question`: one of SETTLED. `model`, `data`, `loss`, `optimizer`, `words`: as in `check`, or a reference. The finding
    says which way was best and by how much (95 % interval over `seeds`); rows and curves are all of them. Misleads where
    what is best at the begin is not at the end. Errors: as `check`.

    >>> import numpy as np, torch
    >>> x = 50 + np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    >>> net = torch.nn.Linear(3, 1)
    >>> found = settle("normalise", net, (x, x.sum(1, keepdims=True)), "mse", "sgd:0.01", steps=40, seeds=2)
    >>> found.checked["inputs"].tolist()
    ['as they are', 'centred', 'standardised']
    """
    from convscope.diagnosing import given, opened, settling

    seed = words.pop("seed", 0)
    named = isinstance(model, str)
    program = opened.program(model, data, loss, optimizer, network=_opening(network_words), **words) if named else \
        given.program(model, data, loss, optimizer, **words)  # fmt: skip
    return settling.settle(program, question, steps, seeds, seed, progress)


def _opening(words: Any) -> dict[str, Any]:
    """How to open a network, its preprocessing read: a preset's name, a file, single settings."""
    found = dict(words or {})
    return {**found, "preprocess": read_preprocess(found.get("preprocess"))}


def _curve(losses: Any) -> Run:
    """Plain losses, one a step, as a record."""
    return Run(steps={"loss": np.asarray(losses, np.float64).reshape(-1)}, epochs={})


def _read(path: Path) -> Run:
    """A training record that was kept, or a loss curve: .txt or .csv, the last column of each line. Errors: StoreError."""
    from convscope import store

    if path.suffix in (".txt", ".csv"):
        try:
            lines = [line.replace(",", " ").split() for line in path.read_text(encoding="utf-8").splitlines()]
            rows = [words[-1] for words in lines if words]
            return _curve([float(v) for v in rows[0 if _number(rows[0]) else 1 :]])  # a first line of names is passed over
        except (OSError, ValueError, IndexError) as problem:
            remedy = "one loss a line, or .csv with the loss last"
            raise StoreError(f"a loss curve in {path}", str(problem), remedy) from problem
    found = store.read(path)
    if not isinstance(found, Run):
        raise StoreError(f"a training record in {path}", f"it holds {found.kind}", "keep one: run.save('run.npz')")
    return found


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
