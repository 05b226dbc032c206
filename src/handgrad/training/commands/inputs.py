"""Samples to predict, from CSV, npz or npy files."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handgrad.training.data.csv_file import read_rows
from handgrad.training.data.files import opened
from handgrad.training.data.labels import as_words
from handgrad.training.data.table import Encoder, Words, encode, encoder_from_json
from handgrad.training.errors import TrainingError, nearest
from handgrad.training.files import UNREADABLE
from handgrad.training.records.classifier import Classifier, layer_sizes
from handgrad.training.records.model import MODEL, load_model


class Inputs(NamedTuple):
    """Samples of a file."""

    x: np.ndarray  # (m, n_0), not scaled
    y: np.ndarray | Words | None  # (m,), integers or text; None where there are none


def run_model(run: Path) -> Classifier:
    """The model of a run's folder, or of a file of its kind."""
    return load_model(run / MODEL if run.is_dir() else run)


def read_inputs(path: Path, model: Classifier, label: str | None = None) -> Inputs:
    """Read samples for a classifier.

    Args:
      path: .npz with an array x and perhaps y, .npy with x alone, else CSV, gzipped or
        not. With a header, its columns are found by their names.
      model: what they are for; one that was trained on a table encodes this as that.
      label: the column of labels, by its name, or its position where there is no
        header; without it, that of the table that the model was trained on, or the one
        column more than there are features.

    Returns:
      Finite numbers, and labels if there are any.

    Raises:
      TrainingError: for a file that is missing or broken, columns that do not fit, and
        what is not a finite number, by its row.
    """
    try:
        read = _arrays if path.suffix in (".npz", ".npy") else _table
        inputs = read(path, model, label)
    except TrainingError as error:
        raise TrainingError(
            f"`file` must hold rows like those of the training, got {path}: {error}"
        ) from error
    except OSError as error:
        raise TrainingError(
            f"`file` must be one that can be read, got {path}: "
            f"{error.strerror or error}."
        ) from error
    except UNREADABLE as error:
        raise TrainingError(f"`file` {path} cannot be read: {error}") from error
    _check(inputs, model, path)
    return inputs


def _arrays(path: Path, model: Classifier, label: str | None) -> Inputs:
    del model
    if path.suffix == ".npy":
        return Inputs(np.load(path, mmap_mode="r", allow_pickle=False), None)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
        if "x" not in loaded:
            raise ValueError(f"no array x, only {', '.join(loaded) or 'none'}.")
        y = loaded.get(label or "y")
        return Inputs(loaded["x"], None if y is None else as_words(y))


def _table(path: Path, model: Classifier, label: str | None) -> Inputs:
    if model.encoder is None:
        encoder = _numbers_alone(path, model, label)
    else:
        encoder = encoder_from_json(model.encoder)
        encoder = replace(encoder, label=label or encoder.label)
    table, y = read_rows(encoder, path)
    if label is not None and y is None:
        raise ValueError(f"no column {label!r}. {nearest(label, encoder.columns)}")
    return Inputs(encode(encoder, table, np.arange(len(table.numbers))), y)


def _numbers_alone(path: Path, model: Classifier, label: str | None) -> Encoder:
    """How to read a CSV file for a model that was trained on arrays."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        first = tuple(cell.strip() for cell in next(csv.reader(text), []))
    features = layer_sizes(model.params)[0]
    names = model.features or tuple(f"feature {k}" for k in range(features))
    if first and not any(map(_is_number, first)):
        others = [name for name in first if name not in names]
        label = label or (others[0] if len(others) == 1 else "")
        return Encoder(first, True, label, names, None, (), ())
    try:
        place = range(features + 1)[-1 if label is None else int(label)]
    except (ValueError, IndexError):
        raise ValueError(f"it has no header, and no column {label!r}.") from None
    columns = (*names[:place], "", *names[place:])
    return Encoder(columns, False, "", names, None, (), ())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check(inputs: Inputs, model: Classifier, path: Path) -> None:
    x, y = inputs
    features = layer_sizes(model.params)[0]
    if (
        x.ndim < 2
        or int(np.prod(x.shape[1:])) != features
        or x.dtype.kind not in "biuf"
    ):
        raise TrainingError(
            f"`file` must hold samples of {features} numbers, got {x.dtype} of shape "
            f"{x.shape} in {path}."
        )
    labels = None if y is None else y.places if isinstance(y, Words) else y
    if labels is not None and labels.shape != (len(x),):
        raise TrainingError(
            f"`file` must hold a label per sample, got {labels.shape} for {len(x)} "
            f"samples in {path}."
        )
    for start in range(0, len(x), 4096):
        finite = np.isfinite(x[start : start + 4096]).reshape(-1, features).all(axis=1)
        if not finite.all():
            raise TrainingError(
                f"`file` must hold finite numbers, got others in row "
                f"{start + int(np.argmin(finite))} of {path}. Fill or remove them."
            )
