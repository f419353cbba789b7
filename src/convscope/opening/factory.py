"""Open `pkg.mod:factory(args)` or `path/file.py:factory(args)`. Importing a file runs it; arguments are literals."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from convscope.errors import ConvscopeError, OpeningError, UsageError, unknown
from convscope.opening import Source


def find(reference: str) -> Source:
    made, args, kwargs, module, place, name = named(reference)
    with torch.random.fork_rng(devices=[]):  # so that a network without weights of its own is the same at every call
        torch.manual_seed(0)
        folder = Path(place).resolve().parent if place.endswith(".py") else None
        example = getattr(module, "INPUT", None)  # what the file of an edited network says of itself
        return Source(build(made, args, kwargs, reference), name, example, folder=folder)


def named(reference: str) -> tuple[Any, list[Any], dict[str, Any], ModuleType, str, str]:
    """What a reference names, its arguments, the file it is in, the place and the name."""
    place, _, call = reference.rpartition(":") if "(" not in reference else _split(reference)
    name, args, kwargs = parse_call(call)
    module = _import(place)
    made = getattr(module, name, None)
    if made is None:
        public = [
            k
            for k, v in vars(module).items()
            if callable(v) and not k.startswith("_") and getattr(v, "__module__", "") == module.__name__
        ]
        raise unknown("factory", name, public, f"{place} must define it")
    return made, args, kwargs, module, place, name


def _split(reference: str) -> tuple[str, str, str]:
    head, _, tail = reference.partition("(")
    place, _, name = head.rpartition(":")
    return place, ":", f"{name}({tail}"


def parse_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """'resnet18(num_classes=10)' → name, arguments. Literals only: nothing in a reference is ever evaluated."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, [], {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and all(k.arg is not None for k in tree.keywords):
            keywords = {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
            return tree.func.id, [ast.literal_eval(a) for a in tree.args], keywords
    except (SyntaxError, ValueError):
        pass
    raise UsageError(f"cannot read {text!r}", "expected name or name(literals)", "for example resnet18(num_classes=10)")


def build(made: Any, args: list[Any], kwargs: dict[str, Any], reference: str) -> nn.Module:
    """Call a factory (or take a module object as it is) and check that a module came out."""
    if isinstance(made, nn.Module):
        return made
    try:
        found = made(*args, **kwargs)
    except ConvscopeError:
        raise  # one of ours says already what was asked and what to do
    except Exception as problem:  # the user's own code, which may raise anything
        raise OpeningError(
            f"{reference} fails when it is called",
            f"{type(problem).__name__}: {problem}",
            "call it in Python and mend it there",
        ) from problem
    if not isinstance(found, nn.Module):
        raise OpeningError(
            f"{reference} returns {type(found).__name__}", "a torch.nn.Module is needed", "return the module itself"
        )
    return found


def _import(place: str) -> ModuleType:
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise OpeningError(f"cannot import {place}", "there is no such file", "the path is taken from where you are")
        name = f"_convscope_{path.stem}_{abs(hash(str(path))):x}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        search = str(path.parent)  # so that the file may import its neighbours, as it could when run
    else:
        module, spec, search = None, None, str(Path.cwd())
    sys.path.insert(0, search)
    try:
        if module is None:
            return importlib.import_module(place)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(module)
        return module
    except Exception as problem:  # the user's own code, which may raise anything
        if module is not None:
            sys.modules.pop(module.__name__, None)
        raise OpeningError(
            f"cannot import {place}", f"{type(problem).__name__}: {problem}", "import it in Python and mend it there"
        ) from problem
    finally:
        sys.path.remove(search)
