"""What can be wrong with a training program? Every fault by its code, in causal order: what comes first causes what follows.

D data and labels · O outputs and loss · A architecture and initialisation · P optimiser and loop · E evaluation

The taxonomy follows studies of real faulty programs: Humbatova et al. 2020, "Taxonomy of real faults in deep learning
systems"; Cao et al. 2022, "DeepFD"; Wardat et al. 2022, "DeepDiagnosis".
"""

from __future__ import annotations

from dataclasses import dataclass

from convscope.errors import unknown


@dataclass(frozen=True)
class Fault:
    """One fault: a code, a name in the words of the field."""

    code: str
    name: str

    @property
    def order(self) -> int:
        """Its place in the causal order: a NaN input comes before the NaN loss that it makes."""
        return ORDER.index(self.code)


_NAMES = {
    "D1": "inputs not scaled",
    "D2": "inputs not centred",
    "D3": "inputs normalised twice",
    "D4": "targets not scaled",
    "D5": "class labels scaled like inputs",
    "D6": "labels coded in another way than the loss reads them",
    "D7": "inputs and labels do not belong together",
    "D8": "classes imbalanced",
    "D9": "unshuffled batches, or held-out images cut from the end of sorted data",
    "D10": "inputs that are not finite, or constant",
    "D11": "training and held-out inputs prepared differently",
    "D12": "augmentation too strong",
    "D13": "held-out examples are in the training set",
    "O1": "softmax over a single unit",
    "O2": "softmax applied twice",
    "O3": "logits given to a loss of probabilities",
    "O4": "the output cannot reach the targets",
    "O5": "the loss does not fit the task",
    "O6": "independent sigmoids for exclusive classes",
    "O7": "as many outputs as there are classes or targets are needed",
    "O8": "(N, 1) against (N,): broadcasting",
    "O9": "wrong axis or reduction in softmax or loss",
    "O10": "an activation or dropout in a harmful place",
    "A1": "no non-linearity between layers",
    "A2": "dead ReLU units",
    "A3": "saturated sigmoid or tanh",
    "A4": "vanishing gradients",
    "A5": "exploding gradients",
    "A6": "too small for the task",
    "A7": "all units begun alike",
    "A8": "scale of the initial weights",
    "A9": "layers in the wrong order, or a wrong reshape",
    "A10": "pooled down too early",
    "A11": "batch norm misused",
    "A12": "dropout too strong",
    "P1": "learning rate too high",
    "P2": "learning rate too low",
    "P3": "the loss is climbed, not descended",
    "P4": "gradients are never cleared",
    "P5": "step or backward missing, or in the wrong order",
    "P6": "parameters frozen, or unknown to the optimiser",
    "P7": "the graph is cut: detach, no_grad, NumPy",
    "P8": "regularisation too strong",
    "P9": "the schedule kills the rate",
    "P10": "abnormal hyper-parameters of the optimiser",
    "P11": "too few updates",
    "P12": "half-precision underflow",
    "P13": "gradients clipped too tightly",
    "E1": "training or evaluation mode wrong",
    "E2": "the metric does not fit",
    "E3": "over-fitting",
    "E4": "argmax over the wrong axis",
}  # fmt: skip

FAULTS: dict[str, Fault] = {code: Fault(code, name) for code, name in _NAMES.items()}

# Upstream first. Where one fault makes another's signs (a wild rate kills ReLUs; raw inputs make every rate wild), it comes
# first here, so that of two with equal evidence the cause is named before its effect.
ORDER: tuple[str, ...] = (
    "D10", "D5", "D6", "O7", "D7", "P7", "P5", "P6", "P3", "P4", "E1", "O8", "O9", "O1", "O2", "O3", "O5", "O4", "O6", "O10",
    "A7", "D3", "D1", "D2", "D4", "D12", "A9", "A10", "A1", "A11", "A8", "P10", "P12", "P13", "P9", "P8", "P1", "A2", "A3",
    "A5", "A4", "A12", "A6", "P2", "P11", "D9", "D8", "D11", "D13", "E2", "E4", "E3",
)  # fmt: skip


def fault(code: str) -> Fault:
    """A fault by its code. Errors: UnknownName.

    >>> fault("O2").name
    'softmax applied twice'
    """
    if code not in FAULTS:
        raise unknown("fault", code, FAULTS)
    return FAULTS[code]
