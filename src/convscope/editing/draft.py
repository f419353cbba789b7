"""A draft: a copy of a network in parts that can be moved. The user's network is never touched.

    draft = Draft.of(net)
    node = draft["layer1.0.conv1"]                  # by the address of the layer
    draft.module(node).weight                       # its module, which is the draft's own
    draft.put(node, nn.Conv2d(64, 64, 1))           # another module in its place
    draft.insert(node, nn.Dropout(0.2), "drop1")    # a module behind it
    draft.drop(draft["relu"])                       # its value is its input's
    draft.measure()                                 # sizes; ShapeError says where they part
    edited, source = draft.finish()                 # a Network, and the Python file that it is
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from convscope import export
from convscope.editing import sizes, writing
from convscope.editing.lifting import Lifted, place
from convscope.errors import ConvscopeError, ExportError, UsageError, unknown
from convscope.network import Network


class Draft:
    """What an edit works on. It records what it is told was done: `changes` in words, `code` in plain PyTorch, `notes`."""

    def __init__(self, net: Network, root: GraphModule, notes: tuple[str, ...] = ()) -> None:
        self.net, self.root = net, root
        self.changes: list[str] = []
        self.code: list[str] = []
        self.notes = list(notes)
        self.input_shape = net.input_shape[1:]  # may be changed by an edit
        self.classes = net.classes
        self.preprocess = net.preprocess
        self.reads: Callable[[Tensor], Tensor] | None = None  # what it reads, of what the old network reads; None: the same
        self.measure()

    @classmethod
    def of(cls, net: Network) -> Draft:
        """Take a network apart: the graph with its modes where its module is there, else that of inference, said."""
        if net.batch is not None:
            raise UsageError(f"an edit of {net.name}", f"its batch is bound to {net.batch}: {'; '.join(net.notes[:1])}",
                             "let forward treat each image alike, whatever the batch")
        if len(net.inputs) > 1:
            raise UsageError(f"an edit of {net.name}", f"it takes {len(net.inputs)} inputs", "wrap it so that it takes one")
        notes: tuple[str, ...] = ()
        if net.module is not None:
            try:
                example = torch.zeros((2, *net.input_shape[1:]), dtype=net.dtype, device=net.device)
                if any(type(m).__module__.startswith("keras.") for m in net.module.modules()):
                    notes = ("Keras layers get their mode as an argument: the copy is that of inference, dropout is gone",)
                program = export.with_modes(net.module, ((example,), {}), batch_free=True)
                return cls(net, Lifted(program, net.module).run(), notes)
            except ExportError as problem:
                notes = (f"taken apart as an inference graph, dropout is gone: {problem.asked}",)
        else:
            notes = ("opened without a module: taken apart as an inference graph, dropout is gone",)
        return cls(net, Lifted(net.program, None).run(), notes)

    # ---- find --------------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """All calls in the order in which they run."""
        return [n for n in self.root.graph.nodes if n.op in ("call_module", "call_function")]

    @property
    def input(self) -> Node:
        return next(n for n in self.root.graph.nodes if n.op == "placeholder")

    @property
    def output(self) -> Node:
        """The node whose value is the answer (of several, the first)."""
        given = next(n for n in self.root.graph.nodes if n.op == "output").args[0]
        return given if isinstance(given, Node) else given[0]  # type: ignore[index,return-value]

    def __getitem__(self, address: str) -> Node:
        named = {n.meta["address"]: n for n in self.nodes if n.meta.get("address")}
        if address not in named:
            raise unknown("layer", address, named, "`convscope trace` lists all").with_traceback(None)
        return named[address]

    def address(self, node: Node) -> str:
        return sizes.said(node)

    def kind(self, node: Node) -> str:
        """'Conv2d' of a module, 'add.Tensor' of a plain call."""
        return type(self.module(node)).__name__ if node.op == "call_module" else writing.target_name(node)

    def python(self, address: str) -> str:
        """How a user reaches a layer of their model: 'model.layer1[0].conv1'."""
        said = writing.place(address).replace("self", "model", 1)
        return re.sub(r'\["(\d+)"\]', r"[\1]", said)  # nn.Sequential is asked by number

    def under(self, path: str) -> list[Node]:
        """The calls of one layer, or of a block: all whose address is `path` or begins with `path.`."""
        found = [n for n in self.nodes if n.meta.get("address") == path or str(n.meta.get("address")).startswith(f"{path}.")]
        if not found:
            blocks = {a.rsplit(".", i)[0] for a in (str(n.meta.get("address")) for n in self.nodes)
                      for i in range(a.count(".") + 1)}
            raise unknown("layer or block", path, sorted(b for b in blocks if b), "`convscope trace` lists all")
        return found

    def shape(self, node: Node) -> tuple[int, ...]:
        """(C, h, w) or (n,): the size of a value without its batch."""
        found = node.meta.get("shape")
        if found is None or (found and not isinstance(found[0], int)):
            raise UsageError(f"the size of {self.address(node)}", "its value is no single tensor", "choose another layer")
        return tuple(found[1:])

    def module(self, node: Node) -> nn.Module:
        """The module that a call runs, or UsageError where it is a plain call (an addition, a concatenation)."""
        if node.op != "call_module":
            raise UsageError(f"the module of {self.address(node)}", f"it is a plain call: {writing.target_name(node)}",
                             "choose a layer that is a module")
        return self.root.get_submodule(str(node.target))

    def find(self, *kinds: type[nn.Module], after: Node | None = None) -> list[Node]:
        """The calls of modules of these kinds, in order."""
        order = self.nodes
        start = 0 if after is None else order.index(after) + 1
        return [n for n in order[start:] if n.op == "call_module" and isinstance(self.module(n), kinds)]

    # ---- change ------------------------------------------------------------------------------------------------------

    def put(self, node: Node, module: nn.Module, everywhere: bool = False) -> None:
        """Run `module` where `node` is. Other calls of the old module keep it, unless `everywhere`."""
        path = str(node.target) if node.op == "call_module" else self.address(node)
        shared = sum(n.op == "call_module" and n.target == path for n in self.nodes) > 1
        if node.op == "call_module":
            node.target = self.free(path) if shared and not everywhere else path
            self._place(str(node.target), module)
            return
        path = self.free(path)
        self._place(path, module)
        with self.root.graph.inserting_after(node):
            new = self.root.graph.call_module(path, (node.all_input_nodes[0],))
        new.meta["address"] = path
        node.replace_all_uses_with(new)
        self.root.graph.erase_node(node)

    def call(self, after: Node, run: nn.Module | Callable[..., Any], *values: Any, name: str = "", **settings: Any) -> Node:
        """A new call behind `after`, on `values`: of a module, kept under `name`, or of a function. Nobody reads it yet."""
        with self.root.graph.inserting_after(after):
            if isinstance(run, nn.Module):
                path = self.free(name or type(run).__name__.lower())
                self._place(path, run)
                node = self.root.graph.call_module(path, values, settings or None)
            else:
                path = self.free(name or getattr(run, "__name__", str(run)).split(".")[0])
                node = self.root.graph.call_function(run, values, settings)
        node.meta["address"] = path
        return node

    def again(self, node: Node, value: Any) -> Node:
        """Call the module of `node` once more, on another value."""
        with self.root.graph.inserting_after(value):
            new = self.root.graph.call_module(str(node.target), (value,))
        new.meta["address"] = f"{node.meta.get('address')}:1"
        return new

    def insert(self, after: Node, run: nn.Module | Callable[..., Any], name: str = "", **settings: Any) -> Node:
        """A call on the value of `after`, read by all who read `after`."""
        new = self.call(after, run, after, name=name, **settings)
        self.redirect(after, new, but=(new,))
        return new

    def redirect(self, old: Node, new: Node, but: Iterable[Node] = ()) -> None:
        """Whoever reads `old` reads `new` instead, all but those named."""
        kept = set(but)
        old.replace_all_uses_with(new, delete_user_cb=lambda user: user not in kept)

    def drop(self, node: Node, value: Node | None = None) -> None:
        """Take a call away: who read it reads `value` instead, by default its (only) input."""
        if value is None:
            live = [a for a in node.all_input_nodes if a.op != "get_attr"]
            if len(live) != 1:
                raise UsageError(f"{self.address(node)} without itself", f"it joins {len(live)} values",
                                 "say which of them goes on")
            value = live[0]
        node.replace_all_uses_with(value)
        self.root.graph.erase_node(node)

    def free(self, path: str) -> str:
        """This path (without its ':1'), or the next one that nothing stands at."""
        path = path.split(":")[0]
        taken = {name for name, _ in self.root.named_modules()} | {name for name, _ in self.root.named_parameters()}
        return next(p for i in itertools.count(1) if (p := path if i == 1 else f"{path}_{i}") not in taken)

    def _place(self, path: str, module: nn.Module) -> None:
        like = next(self.root.parameters(), torch.zeros(()))
        module.to(device=like.device, dtype=like.dtype if like.is_floating_point() else None)
        place(self.root, path, module.eval())

    # ---- say ---------------------------------------------------------------------------------------------------------

    def say(self, change: str, *code: str) -> None:
        """Record a change in words, with its numbers, and lines of plain PyTorch that do the same."""
        self.changes.append(change)
        self.code += code

    def note(self, text: str) -> None:
        self.notes.append(text)

    # ---- end ---------------------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Write down the size of every value; ShapeError says at which layer they part."""
        self.tidy()
        sizes.measure(self.root, [self.input_shape], self.net.dtype)

    def tidy(self) -> None:
        """Remove what nobody reads, modules included."""
        self.root.graph.eliminate_dead_code(is_impure_node=lambda n: n.op in ("placeholder", "output"))
        self.root.delete_all_unused_submodules()
        self.root.recompile()

    def run(self, x: Tensor) -> Tensor:
        """The draft's answer as it is now, in evaluation mode."""
        self.root.recompile()
        with torch.no_grad():
            found = self.root(x)
        return found if isinstance(found, Tensor) else found[0]

    def finish(self, name: str = "") -> tuple[Network, str]:
        """The edited network, opened, and its Python file. It runs that file's own code."""
        self.measure()
        source = writing.source(self.root, name or self.net.name, tuple(self.input_shape))
        module = writing.build(source, self.root)
        example = torch.zeros((1, *self.input_shape), dtype=self.net.dtype, device=self.net.device)
        try:
            net = Network.open(module, example, name or self.net.name, classes=self.classes, preprocess=self.preprocess,
                               notes=tuple(self.notes))
        except ConvscopeError as problem:
            raise ExportError("the edited network cannot be opened", f"{problem.asked}: {problem.found}",
                              "edit another layer, or report it with the network") from problem
        return net, source

    def copy(self) -> Draft:
        """Another draft in the same state."""
        twin = copy.copy(self)
        twin.root = copy.deepcopy(self.root)
        twin.changes, twin.code, twin.notes = list(self.changes), list(self.code), list(self.notes)
        return twin
