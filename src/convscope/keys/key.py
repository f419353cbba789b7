"""A secret that makes images unreadable, block by block, without losing anything.

    orthogonal    y_t = Q·x_t             x_t: the C·k·k numbers of block t; Q orthogonal, uniform (Haar), one for all blocks
    permutation   y_t[i] = x_t[p(i)]      p a permutation of the C·k·k numbers, one for all blocks
    shuffle       y_t = x_s(t)            s a permutation of the T blocks of an image

All three are orthogonal maps K of the image, so ⟨K·w, K·x⟩ = ⟨w, x⟩: a filter keyed like the images gives the same answer
(`filters.py`). Q is the Q of a QR decomposition of Gaussian numbers with the signs of R's diagonal taken out (Stewart 1980,
"The efficient generation of random orthogonal matrices"). Block-wise keys for learning: Tanaka 2018, "Learnable image
encryption". The secret comes from the system's entropy unless a seed is given.

A key is a file of mode 0600, and is refused where others may read it. It appears in no result: its repr is its kind, its
block and a print, keyed with a salt that lies in the file alone, so that the print tells nothing about a guessed key.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import ShapeError, StoreError, UsageError
from convscope.keys import blocks

KINDS = ("orthogonal", "permutation", "shuffle")
FORMAT = 1
LARGEST = 4096  # numbers of a block: the matrix then has 16.8 million, 128 MiB
FEW = 80  # bits: fewer keys than 2^80 can be tried one by one, some day
_MEMBERS = {"format", "kind", "block", "channels", "size", "secret", "salt", "seeded"}
_DAMAGE = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError, SyntaxError)
Images = TypeVar("Images", "NDArray[Any]", Tensor)


class Key:
    """Which secret transform makes these images unreadable?

    Called on images (B, C, H, W), float or (not for orthogonal) uint8, array or tensor, it gives the keyed ones of the same
    shape and dtype; `undo` turns them back. `size` (H, W) is bound for a shuffle only. Float results are computed in
    float64 and rounded once. Misleads if taken for encryption: equal blocks stay equal, and a few known pairs reveal it.
    Errors: UsageError (settings), ShapeError (images that do not fit), StoreError (files).

    >>> key = Key.new("orthogonal", block=4, shape=(1, 8, 8), seed=0)
    >>> x = np.random.default_rng(0).random((2, 1, 8, 8))
    >>> bool(np.allclose(key.undo(key(x)), x)), bool(np.allclose(key(x), x))
    (True, False)
    """

    __slots__ = ("_salt", "_secret", "block", "channels", "kind", "seeded", "size")

    def __init__(self, kind: str, block: int, shape: tuple[int, ...], secret: NDArray[Any], salt: bytes,
                 seeded: bool = False) -> None:  # fmt: skip
        """`shape`: (C,), or (C, H, W) for a shuffle. `Key.new` and `Key.load` make keys."""
        self.kind, self.block, self.channels, self.seeded = kind, block, shape[0], seeded
        self.size = (shape[1], shape[2]) if len(shape) == 3 else None
        self._secret, self._salt = _checked(kind, secret, shape, block), salt

    @classmethod
    def new(cls, kind: str, block: int, shape: tuple[int, ...], seed: int | None = None) -> Key:
        """Draw a key for images of `shape` (C, H, W). `seed`: for experiments; a key that can be made again is no secret."""
        if kind not in KINDS:
            raise UsageError(f"no kind of key is called {kind!r}", f"there are {', '.join(KINDS)}", "choose one of them")
        if len(shape) != 3 or min(shape) < 1 or block < 1:
            raise UsageError("a key is for blocks of k×k pixels in images (C, H, W)", f"got block {block}, shape {shape}",
                             "for example block 4, shape (3, 32, 32)")
        blocks.split(np.zeros((1, *shape), np.bool_), block)  # do they tile it?
        n, parts = shape[0] * block * block, (shape[1] // block) * (shape[2] // block)
        draw = os.urandom if seed is None else np.random.default_rng(seed).bytes
        size = (shape[1], shape[2]) if kind == "shuffle" else None
        count = parts if kind == "shuffle" else n
        if count < 2:
            raise UsageError(f"a {kind} of one {'block' if size else 'number'} changes nothing",
                             f"block {block} in {shape[1]}×{shape[2]} pixels, {shape[0]} channels",
                             "take a smaller block" if size else "take a larger one")
        if kind == "orthogonal" and n > LARGEST:
            raise UsageError(f"a block of {n:,} numbers", f"its matrix would have {n * n:,}", f"at most {LARGEST:,} go")
        secret = _haar(draw, n) if kind == "orthogonal" else _permutation(draw, count)
        kept = shape if size else shape[:1]
        return cls(kind, block, kept, secret, secrets.token_bytes(16), seed is not None)

    @property
    def bits(self) -> float:
        """log₂ of how many keys of this kind there are; ∞ for orthogonal ones (float64 apart)."""
        return math.inf if self.kind == "orthogonal" else math.lgamma(len(self._secret) + 1) / math.log(2)

    @property
    def print(self) -> str:
        """Sixteen hexadecimal digits: the same for one file, different for two keys, and no help in guessing either."""
        return hashlib.blake2b(self._secret.tobytes(), key=self._salt, digest_size=8).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes this key weak, where something does."""
        few = f"there are only {2**self.bits:,.0f} such keys" if self.bits < 40 else f"there are only 2^{self.bits:.0f} keys"
        return tuple(n for n in (
            f"{few}: all can be tried" if self.bits < FEW else "",
            "the key was made from a given seed: who knows or guesses the seed has the key" if self.seeded else "") if n)

    def __repr__(self) -> str:
        size = f", {self.size[0]}×{self.size[1]} pixels" if self.size else ""
        return f"Key({self.kind}, block {self.block}, channels {self.channels}{size}, print {self.print})"

    def __reduce__(self) -> Any:
        raise UsageError("a key is not pickled or copied into other files", repr(self), "keep its file, and name its path")

    # ---- images -------------------------------------------------------------------------------------------------------

    def __call__(self, images: Images) -> Images:
        """The keyed images."""
        return self._applied(images, False)

    def undo(self, images: Images) -> Images:
        """The images as they were: `key.undo(key(x))` is x (to rounding, for orthogonal keys)."""
        return self._applied(images, True)

    def _applied(self, images: Images, back: bool) -> Images:
        if isinstance(images, Tensor):
            return torch.from_numpy(self._numbers(images.detach().cpu().numpy(), back)).to(images.device)
        return self._numbers(np.asarray(images), back)

    def _numbers(self, x: NDArray[Any], back: bool) -> NDArray[Any]:
        if x.ndim != 4 or x.shape[1] != self.channels or (self.size is not None and x.shape[2:] != self.size):
            where = "H×W" if self.size is None else f"{self.size[0]}×{self.size[1]}"
            raise ShapeError(f"this key is for images (B, {self.channels}, {where})", f"got {x.shape}",
                             "resize them, or make a key for them")
        if self.kind == "orthogonal" and x.dtype.kind != "f":
            raise ShapeError("an orthogonal key mixes numbers, and its values leave 0 … 255", f"got {x.dtype}",
                             "give floats; `convscope key apply` keeps them as float32")
        rows = blocks.split(x, self.block)
        if self.kind == "orthogonal":
            matrix = self._secret if back else self._secret.T
            keyed = (rows.astype(np.float64) @ matrix).astype(x.dtype)
        elif self.kind == "permutation":
            keyed = rows[..., np.argsort(self._secret) if back else self._secret]
        else:
            keyed = rows[:, np.argsort(self._secret) if back else self._secret]
        return blocks.join(keyed, self.block, x.shape[1:])

    # ---- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Keep the key in a file of mode 0600, whole or not at all. An existing file is never written over: StoreError."""
        path = Path(path)
        content = io.BytesIO()
        np.savez(content, format=np.array(FORMAT), kind=np.array(self.kind), block=np.array(self.block),
                 channels=np.array(self.channels), size=np.array(self.size or (0, 0)), secret=self._secret,
                 salt=np.frombuffer(self._salt, np.uint8), seeded=np.array(self.seeded))
        part = path.parent / f".{secrets.token_hex(6)}.part"
        try:
            if path.exists():
                raise FileExistsError(17, "there is one already, and what it keyed would be lost with it")
            # Created with this mode, not changed to it afterwards: nobody can open it in between.
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content.getvalue())
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write the key {path}", error.strerror or str(error), "choose another name or folder"
                             ) from error
        finally:
            part.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Key:
        """Read a key. StoreError where it is missing, damaged, no key, or where others may read it."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if os.name == "posix" and mode & 0o077:
                    raise StoreError(f"the key {path} is open to others", f"its mode is {mode:04o}, not 0600",
                                     f"`chmod 600 {path}`, and make a new key if somebody may have read this one")
                with np.load(file, allow_pickle=False) as kept:
                    if not hasattr(kept, "files") or set(kept.files) != _MEMBERS or kept["format"] != FORMAT:
                        raise ValueError(f"it is no key of format {FORMAT}")
                    found = {name: kept[name] for name in _MEMBERS}
            height, width = (int(v) for v in found["size"])
            shape = (int(found["channels"]), *((height, width) if height else ()))
            return cls(str(found["kind"]), int(found["block"]), shape, found["secret"], found["salt"].tobytes(),
                       bool(found["seeded"]))
        except OSError as error:
            raise StoreError(f"cannot read the key {path}", error.strerror or str(error),
                             "`convscope key new FILE` makes one") from error
        except (*_DAMAGE, UsageError) as error:
            raise StoreError(f"cannot read the key {path}", f"{type(error).__name__}: {error}",
                             "it is damaged, or no key; without it keyed images stay as they are") from error


def _haar(draw: Callable[[int], bytes], n: int) -> NDArray[np.float64]:
    """(n, n) a uniformly distributed orthogonal matrix: QR of Gaussian numbers, signs of R's diagonal taken out."""
    whole = np.frombuffer(draw(16 * n * n), np.uint64).reshape(2, n, n)
    radius, angle = ((whole >> np.uint64(11)) + 1).astype(np.float64) / 2**53  # (0, 1]
    q, r = np.linalg.qr(np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle))  # Box and Muller 1958
    return q * np.sign(np.diagonal(r))


def _permutation(draw: Callable[[int], bytes], n: int) -> NDArray[np.int64]:
    """(n,) a uniformly distributed permutation other than the one that changes nothing."""
    while True:
        found = np.argsort(np.frombuffer(draw(8 * n), np.uint64), kind="stable").astype(np.int64)
        if (found != np.arange(n)).any():
            return found


def _checked(kind: str, secret: NDArray[Any], shape: tuple[int, ...], block: int) -> NDArray[Any]:
    """The secret, if it is one of its kind: a damaged key must not silently damage images."""
    n, size = shape[0] * block * block, shape[1:]
    if kind == "orthogonal":
        good = secret.shape == (n, n) and np.isfinite(secret).all() and np.abs(secret @ secret.T - np.eye(n)).max() < 1e-9
    else:
        count = (size[0] // block) * (size[1] // block) if size else n
        good = kind in KINDS and secret.shape == (count,) and (np.sort(secret) == np.arange(count)).all()
        good = good and (kind == "shuffle") == bool(size)
    if not good:
        raise UsageError(f"this is no secret of a {kind} key", f"an array {secret.dtype} {secret.shape}", "make a new key")
    return secret
