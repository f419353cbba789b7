"""Keep, find and reload results on disk: one `.npz` a result, whole or not there at all.

A file is an ordinary NumPy archive. Its member `__result__` is a JSON header (its bytes as a uint8 array) with the version
of the format, the kind and every plain field; each array of the result is a member of its own, named in the header.
Nothing is ever pickled. What JSON cannot say is tagged: `{"~": "tuple", "is": [1, 2]}`.

Writing goes to a file next to the target, is forced to the disk and then takes the target's name in one step
(`os.replace`), so that a process killed half-way leaves the old file, or none, and a `.part` file that nobody reads.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import secrets
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

import numpy as np

from convscope.errors import StoreError, UsageError, unknown
from convscope.geometry import Field
from convscope.results import KINDS, Finding, Gradient, Grid, Layer, Line, Origin, Result, Size, Terms

FORMAT = 1
HEADER = "__result__"
STALE = 600  # seconds without a write after which a `.part` file belongs to nobody
# Dataclasses that a header may hold.
_RECORDS = {cls.__name__: cls for cls in (Origin, Layer, Field, Gradient, Grid, Terms, Line, Finding, Size)}
# Everything that zipfile, NumPy's reader and the JSON reader raise on bytes that are not what they should be.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, TypeError, SyntaxError,
           NotImplementedError, RuntimeError, MemoryError, OverflowError)


def write(result: Result, path: str | Path) -> Path:
    """Keep all of a result in one `.npz` file; the same result gives the same bytes.

    Raises StoreError for a value that has no exact form on disk (a set, an array of objects) and for a disk that refuses.
    """
    arrays: list[np.ndarray] = []
    fields = {f.name: _encode(getattr(result, f.name), arrays, f.name) for f in dataclasses.fields(result)}
    header = json.dumps({"format": FORMAT, "kind": result.kind, "fields": fields}, allow_nan=False)
    members = {HEADER: np.frombuffer(header.encode("ascii"), np.uint8)} | {f"a{i}": a for i, a in enumerate(arrays)}
    with atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in members.items():
            # A ZipInfo made from a name alone is dated 1980: same result, same bytes.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return Path(path)


def read(path: str | Path) -> Result:
    """The result that `write` kept, each field and dtype as it was. StoreError if it is missing, damaged or foreign."""
    path = Path(path)
    with _opened(path) as archive:
        header = _header(archive, path)
        fields = {k: _decode(v, archive) for k, v in header["fields"].items()}
        return KINDS[header["kind"]](**fields)


def kind(path: str | Path) -> str:
    """Which kind of result is in this file? Reads the header only, no array."""
    path = Path(path)
    with _opened(path) as archive:
        return _header(archive, path)["kind"]


@contextmanager
def atomic(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` when the block ends well, and leaves nothing when it does not."""
    path = Path(path)
    # The name starts with a dot and does not depend on the target's, so that it is never listed and never too long.
    part = path.parent / f".{os.getpid()}-{secrets.token_hex(6)}.part"
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        if os.name == "posix":  # the folder's entry must reach the disk too
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise StoreError(f"cannot write {path}", error.strerror or str(error),
                         "look at the folder's existence, its rights and the free space") from error
    finally:
        part.unlink(missing_ok=True)


class Store:
    """A folder of results, each under a key: a relative name with `/`, such as `layer/features.0/tsne`.

    A key's characters outside `a-z 0-9 . _ -` are written as `%xx`, so that keys which differ only in case stay two files
    on every disk; long names are folded into folders, `ab~/~cd`. `keys()` reads names only, never a file.

    >>> import tempfile; from convscope.results import Table
    >>> store = Store(tempfile.mkdtemp())
    >>> _ = store.put("layer/relu:1/stats", Table(columns={"mean": np.ones(2)}))
    >>> store.keys(), len(store.get("layer/relu:1/stats"))
    (('layer/relu:1/stats',), 2)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._swept = False

    def put(self, key: str, result: Result) -> Path:
        """Keep a result under a key; an older one of that key is replaced in one step."""
        path = self.path(key)
        if not self._swept:
            self._swept = True
            self.sweep()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {path.parent}", error.strerror or str(error),
                             "look at the rights and the free space") from error
        return write(result, path)

    def get(self, key: str) -> Result:
        path = self.path(key)
        if not path.is_file():
            missing = unknown("result", key, self.keys(), f"`convscope` keeps results in {self.folder}")
            raise StoreError(missing.asked, missing.found, missing.remedy)
        return read(path)

    def has(self, key: str) -> bool:
        return self.path(key).is_file()

    def delete(self, key: str) -> None:
        """Forget a key. Nothing happens if it is not there."""
        self.path(key).unlink(missing_ok=True)

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """All keys that begin with `prefix`, sorted. Files that this store did not name are none of its keys."""
        found = (_key_of(path.relative_to(self.folder)) for path in self._files(".npz"))
        return tuple(sorted(key for key in found if key is not None and key.startswith(prefix)))

    def sweep(self) -> int:
        """Remove what killed processes left behind (`.part` files untouched for ten minutes); how many were there?"""
        old = [p for p in self._files(".part") if time.time() - p.stat().st_mtime > STALE]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def path(self, key: str) -> Path:
        """The file of a key, inside the store's folder whatever the key says, or UsageError."""
        path = self.folder / _file_of(key)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UsageError(f"the key {key!r} leads out of {self.folder}", "a symbolic link on its way points elsewhere",
                             "remove the link")
        return path

    def _files(self, suffix: str) -> Iterator[Path]:
        for root, _, files in os.walk(self.folder):  # does not follow links
            for name in files:
                path, ours = Path(root, name), name.startswith(".") == (suffix == ".part")
                if ours and name.endswith(suffix) and not path.is_symlink():
                    yield path


_PIECE = 160  # longest file or folder name we make, below every disk's limit
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}  # names Windows keeps


def _file_of(key: str) -> str:
    """'layer/Mixed_5b/0' -> 'layer/%4dixed_5b/0.npz'."""
    bad = _fault(key)
    if bad:
        raise UsageError(f"{key[:80]!r} cannot be the key of a result", bad,
                         "use a relative name such as 'layer/features.0/tsne'")
    named = [_name_of(s) for s in key.split("/")]
    # A folder called 'x.npz' would stand in the way of the key 'x'.
    folders = [n.removesuffix("z") + "%7a" if n.endswith(".npz") else n for n in named[:-1]]
    return "/".join(_folded(n) for n in [*folders, named[-1]]) + ".npz"


def _fault(key: str) -> str:
    """What is wrong with a key; '' if nothing."""
    if not key or len(key) > 1000:
        return "it is longer than 1,000 characters" if key else "it is empty"
    if key.startswith("/"):
        return "it is absolute"
    if "\\" in key or "\0" in key:
        return "it has a backslash or a NUL character"
    if any(0xD800 <= ord(c) < 0xE000 for c in key):
        return "it is not valid Unicode"
    return "a part of it is empty, '.' or '..'" if {"", ".", ".."} & set(key.split("/")) else ""


def _name_of(segment: str) -> str:
    coded = "".join(c if c in "abcdefghijklmnopqrstuvwxyz0123456789._-" else _percent(c) for c in segment)
    if coded[0] == "." or coded.split(".")[0] in _DEVICES:
        coded = _percent(coded[0]) + coded[1:]
    return coded[:-1] + _percent(".") if coded[-1] == "." else coded


def _percent(character: str) -> str:
    coded = quote(character, safe="").lower()
    return coded if coded.startswith("%") else "".join(f"%{b:02x}" for b in character.encode())


def _folded(name: str) -> str:
    """A name too long for a disk as folders: 'abc…' -> 'ab~/~c…'. No key is written with a '~' of its own."""
    return "~/~".join(name[i:i + _PIECE] for i in range(0, len(name), _PIECE))


def _key_of(path: Path) -> str | None:
    """The key that a file belongs to, or None if no key is written so."""
    coded = path.as_posix()
    try:
        key = unquote(coded.removesuffix(".npz").replace("~/~", ""), errors="strict")
        return key if _file_of(key) == coded else None
    except (UnicodeDecodeError, UsageError):
        return None


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise StoreError(f"cannot read {path}", error.strerror or str(error), "check the name and its rights") from error
    except _DAMAGE as error:
        raise StoreError(f"{path} is not a result that convscope wrote, or it is damaged",
                         f"{type(error).__name__}: {error}", "make it again, or take it from a copy") from error


def _header(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    header = json.loads(_array(archive, HEADER).tobytes())
    if header["format"] != FORMAT:
        raise StoreError(f"{path} has format {header['format']}", f"this convscope reads format {FORMAT}",
                         "update convscope, or make the result again")
    if header["kind"] not in KINDS:
        raise StoreError(f"{path} holds a result of kind {header['kind']!r}", f"this convscope knows {', '.join(KINDS)}",
                         "update convscope")
    return header


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Read whole, so that the archive's checksum is compared before anything is made of the bytes.
    stream = io.BytesIO(archive.read(f"{name}.npy"))
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise ValueError(f"{name} is longer than its header says")
    return array


def _encode(value: Any, arrays: list[np.ndarray], where: str) -> Any:
    """Plain values as they are, everything else as a tagged dict; arrays go to `arrays` and leave their number."""
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if type(value) not in (np.ndarray, np.memmap, array.dtype.type) or array.dtype.hasobject:
            raise _refusal(value, where)
        arrays.append(array)
        return {"~": "array" if isinstance(value, np.ndarray) else "scalar", "is": f"a{len(arrays) - 1}"}
    if value is None or type(value) in (bool, int):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a subclass such as torch's version string is kept as the words it is
    if type(value) is float:
        return value if math.isfinite(value) else {"~": "float", "is": repr(value)}
    if type(value) is Fraction:
        return {"~": "fraction", "is": [value.numerator, value.denominator]}
    if type(value) in (tuple, list):
        items = [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]
        return items if type(value) is list else {"~": "tuple", "is": items}
    if type(value) is dict:
        pairs = [[_encode(k, arrays, where), _encode(v, arrays, f"{where}[{k!r}]")] for k, v in value.items()]
        return {"~": "dict", "is": pairs}
    if type(value) in _RECORDS.values():
        fields = {f.name: _encode(getattr(value, f.name), arrays, f"{where}.{f.name}") for f in dataclasses.fields(value)}
        return {"~": type(value).__name__, "is": fields}
    raise _refusal(value, where)


def _refusal(value: Any, where: str) -> StoreError:
    of = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
    return StoreError(f"the value at {where} cannot be stored exactly", f"it is a {type(value).__name__}{of}",
                      "use numbers, strings, tuples, lists, dicts or arrays of plain numbers")


def _decode(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_decode(v, archive) for v in value]
    if not isinstance(value, dict):
        return value
    tag, content = value["~"], value["is"]
    if tag == "array":
        return _array(archive, content)
    if tag == "scalar":
        return _array(archive, content)[()]
    if tag == "float":
        return float(content)
    if tag == "fraction":
        return Fraction(*content)
    if tag == "tuple":
        return tuple(_decode(v, archive) for v in content)
    if tag == "dict":
        return {_decode(k, archive): _decode(v, archive) for k, v in content}
    return _RECORDS[tag](**{k: _decode(v, archive) for k, v in content.items()})
