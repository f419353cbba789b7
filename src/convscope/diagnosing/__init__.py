"""The training doctor's floor: what is to be trained, what is known of it, and what was tried.

faults.py      every fault by its code, in causal order
examples.py    arrays, datasets, loaders → a sample in memory, read twice
program.py     `Program`: model, loss, optimiser, data; a twin of them, so that the user's own are never touched
calls.py       which operations a forward pass calls, on what; and the same pass with some of them replaced
targets.py     what the labels say: classes, one-hot, values
losses.py      what a loss function is, found out by calling it: `families.py` known ones, `bounds.py` best answers
score.py       accuracy, R² or loss, against the best constant answer
trial.py       a short training of the twin, and what it came to
evidence.py    `Evidence`: all of these, measured when first asked for
symptom.py     is anything wrong to see?      verdict.py     what is an alarm, and what comes first?
proof.py       does a remedy hold?            settling.py    should I normalise? and the like, measured
changes.py     remedies that can be run       given.py, opened.py, keras_program.py     what the user gives → a Program
suspicion.py   `Suspicion`: what a check (a leaf of `checks/`) suspects; `Change`: its remedy, as something that can be run

A check is called as `check(evidence)` and gives suspicions; it does not alarm.
"""
