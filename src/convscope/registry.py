"""The folder is the registry: `attributions/layer_cam.py` is `LayerCAM` is `layer-cam`, by being there.

`names` and `describe` read file names and source only, so that `--help` and lists need no torch; `load` imports one leaf.
"""

from __future__ import annotations

import ast
import functools
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from convscope import fields
from convscope.errors import unknown

ROOT = Path(__file__).parent
# folders of methods: one class a file
FAMILIES = ("attributions", "features", "responses", "comparisons", "equivalences", "evaluations", "edits", "checks")


def names(family: str) -> tuple[str, ...]:
    """The leaves of a folder, as the command line spells them."""
    return tuple(stem.replace("_", "-") for stem in _stems(family))


def describe(family: str, name: str) -> fields.Description:
    """Class name, question and parameters of a leaf, without importing it."""
    stem = _stem(family, name)
    return fields.read(ROOT / family / f"{stem}.py", stem.replace("_", ""))


def load(family: str, name: str) -> type[Any]:
    """Import one leaf and return its class."""
    stem = _stem(family, name)
    module = module_of(family, stem)
    wanted = stem.replace("_", "")
    return next(v for k, v in vars(module).items() if k.lower() == wanted and isinstance(v, type))


def module_of(family: str, stem: str) -> ModuleType:
    return importlib.import_module(f"convscope.{family}.{stem}")


@functools.cache
def factories(family: str = "zoo") -> dict[str, str]:
    """Every public function of a folder's files, by name: {'resnet18': 'resnet'}. Read from source."""
    found: dict[str, str] = {}
    for stem in _stems(family):
        tree = ast.parse((ROOT / family / f"{stem}.py").read_text(encoding="utf-8"))
        found |= {n.name: stem for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")}
    return dict(sorted(found.items()))


def factory(name: str, family: str = "zoo") -> Any:
    """The function that builds a known architecture: factory('resnet18')() is a module."""
    found = factories(family)
    if name not in found:
        raise unknown("architecture", name, found, "`convscope list zoo` shows all")
    return getattr(module_of(family, found[name]), name)


@functools.cache
def _stems(family: str) -> tuple[str, ...]:
    folder = ROOT / family
    return tuple(sorted(p.stem for p in folder.glob("*.py") if not p.name.startswith("_")))


def _stem(family: str, name: str) -> str:
    stem = name.replace("-", "_").lower()
    if stem not in _stems(family):
        raise unknown(family.rstrip("s"), name, names(family), f"`convscope list {family}` shows all")
    return stem
