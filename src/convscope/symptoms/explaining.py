"""What does torch's message mean for my network? The layer, the numbers, the cause and the fix.

Every message that is known here was provoked with the torch that the tests run with; older wordings are read too.
"""

from __future__ import annotations

from typing import Any

from convscope.errors import UsageError
from convscope.results import Finding
from convscope.symptoms import of_data, of_gradients, of_losses, of_shapes, of_types
from convscope.symptoms.message import scene_of

MESSAGES = (*of_losses.MESSAGES, *of_shapes.MESSAGES, *of_gradients.MESSAGES, *of_types.MESSAGES, *of_data.MESSAGES)


def explain(problem: BaseException | str, net: Any = None) -> Finding:
    """What does this message of torch or Keras mean, in the user's own layers, and what mends it?

    problem: an exception as it was caught (its traceback names module and line), or the text of a message. net: a module
    or an opened `Network`; without it, the traceback's own modules are asked. Nothing is run. `fault` is empty where the
    message is a slip of the program rather than a fault of training.

    Misleads: a message that fits two layers names both; a text without its traceback cannot tell them apart.
    Errors: UsageError for an empty text and for a `net` that is none.

    >>> found = explain("mat1 and mat2 shapes cannot be multiplied (32x256 and 400x120)")
    >>> found.fault, found.code.splitlines()[1]
    ('A9', '+nn.Linear(256, 120)')
    """
    scene = scene_of(problem, net)
    if not scene.text.strip():
        raise UsageError("no message to explain", "the text is empty", "give the exception, or its last line")
    for message in MESSAGES:
        found = message.read(scene)
        if found is not None:
            return found
    name = "" if isinstance(problem, str) else f"{type(problem).__name__}: "
    at = f"it was raised in {scene.module}" if scene.module else "nothing says in which layer it was raised"
    return Finding(
        severity="unknown", symptom=f"{name}{scene.text.strip().splitlines()[0][:160]}", where=scene.module or scene.source,
        evidence={"line": scene.source} if scene.source else {},
        cause=f"this message is not one of the {len(MESSAGES)} that are known here; {at}",
        remedy="`convscope trace` shows the shapes of every layer; `convscope check` looks at data, loss and outputs",
        disproof="",
    )


def knows(text: str) -> bool:
    """Is this the text of a message that `explain` knows, rather than a sentence about a symptom?

    >>> knows("Target 10 is out of bounds."), knows("my loss is nan")
    (True, False)
    """
    scene = scene_of(text, None)
    return any(message.read(scene) is not None for message in MESSAGES)
