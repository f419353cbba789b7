"""Network: a graph, its tensors and its layers. Opened once; everything else works on it.

    net = Network.open(module, example=torch.rand(1, 3, 224, 224))
    net["layer1.0.conv1"].output_shape        # (1, 64, 56, 56)
    net.trace()                               # every layer, as a result
    net.run(x, keep=["layer1.0.conv1"])       # values by address

The graph is exact for one input size and any batch; another size is exported anew, once, by `at`.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.fx.node import map_arg

from convscope import addresses, export, layers, run
from convscope.errors import ExportError, ShapeError, UnknownName, UsageError, unknown
from convscope.results import Layer, Origin, Trace
from convscope.run import Values

if TYPE_CHECKING:
    from convscope.images import Preprocess


@dataclass(frozen=True, eq=False)
class Network:
    """A network that can be asked. Parameters are shared with the module that it was opened from and never written."""

    name: str
    program: ExportedProgram
    tensors: dict[str, Tensor]  # by placeholder name: parameters, buffers and constants, detached
    parameter_names: dict[str, str]  # placeholder name -> name in the module's state dict
    layers: tuple[Layer, ...]
    batch: int | None = None  # None: any batch; else the only batch size that the network accepts
    reference: str = ""  # what `open` was asked for; empty for a module object
    classes: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    temperature: float | None = None  # fitted for this very network (`convscope predict --calibrate`)
    notes: tuple[str, ...] = ()
    module: nn.Module | None = None  # a twin, to export again at another size
    _at: dict[Any, Network] = field(default_factory=dict[Any, "Network"], repr=False)

    @classmethod
    def open(cls, module: nn.Module, example: Any, name: str = "", **facts: Any) -> Network:
        """Export `module` and read its layers. `facts`: reference, classes, preprocess, notes."""
        if isinstance(module, torch.jit.ScriptModule):
            raise ExportError(
                f"{type(module).__name__} is TorchScript",
                "its Python code is gone and TorchScript is no longer developed",
                "open the Python module it was made from, or a torch.export .pt2 file",
            )
        module = export.bare(module)
        exported = export.export(module, export.as_inputs(example, module))
        return cls.of(exported, module, name or type(module).__name__, **facts)

    @classmethod
    def of(cls, exported: export.Exported, module: nn.Module | None, name: str, **facts: Any) -> Network:
        """Read the layers of a graph that is there already."""
        program = exported.program
        tensors, names, buffers = {}, {}, set[str]()
        for spec in program.graph_signature.input_specs:
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
                assert spec.target is not None
                kept = program.state_dict if spec.target in program.state_dict else program.constants
                tensors[spec.arg.name] = _tensor(kept[spec.target])
                names[spec.arg.name] = spec.target
                if spec.kind == InputKind.BUFFER:
                    buffers.add(spec.arg.name)
            elif spec.kind == InputKind.CONSTANT_TENSOR:
                assert spec.target is not None
                tensors[spec.arg.name] = _tensor(program.constants[spec.target])
                buffers.add(spec.arg.name)
        sizes = {key: value.numel() for key, value in tensors.items()}
        found = layers.layers_of(program, sizes, buffers)
        if not found:
            raise ExportError(
                f"{name} computes nothing",
                "its graph has no operation on the input",
                "open a network with at least one layer",
            )
        notes = tuple(dict.fromkeys((*exported.notes, *facts.pop("notes", ()), *_border_notes(found))))
        return cls(
            name,
            program,
            tensors,
            names,
            found,
            exported.batch,
            notes=notes,
            module=None if module is None else export.twin(module),
            **facts,
        )

    # ---- what is in it -----------------------------------------------------------------------------------------------

    def __getitem__(self, address: str) -> Layer:
        found = self._by_address.get(address)
        if found is None:
            raise unknown("layer", address, self._by_address, "`convscope trace` lists all").with_traceback(None)
        return found

    def __contains__(self, address: str) -> bool:
        return address in self._by_address

    @functools.cached_property
    def _by_address(self) -> dict[str, Layer]:
        return {layer.address: layer for layer in self.layers}

    @functools.cached_property
    def inputs(self) -> tuple[torch.fx.Node, ...]:
        """The graph's input nodes, the image first."""
        wanted = self.program.graph_signature.user_inputs
        return tuple(n for n in self.program.graph.nodes if n.op == "placeholder" and n.name in wanted)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, C, H, W): the size that this graph is exact for."""
        return layers.shape_of(self.inputs[0].meta["val"])

    @property
    def dtype(self) -> torch.dtype:
        return self.inputs[0].meta["val"].dtype

    @property
    def device(self) -> torch.device:
        return next((t.device for t in self.tensors.values()), torch.device("cpu"))

    @functools.cached_property
    def output_at(self) -> int:
        """Which graph output is the answer? The first tensor that `forward` returns; changed buffers come before it."""
        specs = self.program.graph_signature.output_specs
        tensors = (
            at
            for at, spec in enumerate(specs)
            if spec.kind == OutputKind.USER_OUTPUT and isinstance(spec.arg, TensorArgument)
        )
        found = next(tensors, None)
        if found is None:
            raise ExportError(
                f"{self.name} returns no tensor", "its outputs are plain values", "let forward return a tensor first"
            )
        return found

    @functools.cached_property
    def output(self) -> Layer:
        """The layer whose value the network returns (of several outputs, the first)."""
        return layers.behind(self.program, self.output_at, {layer.node: layer for layer in self.layers})

    @functools.cached_property
    def print(self) -> str:
        """A fingerprint of graph and parameters: sixteen hexadecimal digits that change when an answer could."""
        digest = hashlib.blake2b(digest_size=8)
        nodes = list(self.program.graph.nodes)
        # Calls go by their place: their names (add_50) change when a graph is saved and loaded.
        place = {node: node.name if node.op == "placeholder" else f"%{i}" for i, node in enumerate(nodes)}
        for node in nodes:
            values = map_arg((node.args, node.kwargs), place.__getitem__)
            digest.update(f"{node.op} {place[node]} {'' if node.op == 'placeholder' else node.target} {values}\n".encode())
        for key in sorted(self.tensors):
            value = self.tensors[key].contiguous().cpu()
            digest.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
            if value.numel():
                digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def unit(self, text: str) -> addresses.Unit:
        """Read a unit address and check that this network has it."""
        found = addresses.parse(text)
        layer = self[found.layer]
        units = units_of(layer)
        if found.channel is not None and (units is None or found.channel >= units):
            raise UnknownName(
                f"no unit {found.channel} in {layer.address}",
                f"it has {units or 'no'} units (output {shape_text(layer)})",
                f"use 0 … {units - 1}" if units else "choose a layer with channels",
            )
        size = map_of(layer)
        if found.position is not None and (
            size is None
            or len(size) != len(found.position)
            or any(p >= n for p, n in zip(found.position, size, strict=True))
        ):
            raise UnknownName(
                f"no position {found.position} in {layer.address}",
                f"its map is {size or 'not there: it is a vector'}",
                "positions are row,column and count from 0",
            )
        return found

    def origin(self, method: object = "", x: Tensor | None = None, seed: int | None = None) -> Origin:
        """How a result of this network was made."""
        from convscope import __version__

        versions = {"convscope": __version__, "torch": str(torch.__version__)}
        return Origin(repr(method) if method != "" else "", self.print, print_of(x) if x is not None else "", seed, versions)

    # ---- questions ---------------------------------------------------------------------------------------------------

    def check_input(self, x: Any) -> Tensor:
        """`x` as a tensor of this network's dtype and device, with a batch axis, or an error that names the sizes."""
        value = torch.as_tensor(x)
        wanted = self.input_shape
        if value.ndim == len(wanted) - 1 and len(wanted) > 1:
            value = value[None]
        if value.ndim != len(wanted) or (len(wanted) > 1 and value.shape[1] != wanted[1]):
            raise ShapeError(
                f"{self.name} takes B×{'×'.join(map(str, wanted[1:]))}",
                f"got {'×'.join(map(str, value.shape))}",
                "mind the order: batch, channel, height, width",
            )
        if self.batch is not None and value.shape[0] != self.batch:
            raise ShapeError(
                f"{self.name} takes batches of {self.batch} only", f"got {value.shape[0]} images", "; ".join(self.notes[:1])
            )
        if value.shape[0] == 0:
            raise ShapeError("the batch is empty", f"got {tuple(value.shape)}", "give at least one image")
        return value.to(dtype=self.dtype, device=self.device)

    def at(self, shape: Iterable[int]) -> Network:
        """The same network for inputs of another size, `shape` without the batch: exported once, then remembered."""
        wanted = tuple(shape)
        if wanted == self.input_shape[1:]:
            return self
        if wanted not in self._at:
            if self.module is None:
                raise ShapeError(
                    f"{self.name} takes {'×'.join(map(str, self.input_shape[1:]))}",
                    f"got {'×'.join(map(str, wanted))}",
                    "only a network opened from a module or a dynamic .pt2 can change its size",
                )
            example = torch.zeros((self.batch or 1, *wanted), dtype=self.dtype, device=self.device)
            exported = export.export(self.module, ((example,), {}))
            other = Network.of(
                exported,
                self.module,
                self.name,
                reference=self.reference,
                classes=self.classes,
                preprocess=self.preprocess,
                temperature=self.temperature,
                notes=self.notes,
            )
            # Tensors stay this network's own: they may have been moved or cast since it was opened.
            self._at[wanted] = replace(other, tensors={k: self.tensors.get(k, v) for k, v in other.tensors.items()})
        return self._at[wanted]

    def run(self, x: Any, keep: Iterable[str] = (), **how: Any) -> Values:
        """The output and the values of the layers in `keep`, by address. See `run.run` for rules, visits and gradients."""
        value = self.check_input(x)
        net = self if tuple(value.shape[1:]) == self.input_shape[1:] else self.at(value.shape[1:])
        return run.run(net, value, keep=tuple(keep), **how)

    def __call__(self, x: Any) -> Tensor:
        return self.run(x).output

    def trace(self, measure: bool = True, backward: bool = False) -> Trace:
        """Every layer: sizes, parameters, MACs, receptive field, and, if `measure`, the bytes kept for the backward pass.

        `backward`: also how the backward pass gets the gradient of each array, its sizes and MACs.
        """
        found, notes = self.layers, self.notes
        if measure:
            saved = run.saved_bytes(self)
            found = tuple(replace(layer, saved=saved.get(layer.address, 0)) for layer in found)
        unread = sorted({layer.operator for layer in found if layer.macs == 0 and layer.operator in run.UNCOUNTED})
        if unread:
            notes = (*notes, f"MACs not counted for: {', '.join(unread)}")
        if backward:
            from convscope.mechanics import backward as back  # it reads networks

            found = back.backward_of(self, found)
            notes = (*notes, *back.notes(found))
        return Trace(name=self.name, input_shape=self.input_shape, layers=found, notes=notes, origin=self.origin("trace"))

    def to(self, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> Network:
        """A copy whose tensors have another type or place; the module that it was opened from stays as it is."""
        if dtype in (None, self.dtype) and (device is None or torch.device(device) == self.device):
            return self
        if self.module is None:
            raise UsageError(
                f"{self.name} cannot change its type", "it was opened without a module", "open it again from its module"
            )
        import copy

        module = copy.deepcopy(self.module).to(dtype=dtype, device=device)
        example = torch.zeros(
            (self.batch or 1, *self.input_shape[1:]), dtype=dtype or self.dtype, device=device or self.device
        )
        exported = export.export(module, ((example,), {}))
        return Network.of(
            exported,
            module,
            self.name,
            reference=self.reference,
            classes=self.classes,
            preprocess=self.preprocess,
            notes=self.notes,
        )

    def __repr__(self) -> str:
        size = "×".join(map(str, self.input_shape[1:]))
        count = sum(layer.parameters for layer in self.layers)
        return f"Network({self.name}, input {size}, {len(self.layers)} layers, {count:,} parameters)"


def _tensor(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return value.detach()


def _border_notes(found: tuple[Layer, ...]) -> tuple[str, ...]:
    mirrored = [layer.address for layer in found if _reads_inside(layer)]
    shown = ", ".join(mirrored[:3]) + (" …" if len(mirrored) > 3 else "")
    note = f"receptive fields leave out that {shown} read other pixels at the image's border (mirrored, circular)"
    return (note,) if mirrored else ()


def _reads_inside(layer: Layer) -> bool:
    """A padding that repeats pixels of the image instead of adding zeros."""
    return layer.operator.startswith(("reflection_pad", "replication_pad")) or (
        layer.operator == "pad" and layer.settings.get("mode", "constant") != "constant"
    )


def units_of(layer: Layer) -> int | None:
    """How many channels or units a layer has."""
    return None if layer.unit_axis is None else layer.output_shape[layer.unit_axis]


def map_of(layer: Layer) -> tuple[int, ...] | None:
    """The size of a layer's maps (h, w), None for a vector."""
    if layer.unit_axis is None:
        return None
    rest = tuple(n for axis, n in enumerate(layer.output_shape) if axis not in (0, layer.unit_axis))
    return rest or None


def shape_text(layer: Layer) -> str:
    return "×".join(map(str, layer.output_shape[1:])) or "1"


def print_of(x: Tensor) -> str:
    """A fingerprint of an input."""
    value = x.detach().contiguous().cpu()
    if math.prod(value.shape) == 0:
        return ""
    return hashlib.blake2b(value.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=8).hexdigest()
