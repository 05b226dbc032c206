"""Samples to predict, from CSV, npz or npy files."""

import csv
import gzip
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data.csv_file import read_rows
from handgrad.training.data.table import encode, encoder_from_json
from handgrad.training.errors import TrainingError, nearest
from handgrad.training.records.files import UNREADABLE
from handgrad.training.records.model import MODEL, Classifier, layer_sizes, load_model


class Inputs(NamedTuple):
    """Samples of a file."""

    x: np.ndarray  # (m, n_0), not scaled
    y: np.ndarray | None  # (m,), integers or text; None where there are none


def run_model(run: Path) -> Classifier:
    """The model of a run's folder, or of a file of its kind."""
    return load_model(run / MODEL if run.is_dir() else run)


def read_inputs(path: Path, model: Classifier, label: str | None = None) -> Inputs:
    """Read samples for a classifier.

    Args:
      path: .npz with an array x and perhaps y, .npy with x alone, else CSV, gzipped or
        not. With a header, its columns are found by the names of the features.
      model: what they are for.
      label: the column of labels, by its name or its position; without it, the one
        column more than there are features, if there is one.

    Returns:
      Finite numbers, and labels if there are any.

    Raises:
      TrainingError: for a file that is missing or broken, columns that do not fit, and
        what is not a finite number, by its row.
    """
    try:
        if path.suffix in (".npz", ".npy"):
            read = _arrays
        else:
            read = _encoded if model.encoder else _table
        inputs = read(path, model, label)
    except OSError as error:
        raise TrainingError(
            f"`file` must be one that can be read, got {path}: "
            f"{error.strerror or error}."
        ) from error
    except UNREADABLE as error:
        raise TrainingError(f"`file` {path} cannot be read: {error}") from error
    _check(inputs, model, path)
    return inputs


def label_numbers(y: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels as places among the classes: text is their names, numbers are 0 ... C-1.

    Raises:
      TrainingError: for a label that is none of them, by its row.
    """
    names = list(classes) if y.dtype.kind == "U" else list(range(len(classes)))
    places = {name: place for place, name in enumerate(names)}
    for row, label in enumerate(y.tolist()):
        if label not in places:
            raise TrainingError(
                f"`label` must be a class of the model, got {label!r:.80} in row "
                f"{row}. {nearest(str(label), map(str, names))}"
            )
    return np.array([places[label] for label in y.tolist()], np.int32)


def _arrays(path: Path, model: Classifier, label: str | None) -> Inputs:
    del model
    if path.suffix == ".npy":
        return Inputs(np.load(path, mmap_mode="r", allow_pickle=False), None)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
        if "x" not in loaded:
            raise ValueError(f"no array x, only {', '.join(loaded) or 'none'}.")
        name = label or "y"
        return Inputs(loaded["x"], loaded.get(name))


def _encoded(path: Path, model: Classifier, label: str | None) -> Inputs:
    """A table of the columns that the model was trained on, words among them."""
    del label  # the model knows it
    assert model.encoder is not None
    encoder = encoder_from_json(model.encoder)
    table, labels = read_rows(encoder, path)
    x = encode(encoder, table, np.arange(len(table.numbers)))
    if labels is None:
        return Inputs(x, None)
    words = np.array([*labels.words, ""], dtype=np.str_)
    return Inputs(x, words[labels.places])


def _table(path: Path, model: Classifier, label: str | None) -> Inputs:
    first = _first_row(path)
    header = first if not any(map(_is_number, first)) else []
    column = _label_column(header or first, model, label, named=bool(header))
    features = [i for i in range(len(first)) if i != column]
    if header and model.features:
        missing = [name for name in model.features if name not in header]
        if missing:
            raise ValueError(f"no column {missing[0]!r}. {nearest(missing[0], header)}")
        features = [header.index(name) for name in model.features]
    skip = bool(header)
    x = _columns(path, features, np.float32, skip)
    y = None if column is None else _columns(path, [column], np.str_, skip).ravel()
    return Inputs(x, y)


def _label_column(
    first: Sequence[str], model: Classifier, label: str | None, *, named: bool
) -> int | None:
    """Which column holds the labels, if one does."""
    if label is not None:
        if named and label in first:
            return first.index(label)
        if label.lstrip("-").isdecimal() and -len(first) <= int(label) < len(first):
            return int(label) % len(first)
        hint = nearest(label, first) if named else f"There are {len(first)} columns."
        raise ValueError(f"no column {label!r} of labels. {hint}")
    if named and model.features:
        others = [i for i, name in enumerate(first) if name not in model.features]
        return others[0] if len(others) == 1 else None
    return len(first) - 1 if len(first) == layer_sizes(model.params)[0] + 1 else None


def _first_row(path: Path) -> list[str]:
    with _open(path) as file:
        row = next(csv.reader(file), [])
    if not row:
        raise ValueError("it is empty.")
    return [field.strip() for field in row]


def _columns(path: Path, columns: list[int], dtype: Any, skip: bool) -> np.ndarray:
    with _open(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error")  # no rows
        return np.loadtxt(
            file,
            dtype=dtype,
            delimiter=",",
            quotechar='"',
            comments=None,
            usecols=columns,
            skiprows=int(skip),
            ndmin=2,
        )


def _open(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig", newline="")


def _is_number(field: str) -> bool:
    try:
        float(field)
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
    if y is not None and y.shape != (len(x),):
        raise TrainingError(
            f"`file` must hold a label per sample, got {y.shape} for {len(x)} samples "
            f"in {path}."
        )
    for start in range(0, len(x), 4096):
        finite = np.isfinite(x[start : start + 4096]).reshape(-1, features).all(axis=1)
        if not finite.all():
            raise TrainingError(
                f"`file` must hold finite numbers, got others in row "
                f"{start + int(np.argmin(finite))} of {path}. Fill or remove them."
            )
