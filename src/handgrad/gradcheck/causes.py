"""The causes that a check may name, and what each means in one line."""

from typing import NamedTuple

CAUSES = {
    "structure": "wrong structure, shape or dtype",
    "nonfinite": "NaN or infinity",
    "zero": "zero, whole or in rows or columns",
    "sign": "the opposite sign",
    "transposed": "the transpose",
    "scale": "a wrong factor",
    "one_entry": "a single wrong entry",
    "entries_swapped": "right entries in the wrong places",
    "weight_decay": "a multiple of the parameter left in",
    "label_smoothing": "targets mixed with the uniform distribution",
    "weights_ignored": "sample weights or a mask not applied",
    "samples_dropped": "samples left out or counted twice",
    "stale": "the gradient at another point",
    "missing_activation_derivative": "h' left out",
    "wrong_activation_derivative": "h' wrong, or of something else",
    "low_precision": "computed in a narrower dtype",
    "kink": "another convention where the loss has a kink",
    "unknown": "wrong, in a way that the numbers do not tell",
}


class Finding(NamedTuple):
    """A cause, and a sentence with the numbers behind it."""

    cause: str
    explanation: str
