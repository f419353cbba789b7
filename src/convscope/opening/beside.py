"""What lies beside a network's weights, or beside the file of its factory: it was written by the training that made them.

preprocess.json    how images become inputs (`images.Preprocess`)
classes.txt        one class name a line
calibration.json   the temperature that was fitted for these very weights, with the network's print (`Network.print`)

What the user says explicitly wins. A file that cannot be read is an error; one that belongs to another network is left
alone, and that is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convscope import store
from convscope.errors import ConvscopeError, OpeningError, StoreError
from convscope.images import Preprocess
from convscope.network import Network

PREPROCESS, CLASSES, CALIBRATION = "preprocess.json", "classes.txt", "calibration.json"


@dataclass(frozen=True)
class Beside:
    """The files that were found, the nearest of each name."""

    files: dict[str, Path]

    @classmethod
    def of(cls, places: Iterable[Path | None]) -> Beside:
        """Look in these folders, the first one first."""
        files: dict[str, Path] = {}
        for place in places:
            for name in (PREPROCESS, CLASSES, CALIBRATION):
                if place is not None and name not in files and (place / name).is_file():
                    files[name] = place / name
        return cls(files)

    def preprocess(self) -> Preprocess | None:
        path = self.files.get(PREPROCESS)
        if path is None:
            return None
        try:
            return Preprocess.load(path)
        except ConvscopeError as problem:
            raise _broken(path, problem, "--preprocess NAME or FILE is taken instead of it") from problem

    def classes(self) -> tuple[str, ...]:
        from convscope.opening import read_classes

        path = self.files.get(CLASSES)
        if path is None:
            return ()
        try:
            names = read_classes(path)
        except (OSError, UnicodeDecodeError) as problem:
            raise _broken(path, problem, "--classes FILE is taken instead of it") from problem
        if not names:
            raise _broken(path, "it is empty", "--classes FILE is taken instead of it")
        return names

    def told(self, net: Network, *, preprocess: bool, classes: bool) -> Network:
        """`net` with its temperature, and with notes of what was read; `preprocess`, `classes`: were those files taken?"""
        notes: list[str] = []
        if preprocess and net.preprocess is not None:
            path, depth = self.files[PREPROCESS], net.preprocess.depth
            channels = net.input_shape[1] if len(net.input_shape) == 4 else depth
            if depth != channels:
                raise OpeningError(f"{path} does not fit {net.name}",
                                   f"it makes {depth} channels, the network reads {channels}",
                                   "give --preprocess, or take the file away")
            notes.append(f"preprocessing from {path}: {net.preprocess.describe()}")
        if classes:
            count = math.prod(net.output.output_shape[1:2])
            if len(net.classes) == count or (count == 1 and len(net.classes) == 2):
                notes.append(f"{len(net.classes)} class names from {self.files[CLASSES]}")
            else:
                notes.append(f"{self.files[CLASSES]} was left alone: it names {len(net.classes)} classes, the network "
                             f"has {count} outputs")
                net = replace(net, classes=(), _at={})
        if CALIBRATION in self.files:
            path = self.files[CALIBRATION]
            fitted, made_for = read_calibration(path)
            if made_for == net.print:
                net = replace(net, temperature=fitted, _at={})
                notes.append(f"temperature {fitted:.4g} from {path}")
            else:
                notes.append(f"{path} was left alone: it was fitted for other weights or another input size "
                             f"(print {made_for}, this is {net.print})")
        return replace(net, notes=(*net.notes, *notes), _at={}) if notes else net


def read_calibration(path: Path) -> tuple[float, str]:
    """The temperature and the print of the network that it was fitted for."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        heat, made_for = float(found["temperature"]), str(found["network"])
        if not (math.isfinite(heat) and heat > 0):
            raise ValueError(f"the temperature is {heat}")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        found = f"{type(problem).__name__}: {problem}"
        raise _broken(path, found, "fit it again with --calibrate, or remove it") from problem
    return heat, made_for


def write_calibration(folder: Path, facts: dict[str, Any]) -> Path:
    """Keep a fitted temperature. `facts`: temperature, network (its print), and how it was found."""
    if not folder.is_dir():
        raise StoreError(f"cannot keep a calibration in {folder}", "there is no such folder", "it lies beside the weights")
    with store.atomic(folder / CALIBRATION) as file:
        file.write((json.dumps(facts, indent=2) + "\n").encode())
    return folder / CALIBRATION


def _broken(path: Path, problem: object, remedy: str) -> OpeningError:
    return OpeningError(f"{path} lies beside the network and cannot be used", str(problem), remedy)
