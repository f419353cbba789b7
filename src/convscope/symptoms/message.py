"""One known message of torch or Keras: a pattern, and what it means; and the scene in which it was raised.

A message's words are templates: `{inputs}` is what the pattern's group of that name caught, or what `more` worked out from
the scene. Tensors in a traceback's frames are asked for their shape only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from convscope.results import Finding
from convscope.symptoms.parts import OTHER, Part, family_of, parts_of

Values = dict[str, Any]
_NOT_THE_USERS = ("site-packages", "dist-packages", "/torch/", "<frozen", "/lib/python")


@dataclass(frozen=True)
class Scene:
    """Where it happened: the network's layers, the module that was running, the user's line."""

    text: str
    parts: tuple[Part, ...] = ()
    module: str = ""  # the path of the module that raised; empty: unknown
    family: str = OTHER
    given: tuple[int, ...] | None = None  # the shape of what that module was given
    source: str = ""  # 'net.py:12: x = self.fc1(x)'
    opened: tuple[int, ...] | None = None  # the input that the network was opened with

    def suspects(self, family: str, **sizes: int) -> list[Part]:
        """The layers of a family that have these sizes; the one that raised, if it is known, alone."""
        fits = [p for p in self.parts if p.family == family and all(getattr(p, k) == v for k, v in sizes.items())]
        sure = [p for p in fits if p.name == self.module]
        return sure or fits

    def name(self, family: str, otherwise: str, **sizes: int) -> str:
        """'fc1', 'fc1 or fc3' where two fit, or the words for it where none is known."""
        found = [f"'{p.name}'" for p in self.suspects(family, **sizes)]
        if not found:
            return f"'{self.module}'" if self.module and self.family == family else otherwise
        return f"layer {' or '.join(found[:3])}" + (f" or {len(found) - 3} more" if len(found) > 3 else "")


@dataclass(frozen=True)
class Message:
    """What one message means. `pattern` has named groups; the other words are templates of their values."""

    pattern: str
    fault: str
    symptom: str
    cause: str
    remedy: str
    code: str = ""
    disproof: str = ""
    more: Callable[[Values, Scene], Values] | None = None
    evidence: tuple[str, ...] = field(default=())  # names of values that are shown

    def read(self, scene: Scene) -> Finding | None:
        """The finding, if this is the message."""
        found = re.search(self.pattern, scene.text, re.IGNORECASE | re.DOTALL)
        if found is None:
            return None
        values: Values = {k: _number(v) for k, v in found.groupdict().items() if v is not None}
        where = scene.module or scene.source
        values |= {"where": where} | (self.more(values, scene) if self.more else {})
        shown = {k.replace("_", " "): values[k] for k in self.evidence if values.get(k) not in (None, "")}
        said = {"line": scene.source} if scene.source else {}
        def words(name: str) -> str:
            """What `more` says instead of the template, or the template."""
            return str(values.get(name) or getattr(self, name).format_map(values))

        return Finding(severity="error", symptom=words("symptom"), where=str(values["where"]), evidence={**shown, **said},
                       cause=words("cause"), remedy=words("remedy"), fault=str(values.get("fault", self.fault)),
                       code=words("code"), disproof=self.disproof.format_map(values))


def _number(text: str) -> Any:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else text.strip()


def numbers(text: str) -> tuple[int, ...]:
    """(4, 28, 28) from '[4, 28, 28]' or 'torch.Size([4, 28, 28])'."""
    return tuple(int(n) for n in re.findall(r"-?\d+", str(text)))


def by(shape: tuple[int, ...]) -> str:
    """'16×5×5'."""
    return "×".join(map(str, shape))


def assigned(name: str, made: str) -> str:
    """How a layer stands in a program: `self.fc1 = nn.Linear(…)`, or a line of a Sequential."""
    if not name or name[0].isupper():  # the layer is the whole network, and has no name but its class
        return made
    return f"self.{name} = {made}" if name.isidentifier() else f"{made},  # {name}"


def scene_of(problem: BaseException | str, net: Any) -> Scene:
    """Everything that a message, its traceback and the network tell together."""
    text = problem if isinstance(problem, str) else str(problem)
    trace = None if isinstance(problem, str) else problem.__traceback__
    modules, source = _walk(trace)
    parts, opened = parts_of(net), getattr(net, "input_shape", None)
    if not modules:
        return Scene(text, parts, source=source, opened=opened)
    root, (last, given) = modules[0][0], modules[-1]
    names = {id(one): name for name, one in (net if hasattr(net, "named_modules") else root).named_modules()}
    if id(last) not in names:  # the loss, which is a module too, or another network than the one given
        names = {id(one): name for name, one in root.named_modules()}
    return Scene(text, parts or parts_of(root), names.get(id(last)) or type(last).__name__, family_of(type(last).__name__),
                 given, source, opened)


def _walk(trace: TracebackType | None) -> tuple[list[tuple[Any, tuple[int, ...] | None]], str]:
    """Modules whose code was running, the outermost first, each with its input's shape; and the user's last line."""
    modules: list[tuple[Any, tuple[int, ...] | None]] = []
    source = ""
    while trace is not None:
        frame = trace.tb_frame
        one = frame.f_locals.get("self")
        if hasattr(type(one), "named_modules") and hasattr(one, "_parameters"):
            tensor = next((v for k, v in frame.f_locals.items() if k != "self" and hasattr(v, "shape")), None)
            modules = [m for m in modules if m[0] is not one] + [(one, None if tensor is None else tuple(tensor.shape))]
        path = frame.f_code.co_filename
        if not any(word in path for word in _NOT_THE_USERS):
            source = f"{Path(path).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return modules, source
