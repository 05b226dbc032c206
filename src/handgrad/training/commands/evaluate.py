"""handgrad evaluate: the scores of a run's model, on its test part or on a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from handgrad.training.commands.exit_code import exit_code
from handgrad.training.commands.inputs import read_inputs, run_model
from handgrad.training.data.labels import label_numbers
from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_json
from handgrad.training.records.predictions import (
    PREDICTIONS,
    Examples,
    Predictions,
    load_predictions,
    predict,
)
from handgrad.training.views import scores
from handgrad.training.views.terminal import Terminal, class_table, say


@dataclass(frozen=True)
class Evaluate:
    """Loss, accuracy, calibration and scores by class of a run's model.

    On a file with labels, or without one on the test samples that the run predicted.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run; with a file, also a model.safetensors."""
    file: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE]")
    ] = None
    """The samples: CSV (gzipped or not), or .npz with arrays x and y."""
    label: str | None = None
    """The column of labels, by name or by position from 0; needed where it is not the
    only one that is no feature."""
    out: Path | None = None
    """Write the figures to this file as well, as JSON."""


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate as the command line says; the exit code."""
    return exit_code(lambda: _evaluate(tyro.cli(Evaluate, args=argv)))


def _evaluate(command: Evaluate) -> None:
    found = _predictions(command)
    figures = _figures(found)
    if command.out is not None:
        replace_json(command.out, figures)
    console = Terminal()
    console.print(class_table(scores.class_scores(found), str(found.part[0])))
    say(
        console,
        f"accuracy {figures['accuracy']:.4f}, loss {figures['loss']:.4f} nats, "
        f"expected calibration error {figures['calibration_error']:.4f} "
        f"({figures['samples']:,} samples)",
    )


def _predictions(command: Evaluate) -> Predictions:
    if command.file is None:
        found = load_predictions(command.run / PREDICTIONS)
        if not len(found.part):
            raise TrainingError(f"`run` {command.run} has predicted no samples.")
        return found.of(str(found.part[-1]))
    model = run_model(command.run)
    x, y = read_inputs(command.file, model, command.label)
    if y is None:
        raise TrainingError(
            f"`file` must hold samples with labels, got {command.file}. Say which "
            "column they are with --label, by name or by position."
        )
    samples = Examples(
        x, label_numbers(y, model.classes, command.file.name), np.arange(len(x))
    )
    return predict(model, {command.file.name: samples})


def _figures(found: Predictions) -> dict[str, Any]:
    return {
        "samples": len(found.true),
        "accuracy": scores.accuracy(found),
        "loss": scores.loss(found),
        "calibration_error": scores.calibration(found).error,
        "classes": [row._asdict() for row in scores.class_scores(found)],
    }
