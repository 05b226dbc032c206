"""handgrad predict: a class and probabilities for every sample of a file."""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
import tyro

from handgrad.training.commands.exit_code import exit_code
from handgrad.training.commands.inputs import read_inputs, run_model
from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_file
from handgrad.training.records.classifier import Classifier


@dataclass(frozen=True)
class Predict:
    """Predict the samples of a file with the model of a run.

    Writes a line per sample: its row from 0, the predicted class, and the probability
    of every class.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run, or a model.safetensors."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The samples: CSV (gzipped or not), .npz with an array x, or .npy."""
    out: Path | None = None
    """Where to write: a .csv or .npz file; standard output (CSV) without it."""
    label: str | None = None
    """A column of the CSV file that is no feature, by name or by position from 0."""


def main(argv: Sequence[str] | None = None) -> int:
    """Predict as the command line says; the exit code."""
    return exit_code(lambda: _predict(tyro.cli(Predict, args=argv)))


def _predict(command: Predict) -> None:
    out = command.out
    if out is not None and out.suffix not in (".csv", ".npz"):
        raise TrainingError(f"`out` must be a .csv or .npz file, got {out}.")
    model = run_model(command.run)
    inputs = read_inputs(command.file, model, command.label)
    probabilities = model.predict_proba(inputs.x)
    if out is None:
        _write_csv(sys.stdout, model, probabilities)
    else:
        content = (_csv if out.suffix == ".csv" else _npz)(model, probabilities)
        replace_file(out, content)


def _write_csv(file: TextIO, model: Classifier, found: np.ndarray) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", "predicted", *(f"p_{name}" for name in model.classes)])
    for row, values in enumerate(found):
        predicted = model.classes[int(values.argmax())]
        writer.writerow([row, predicted, *map(float, values)])


def _csv(model: Classifier, found: np.ndarray) -> bytes:
    text = io.StringIO()
    _write_csv(text, model, found)
    return text.getvalue().encode()


def _npz(model: Classifier, found: np.ndarray) -> bytes:
    classes = np.array(model.classes, dtype=np.str_)
    arrays = {
        "row": np.arange(len(found)),
        "predicted": classes[found.argmax(axis=1)],
        "probabilities": found,
        "classes": classes,
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()
