"""A class for every pixel: a classifier's maps enlarged, with and without skips, and the mirror network. Seconds, so a
first look only; `benchmarks/segmentation.py` trains long enough to compare them."""

import torch
from torch import nn

import convscope as cs
from convscope.images import PRESETS
from convscope.recipe import FitSettings
from convscope.segmenting import Task, overlaps, scenes, train

torch.manual_seed(0)
classifier = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(256, 5))  # fmt: skip
net = cs.open(classifier, example=(3, 32, 32))
drawn, held_out, prepared = scenes(48, 32, seed=0), scenes(16, 32, seed=1), PRESETS["signed"]

for edit, asked in (("segment", {"skips": 0}), ("segment", {"skips": 2}), ("mirror", {})):
    edited, receipt = cs.edit(net, edit, outputs=5, **asked)
    run = train(edited.module, Task(drawn, prepared), FitSettings(epochs=6, batch_size=8, rate=0.01))
    table = overlaps(edited.module, held_out, prepared)
    iou, near = (table.columns[name][-1] for name in ("iou", "iou near edges"))
    print(f"{edit} {asked or ''}: {receipt.after.parameters:,} parameters, loss {run.epochs['loss'][-1]:.2f}, "
          f"mean IoU {iou:.2f}, near edges {near:.2f}")
print(table)  # the mirror's, class by class
