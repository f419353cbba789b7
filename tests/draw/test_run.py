"""run: curves go through the recorded numbers, epochs stand where they ended, accuracies are per cent.

Mutations that turn it red: `e[-1]` -> `e[0]` in `_epoch_ends`; `100 *` dropped in the figure; `values[-MOST:]` cut at the
other end.
"""

from __future__ import annotations

import re

import numpy as np

from convscope import draw
from convscope.results import Run

RUN = Run(steps={"step": np.arange(1, 9), "epoch": np.repeat([1, 2], 4), "loss": np.linspace(2, 0.25, 8)},
          epochs={"epoch": np.array([1, 2]), "loss": np.array([1.5, 0.5]), "accuracy": np.array([0.5, 0.975]),
                  "held_out_loss": np.array([1.75, 1.0]), "held_out_accuracy": np.array([0.4, np.nan])},
          settings={"rate": 0.1, "schedule": "cosine"}, notes=("a note",))


def test_curves_go_through_the_numbers() -> None:
    loss, accuracy = RUN.plot().axes
    curves = [line.get_xydata().tolist() for line in loss.lines]
    assert curves == [np.c_[RUN.steps["step"], RUN.steps["loss"]].tolist(), [[4, 1.5], [8, 0.5]], [[4, 1.75], [8, 1.0]]]
    assert accuracy.lines[0].get_ydata().tolist() == [50.0, 97.5]
    assert loss.get_ylim()[0] == 0
    found = " ".join(t.get_text() for t in RUN.plot().texts)
    assert "after 2 epochs: loss 0.5000 · accuracy 97.50 %" in found
    assert "rate 0.1 · schedule cosine" in found
    assert "held out" in found


def test_a_loss_below_zero_is_not_cut_off() -> None:
    negative = Run(steps={"loss": np.array([1.0, -3.0, np.nan])}, epochs={})
    assert negative.plot().axes[0].get_ylim()[0] == -3


def test_epochs_as_rows() -> None:
    lines = draw.text(RUN, 100).splitlines()
    assert lines[0] == "training  2 epochs, 8 steps"
    assert re.split(r"  +", lines[3].strip()) == ["1", "1.500", "50.00 %", "1.750", "40.00 %"]
    assert lines[4].split()[-1] == "–"


def test_long_runs_show_the_end_and_say_so() -> None:
    text = draw.text(Run(steps={}, epochs={"epoch": np.arange(1, 251)}), 80)
    assert "the last 100 of 250 epochs; .csv, .json and .npz hold all" in text
    assert "\n  250\n" in text
    assert "\n  150\n" not in text


def test_steps_are_listed_where_there_are_no_epochs() -> None:
    assert draw.text(Run(steps={"loss": np.array([0.5])}, epochs={}), 80).splitlines()[-1].strip() == "0.5000"
