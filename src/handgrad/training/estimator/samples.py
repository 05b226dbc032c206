"""What `fit` is given, as the engine takes it: labels as numbers, weights, a split."""

from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data import Dataset, Part, Scaling
from handgrad.training.errors import shortened


class Weighted(NamedTuple):
    """Samples that have weight, and what they weigh."""

    x: np.ndarray  # (m, n_0)
    y: np.ndarray  # (m,), int32, places among the classes
    weights: np.ndarray | None  # (m,), positive; None for all 1


def label_places(y: Any, classes: np.ndarray) -> np.ndarray:
    """The labels as places among the classes.

    Compared as Python compares them, so that no label of 64 bits is rounded to another.

    Args:
      y: (m,), labels.
      classes: (C,), each once.

    Returns:
      (m,), int32.

    Raises:
      ValueError: for labels that are none of the classes.
    """
    found, inverse = np.unique(y, return_inverse=True)
    places = {label: place for place, label in enumerate(classes.tolist())}
    strange = [label for label in found.tolist() if label not in places]
    if strange:
        raise ValueError(
            "`y` must hold labels of the classes that the estimator knows, "
            f"{shortened(classes.tolist())}, got {shortened(strange)}. Name all in the "
            "first call to `partial_fit`, or call `fit` anew."
        )
    return np.array([places[label] for label in found.tolist()], np.int32)[inverse]


def check_weights(sample_weight: Any, x: np.ndarray) -> np.ndarray | None:
    """Weights as an array.

    Args:
      sample_weight: None, a number for all, or m numbers.
      x: (m, n_0), the samples.

    Returns:
      (m,), float64, or None for all 1.

    Raises:
      ValueError: for another shape, for what is not finite or negative, and for a sum
        of 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, np.float64)
    weights = np.full(len(x), weights) if weights.ndim == 0 else weights
    if weights.shape != (len(x),):
        raise ValueError(
            f"`sample_weight` must have one number for each of the {len(x)} samples, "
            f"shape ({len(x)},), got shape {weights.shape}."
        )
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if wrong.size:
        raise ValueError(
            "`sample_weight` must be 0 or more, and finite, got "
            f"{weights[wrong[0]]} for sample {wrong[0]} ({wrong.size} such weights)."
        )
    if not weights.any():
        raise ValueError(
            "`sample_weight` must be positive for a sample, got zero weight for all."
        )
    return weights


def with_class_weight(
    class_weight: Any, y: np.ndarray, weights: np.ndarray | None, classes: np.ndarray
) -> np.ndarray | None:
    """The weights of the samples times those of their classes.

    Args:
      class_weight: None, "balanced" for W / (C W_c) where W_c is what class c weighs,
        or a dictionary by label; 1 for a class that is not in it.
      y: (m,), places among the classes.
      weights: (m,), or None for all 1.
      classes: (C,), the labels.

    Returns:
      (m,), or None for all 1.

    Raises:
      ValueError: for a label that is none of the classes, and a weight that is none.
    """
    if class_weight is None:
        return weights
    if isinstance(class_weight, str):
        sums = np.bincount(y, weights, len(classes))
        there = sums > 0
        factors = sums.sum() / (there.sum() * np.where(there, sums, 1))
    else:
        strange = [c for c in class_weight if c not in set(classes.tolist())]
        if strange:
            raise ValueError(
                "`class_weight` must have labels of `y` as its keys, which are "
                f"{shortened(classes.tolist())}, got {shortened(strange)}."
            )
        factors = np.array(
            [class_weight.get(c, 1) for c in classes.tolist()], np.float64
        )
        if not ((factors >= 0) & (factors < np.inf)).all():
            raise ValueError(
                "`class_weight` must be 0 or more, and finite, for every class, got "
                f"{shortened(class_weight)}."
            )
    product = factors[y] if weights is None else factors[y] * weights
    if not (product.any() and np.isfinite(product).all()):
        raise ValueError(
            "`class_weight` times `sample_weight` must be finite, and positive for a "
            f"sample, got {shortened(class_weight)}."
        )
    return product


def without_weightless(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> Weighted:
    """The samples that count: weight 0 is the same as not being there."""
    if weights is None or (weights > 0).all():
        return Weighted(x, y, weights)
    rows = np.flatnonzero(weights > 0)
    return Weighted(x[rows], y[rows], weights[rows])


def held_out(
    samples: Weighted, fraction: float, random: np.random.RandomState
) -> tuple[Weighted, Weighted]:
    """A stratified split: what is left to train on, and a fraction for validation."""
    from sklearn.model_selection import train_test_split

    if np.ceil(fraction * len(samples.y)) < max(2, len(np.unique(samples.y))):
        raise ValueError(
            "`validation_fraction` must hold out 2 samples or more, and one of every "
            f"class, got {fraction} of {len(samples.y)} samples. Choose a larger one."
        )
    split = train_test_split(
        np.arange(len(samples.y)),
        test_size=fraction,
        stratify=samples.y,
        random_state=random,
    )
    x, y, weights = samples
    kept, held = (
        Weighted(x[rows], y[rows], None if weights is None else weights[rows])
        for rows in split
    )
    return kept, held


def dataset_of(train: Weighted, validation: Weighted | None, classes: int) -> Dataset:
    """The engine's data set: not scaled, and without test samples.

    Weights are divided by their mean, which the objective does not see; so none is lost
    in float32 that float64 holds.
    """
    dtype, features = train.x.dtype.type, train.x.shape[1]
    nothing = Part(np.zeros((0, features), dtype), np.zeros(0, np.int32))
    none = np.arange(0)
    return Dataset(
        _part(train),
        _part(validation) if validation else nothing,
        nothing,
        Scaling(dtype(0), dtype(1)),
        tuple(map(str, range(classes))),
        tuple(map(str, range(features))),
        None,
        None,
        (none, none, none),
        False,
    )


def _part(samples: Weighted) -> Part:
    x, y, weights = samples
    if weights is not None:
        weights = weights / weights.max()
        weights = (weights / weights.mean()).astype(x.dtype)
    return Part(x, y, weights)
