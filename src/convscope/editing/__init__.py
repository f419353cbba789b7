"""Change a network: a copy in parts that can be moved, written out again as plain PyTorch.

lifting.py    the exported graph becomes a graph of `torch.nn` modules and plain calls, modes included
draft.py      `Draft`: that graph, with the words an edit needs: find, put, insert, replace, drop, say
sizes.py      run the draft on shapes alone; where they part, say at which layer and with which numbers
writing.py    the draft as a Python file that needs torch only; the edited network *is* that file, run
parts.py      the few modules that torch does not have; their source travels in the file
receipt.py    before, after, and the drift of the answers on the user's images
keeping.py    a folder: network.py, weights.safetensors, preprocess.json, classes.txt, receipt.npz

any_size/     what frees a classifier from its image size          units/     channels followed; layers and units away and in
backward/     values sent back through every call                  weights/   filters made, joined, frozen

An edit (a leaf of `edits/`) is called as `edit(draft, given)` and changes the draft. The user's network is never touched.
"""

from __future__ import annotations

from convscope.editing.draft import Draft
from convscope.editing.given import NOTHING, Given

__all__ = ["NOTHING", "Draft", "Given"]
