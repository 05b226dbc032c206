"""What `fit` is given, as scikit-learn checks it, and refused where it cannot work."""

import warnings
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from handgrad.training.errors import shortened
from handgrad.training.estimator.samples import (
    Weighted,
    check_weights,
    label_places,
    without_weightless,
)


def validated(model: Any, x: Any, y: Any, *, anew: bool) -> tuple[Any, np.ndarray]:
    """Features and labels as scikit-learn checks them, in the dtype that the model
    computes in; ``anew`` unless it goes on from an earlier call."""
    dtype: Any = {
        "auto": np.float32 if _is_narrow(x) else (np.float64, np.float32),
        "float64": np.float64,
        "float32": np.float32,
        "bfloat16": np.float32,
    }[model.dtype]
    dtype = dtype if anew else model.coefs_[0].dtype
    with np.errstate(over="ignore"):  # what does not fit is infinite, and refused
        x, y = validate_data(model, x, y, dtype=dtype, reset=anew)
    check_classification_targets(y)
    return x, y


def _is_narrow(x: Any) -> bool:
    """Whether a frame is of float32 alone, which scikit-learn does not see of all."""
    return hasattr(x, "columns") and np.asarray(x[:1]).dtype == np.float32


def samples_of(model: Any, x: Any, y: Any, sample_weight: Any) -> Weighted:
    """Those with a weight, their labels the places of their classes."""
    weights = check_weights(sample_weight, x)
    return without_weightless(x, label_places(y, model.classes_), weights)


def validation_of(model: Any, given: Any, dtype: Any) -> Weighted:
    """The samples of `validation_data`."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError(
            "`validation_data` must be (X, y) or (X, y, sample_weight), got "
            f"{shortened(given)}."
        )
    x, y = validate_data(model, *given[:2], dtype=dtype, reset=False)
    return samples_of(model, x, y, given[2] if len(given) == 3 else None)


def check_number_of_classes(classes: np.ndarray) -> None:
    """One class alone is nothing to learn."""
    if len(classes) < 2:
        raise ValueError(
            "`y` must hold two classes or more, got one class: "
            f"{shortened(classes.tolist())}."
        )


def check_classes(classes: np.ndarray, samples: Weighted) -> None:
    """Something to tell apart; and a word on what cannot be learned."""
    check_number_of_classes(classes)
    there = np.bincount(samples.y, minlength=len(classes)) > 0
    missing = shortened(classes[~there].tolist())
    if there.sum() < 2:
        raise ValueError(
            "`sample_weight` must leave two classes or more with some weight, got none "
            f"for class {missing}."
        )
    if not there.all():
        warnings.warn(
            f"`sample_weight` leaves class {missing} no weight: it is not learned.",
            stacklevel=4,
        )
