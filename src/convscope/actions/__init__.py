"""The sentences that command line and web page both speak: plain values in, a Result out.

networks.py      open a network; its layers
predicting.py    what a network says of images; its temperature; whether its preprocessing fits
features.py      what a unit, layer or class has learned to look for
attributions.py  which pixels decided: one method, or all side by side
mechanics.py     single numbers worked out, one training step, proofs, somebody's own backpropagation checked
collections.py   a network over a collection of images: sweeps, studies, the atlas
doctoring.py     why training stalls: before, while, afterwards; and asked in words
editing.py       a network changed: a copy, and the receipt
comparisons.py   networks side by side: what training changed, how alike two are
evaluating.py    which heat-maps can be trusted
fitting.py       training, the demo
scanning.py      where in a larger picture the network sees a class

Nothing is imported before a sentence needs it, so that lists, help and stored results come without torch.
"""

from __future__ import annotations

from convscope.actions.attributions import attribute, attribute_all, attribute_each
from convscope.actions.collections import atlas, open_atlas, respond, study, swept
from convscope.actions.comparisons import compare
from convscope.actions.doctoring import SETTLED, ask, check, check_reference, settle
from convscope.actions.editing import ablation, edit
from convscope.actions.evaluating import evaluate
from convscope.actions.features import chosen, feature, keep_last, rebuild
from convscope.actions.fitting import demo, fit
from convscope.actions.mechanics import equivalences, steps, update, verify
from convscope.actions.networks import Progress, make, open, read_pixels, read_preprocess, trace
from convscope.actions.predicting import calibrate, check_preprocess, folder_of, predict
from convscope.actions.scanning import keep_scan, scan

__all__ = [
    "SETTLED",
    "Progress",
    "ablation",
    "ask",
    "atlas",
    "attribute",
    "attribute_all",
    "attribute_each",
    "calibrate",
    "check",
    "check_preprocess",
    "check_reference",
    "chosen",
    "compare",
    "demo",
    "edit",
    "equivalences",
    "evaluate",
    "feature",
    "fit",
    "folder_of",
    "keep_last",
    "keep_scan",
    "make",
    "open",
    "open_atlas",
    "predict",
    "read_pixels",
    "read_preprocess",
    "rebuild",
    "respond",
    "scan",
    "settle",
    "steps",
    "study",
    "swept",
    "trace",
    "update",
    "verify",
]
