"""A folder that holds an edited network: plain PyTorch and weights, opened by `network.py:network` like any other.

    network.py  weights.safetensors  preprocess.json  classes.txt  receipt.npz
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_model

from convscope import store
from convscope.errors import StoreError
from convscope.images import sized
from convscope.network import Network
from convscope.results import Receipt


def keep(net: Network, receipt: Receipt, folder: str | Path) -> str:
    """Write the folder and return the reference that opens it. `network.py` comes last: a folder that has it is whole."""
    folder = Path(folder)
    if net.module is None:
        raise StoreError("this network cannot be kept", "it has no module", "keep what `edit` returned")
    file = folder / "network.py"
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"cannot keep a network in {folder}", "it is a file", "give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "receipt.npz").exists():
        raise StoreError(f"cannot keep a network in {folder}", "it holds other files", "give an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    part = folder / "weights.safetensors.part"
    save_model(net.module, str(part))
    part.replace(folder / "weights.safetensors")
    images = net.preprocess is not None and len(net.input_shape) == 4
    prepared = sized(net.preprocess, net.input_shape[1:]) if images else net.preprocess  # type: ignore[arg-type]
    _text(folder / "preprocess.json", None if prepared is None else json.dumps(prepared.to_dict(), indent=2) + "\n")
    _text(folder / "classes.txt", "\n".join(net.classes) + "\n" if net.classes else None)
    store.write(receipt, folder / "receipt.npz")
    _text(file, receipt.source)
    return f"{file}:network"


def _text(path: Path, text: str | None) -> None:
    """Write a text whole, or, of nothing, make sure that no old one stays."""
    if text is None:
        path.unlink(missing_ok=True)
        return
    with store.atomic(path) as file:
        file.write(text.encode())
