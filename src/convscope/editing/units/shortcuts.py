"""A shortcut around a span: y = f(x) + s(x), where s is the identity, or pooling and a 1×1 convolution where sizes part.

To begin with the answers as they are, s ends in a scale of 0: a depthwise 1×1 convolution (one number a channel), or the
projection itself.
"""

from __future__ import annotations

from torch import nn

from convscope.editing import parts
from convscope.editing.draft import Draft
from convscope.editing.units.fits import fitting, joiner, times
from convscope.errors import ShapeError, UsageError


def shortcut(draft: Draft, after: str, upto: str, preserve: bool) -> None:
    """Add the value of `after` to that of `upto`; who read `upto` reads the sum."""
    if not upto:
        raise UsageError("a shortcut needs its end", "no layer was named", "upto='conv3': what it is added to")
    start, end = draft[after], draft[upto]
    order = draft.nodes
    reached = {start}
    for node in order[order.index(start) + 1 :]:
        if reached & set(node.all_input_nodes):
            reached.add(node)
    if end not in reached or end is start:
        raise UsageError(f"no way leads from {after} to {upto}", "a shortcut runs along the network",
                         "name a later layer that depends on the first")
    old, new = draft.shape(start), draft.shape(end)
    if len(old) != len(new):
        raise ShapeError(f"no shortcut from {after} to {upto}", f"{times(old)} and {times(new)} cannot be added",
                         "end it before the maps become a vector")
    value, base, steps = start, f"{after.split(':')[0]}_shortcut", list[str]()
    if old[1:] != new[1:]:
        value = draft.call(value, fitting(old[1:], new[1:]), value, name=f"{base}_pool")
        steps.append(f"{times(old[1:])} pooled to {times(new[1:])}")
    flat = len(old) == 1
    if old[0] != new[0] or preserve:
        scale = old[0] == new[0] and not flat
        made = nn.Conv2d(old[0], old[0], 1, groups=old[0], bias=False) if scale else joiner(old[0], new[0], flat)
        if not preserve:
            made.reset_parameters()  # type: ignore[operator]
        else:
            nn.init.zeros_(made.weight)  # type: ignore[arg-type]
        value = draft.call(value, made, value, name=base)
        kind = "a scale a channel" if scale else "a dense layer" if flat else f"1×1 convolution {old[0]} → {new[0]}"
        steps.append(kind + (", at first 0" if preserve else ", at random"))
    last = max(value, end, key=draft.nodes.index)
    added = draft.call(last, parts.Add(), end, value, name=f"{base}_add")
    draft.redirect(end, added, but=(added,))
    draft.measure()
    told = "; ".join(steps) or "as it is"
    draft.say(f"shortcut from {after} ({times(old)}) to {upto} ({times(new)}): {told}",
              f"# in forward, behind {upto}: y = y + shortcut(x), x the value of {after}; {told}")
