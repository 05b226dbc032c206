"""Data sets as numpy arrays: split by a seed, scaled by the training part, checked."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from handgrad.training.errors import TrainingError
from handgrad.training.idx import read_idx_folder
from handgrad.training.settings import Data


class Part(NamedTuple):
    """Samples and their labels."""

    x: Any  # numpy or JAX array (m, n_0), float32, scaled
    y: Any  # numpy or JAX array (m,), int32, 0 ... C-1


class Dataset(NamedTuple):
    """Three parts, and what turns their features back into images."""

    train: Part
    validation: Part
    test: Part
    classes: tuple[str, ...]  # C names
    image_shape: tuple[int, int]  # height * width = n_0
    mean: np.ndarray  # (n_0,), float32: x = (pixels - mean) / scale
    scale: np.ndarray  # (n_0,), float32, positive


def load_data(settings: Data, seed: int) -> Dataset:
    """Load, split, scale and check what the settings name.

    Splits are stratified and depend on the seed alone; scaling uses the statistics of
    the training part alone.

    Args:
      settings: the table [data].
      seed: of the splits.

    Returns:
      The data set.

    Raises:
      TrainingError: for files that are missing or broken, splits that cannot be made,
        and data that `check_part` refuses.
    """
    if settings.source == "digits":
        x, y = load_digits(return_X_y=True)
        rest, test = _split(Part(x, y), settings.test, seed, "data.test")
        image_shape = (8, 8)
    else:
        files = read_idx_folder(settings.path)
        rest = Part(_flat(files.train_images), files.train_labels)
        test = Part(_flat(files.test_images), files.test_labels)
        image_shape = files.train_images.shape[1:]
    classes = 1 + int(rest.y.max(initial=0))
    for name, part in (("training", rest), ("test", test)):
        check_part(part, classes, name)
    _check_classes(rest.y, classes)
    train, validation = _split(rest, settings.validation, seed, "data.validation")
    mean, scale = scaling(train.x, settings.scaling)
    return Dataset(
        _prepare(train, mean, scale),
        _prepare(validation, mean, scale),
        _prepare(test, mean, scale),
        tuple(map(str, range(classes))),
        image_shape,
        mean,
        scale,
    )


def check_part(part: Part, classes: int, name: str) -> None:
    """Refuse what training cannot use, by value, before anything is compiled.

    Args:
      part: features (m, n_0) and labels (m,).
      classes: C.
      name: what the messages call the part.

    Raises:
      TrainingError: for no samples, lengths that differ, features that are not finite,
        or labels that are not integers in 0 ... C-1; naming row, column and count.
    """
    x, y = part
    if len(x) == 0 or len(x) != len(y):
        raise TrainingError(
            f"`x` and `y` of the {name} data must have one label per sample and at "
            f"least one sample, got {len(x)} samples and {len(y)} labels."
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise TrainingError(f"`y` of the {name} data must be integers, got {y.dtype}.")
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if outside.size:
        raise TrainingError(
            f"`y` of the {name} data must be labels in 0 ... {classes - 1}, got "
            f"{y[outside[0]]} in row {outside[0]} ({outside.size} such labels). "
            "Correct or remove them."
        )
    rows, columns = np.nonzero(~np.isfinite(x))
    if rows.size:
        raise TrainingError(
            f"`x` of the {name} data must be finite, got {x[rows[0], columns[0]]} in "
            f"row {rows[0]}, column {columns[0]} ({rows.size} such values). "
            "Fill or remove them."
        )


def _check_classes(labels: np.ndarray, classes: int) -> None:
    """Every label up to the largest has a sample; a corrupt one stands out by this."""
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        row = int(np.argmax(labels))
        raise TrainingError(
            f"`y` of the training data must hold every label in 0 ... {classes - 1}, "
            f"but label {np.argmin(counts)} has no sample; the largest label "
            f"{labels[row]} is in row {row} ({counts[-1]} such labels). Correct or "
            "remove them, or number the classes from 0."
        )


def scaling(x: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """The mean to subtract and the scale to divide by.

    Args:
      x: (m, n_0), the training part.
      how: "feature" (statistics per column), "global" (over all entries) or "none".

    Returns:
      mean and scale, both (n_0,), float32; the scale of a constant is 1.
    """
    features = x.shape[1]
    if how == "none":
        return np.zeros(features, np.float32), np.ones(features, np.float32)
    scaler = StandardScaler().fit(x if how == "feature" else x.reshape(-1, 1))
    mean, scale = (
        np.broadcast_to(np.asarray(values, np.float32), (features,)).copy()
        for values in (scaler.mean_, scaler.scale_)
    )
    return mean, scale


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


def _prepare(part: Part, mean: np.ndarray, scale: np.ndarray) -> Part:
    return Part(((part.x - mean) / scale).astype(np.float32), part.y.astype(np.int32))


def _split(part: Part, share: float, seed: int, key: str) -> tuple[Part, Part]:
    try:
        x, x_out, y, y_out = train_test_split(
            *part, test_size=share, random_state=seed, stratify=part.y
        )
    except ValueError as error:
        raise TrainingError(
            f"`{key}` must leave samples of every class on both sides, got {share}: "
            f"{error}"
        ) from error
    return Part(x, y), Part(x_out, y_out)
