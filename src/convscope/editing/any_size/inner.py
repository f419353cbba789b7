"""Which pooling of a whole map goes back into a map (squeeze and excitation), and which is the head's?"""

from __future__ import annotations

from torch.fx import Node

from convscope.editing.any_size import kinds
from convscope.editing.draft import Draft


def inner_pools(draft: Draft) -> set[Node]:
    """The calls that pool the whole map and whose result meets a map again: by a product, a sum, or unfolded into one."""
    return {node for node in draft.nodes if pools_whole(draft, node) and _meets_map(node)}


def pools_whole(draft: Draft, node: Node) -> bool:
    """Does a call turn a map (of more than one place) into one number a channel?"""
    name = kinds.base(draft, node)
    if name not in kinds.ADAPTIVE | kinds.AVERAGES | kinds.SUMS:
        return False
    came = node.all_input_nodes[0].meta.get("shape")
    return _is_map(came) and not _is_map(node.meta.get("shape"))


def _meets_map(start: Node) -> bool:
    """Does anything that is computed from it have rows and columns?"""
    seen: set[Node] = set()
    todo = list(start.users)
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if _is_map(node.meta.get("shape")):
            return True
        todo += node.users
    return False


def _is_map(shape: object) -> bool:
    """(B, C, h, w) in any order, with more than one place: at least two axes behind the batch."""
    return (isinstance(shape, tuple) and len(shape) >= 3 and all(isinstance(n, int) for n in shape)
            and sum(n > 1 for n in shape[1:]) >= 2)
