"""Collections of images: sweep a network over one, ask about a layer, write an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import Progress, make, open
from convscope.errors import UsageError
from convscope.results import Origin, Result, Table

if TYPE_CHECKING:
    from convscope.record import Record
    from convscope.session import Session


def respond(
    network: Any,
    images: Any,
    out: str | Path,
    *,
    progress: Progress | None = None,
    layers: tuple[str, ...] = (),
    embed: tuple[str, ...] = (),
    **parameters: Any,
) -> Record:
    """What did every unit do over a collection? Sweeps it once into the folder `out`, going on with what is there."""
    from convscope import inputs
    from convscope.data import open_collection
    from convscope.sweep import Sweep

    net = open(network)
    preprocess, _ = inputs.preprocess_of(net)
    return Sweep(**parameters)(net, open_collection(images), preprocess, out, layers=layers, embed=embed, progress=progress)


def study(
    network: Any, images: Any, record: str | Path, layer: str, method: str = "units", *, project: bool = False,
    **parameters: Any,
) -> Result:  # fmt: skip
    """How does a layer respond to a whole collection? Asks the record of a sweep: top images, neighbours, a map, …

    `project`, with method='top-images': each image beside what the deconvnet projects back from it.
    """
    from convscope import inputs
    from convscope.data import open_collection
    from convscope.record import Record
    from convscope.responses._study import Study

    net = open(network)
    preprocess, _ = inputs.preprocess_of(net)
    asked = Study(Record(record), net, open_collection(images), preprocess)
    if not project:
        return make("responses", method, parameters)(asked, net[layer].address)
    from convscope.projections import projected

    allowed = ("unit", "k", "overlap")
    strange = [name for name in parameters if name not in allowed]
    if method != "top-images" or strange:
        raise UsageError(f"{method} has no projections" if not strange else f"projections have no {', '.join(strange)}",
                         f"they belong to top-images, with {', '.join(allowed)}", "leave project out, or these")
    return projected(asked, net[layer].address, parameters.pop("unit", 0), **parameters)


def swept(record: Record) -> Table:
    """What a sweep measured: one row a layer."""
    import numpy as np

    tables = [record.table(address) for address in record.facts.layers]
    columns: dict[str, Any] = {"layer": np.array(record.facts.layers), "units": np.array(record.facts.units)}
    columns["silent"] = np.array([int((t.columns["maximum"] <= 0).sum()) for t in tables])
    columns["maximum"] = np.array([float(t.columns["maximum"].max()) for t in tables])
    for name in ("fires", "selectivity"):
        if all(name in t.columns for t in tables):
            columns[name] = np.array(
                [float(np.nanmean(t.columns[name])) if np.isfinite(t.columns[name]).any() else np.nan for t in tables]
            )
    units = {
        "silent": "units that were above zero on no image",
        "maximum": "largest value of any unit",
        "fires": "mean share of values above zero",
        "selectivity": "mean class selectivity of the units",
    }
    notes = (
        f"{record.counted:,} images measured, {len(record.skipped)} could not be used",
        *(f"skipped {i}: {why}" for i, why in record.skipped[:10]),
    )
    return Table(
        columns=columns,
        units={k: v for k, v in units.items() if k in columns},
        title=f"sweep in {record.folder}",
        notes=notes,
        origin=tables[0].origin if tables else Origin(),
    )


def atlas(network: Any, images: Any, out: str | Path, *, progress: Progress | None = None, **settings: Any) -> Path:
    """Everything about all layers and units over a collection, as a folder that a browser opens. Returns its page."""
    from convscope.atlas import Settings, write
    from convscope.data import open_collection

    source = str(images) if isinstance(images, (str, Path)) else ""
    return write(open(network), open_collection(images), Path(out), Settings(**settings), progress, source)


def open_atlas(folder: str | Path) -> Session:
    """An atlas that can be asked further questions."""
    from convscope.session import Session

    return Session(folder)
