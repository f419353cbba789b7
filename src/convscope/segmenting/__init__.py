"""A class for every pixel: images with labels (drawn ones to try with), a training loop, and how well regions overlap.

scenes.py     `Labelled`: images and a label a pixel; `scenes`: shapes with textures and thin parts, drawn on demand
loop.py       `train`: cross-entropy a pixel, or mean squared error to the image itself (an autoencoder); resumes
overlap.py    `overlaps`: intersection over union, by class, and in a band along the edges
"""

from __future__ import annotations

from convscope.segmenting.loop import Task, train
from convscope.segmenting.overlap import overlaps, predict
from convscope.segmenting.scenes import Labelled, scenes

__all__ = ["Labelled", "Task", "overlaps", "predict", "scenes", "train"]
