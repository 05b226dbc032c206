"""Folders of runs, written by the package's own writers, without training."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.network import as_params
from handgrad.training.data import Scaling
from handgrad.training.records import metrics, model, predictions

SETTINGS = """\
name = "{name}"
seed = {seed}

[data]
source = "digits"

[model]
hidden = [3]
activation = "relu"

[optimizer]
name = "adamw"
learning_rate = {rate}
"""


def classifier(
    sizes: Sequence[int] = (6, 3, 4),
    *,
    activation: str | tuple[str, ...] = "relu",
    classes: Sequence[str] = (),
    features: Sequence[str] = (),
    image_shape: tuple[int, ...] | None = (2, 3),
    scaling: Scaling | None = None,
    dtype: Any = np.float32,
    encoder: dict[str, Any] | None = None,
) -> model.Classifier:
    """Random parameters; class k of C is called by its number."""
    random = np.random.default_rng(0)
    params = as_params(
        (random.normal(size=(a, b)).astype(dtype), random.normal(size=b).astype(dtype))
        for a, b in zip(sizes, sizes[1:], strict=False)
    )
    center = np.linspace(-1, 1, sizes[0], dtype=np.float32)
    return model.Classifier(
        params,
        activation,
        tuple(classes) or tuple(map(str, range(sizes[-1]))),
        tuple(features),
        image_shape,
        scaling or Scaling(center, center + 2),
        encoder,
    )


def records(losses: Sequence[float]) -> list[metrics.EpochRecord]:
    """One per validation loss."""
    return [
        metrics.EpochRecord(
            epoch=epoch,
            steps=10 * epoch,
            objective=loss + 0.1,
            train_loss=0.9 * loss,
            train_accuracy=0.9,
            validation_loss=loss,
            validation_accuracy=0.8,
            learning_rate=1e-3,
        )
        for epoch, loss in enumerate(losses, start=1)
    ]


def samples(features: int, classes: int, count: int = 60) -> predictions.Examples:
    """Every class has samples; rows are not the positions."""
    random = np.random.default_rng(1)
    x = random.normal(size=(count, features)).astype(np.float32)
    y = (np.arange(count) % classes).astype(np.int32)
    return predictions.Examples(x, y, np.arange(count) + 1000)


def write_run(
    folder: Path,
    *,
    losses: Sequence[float] = (0.7, 0.5, 0.6),
    saved: model.Classifier | None = None,
    tested: predictions.Predictions | None = None,
    state: str = "done",
    message: str = "",
    seed: int = 0,
    rate: str = "1e-3",
) -> Path:
    """A run's folder; without a model or predictions where none are given."""
    folder.mkdir(parents=True)
    text = SETTINGS.format(name=folder.name.replace('"', r"\""), seed=seed, rate=rate)
    (folder / "settings.toml").write_text(text, "utf-8")
    status = {"state": state, "error": message, "versions": {"jax": "0.10.2"}}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "check.txt").write_text("gradient ok: <4> leaves\n")
    for record in records(losses):
        metrics.append_record(folder, record)
    if saved is not None:
        model.save_model(folder / model.MODEL, saved)
    if tested is not None:
        predictions.save_predictions(folder / predictions.PREDICTIONS, tested)
        result = {"test_accuracy": 0.75, "test_loss": 0.5}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def right_predictions(
    classes: Sequence[str], features: int, *, wrong: int = 0, count: int = 60
) -> predictions.Predictions:
    """Confident ones, of which the first ``wrong`` are wrong."""
    given = samples(features, len(classes), count)
    predicted = given.y.copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % len(classes)
    probabilities = np.full((count, len(classes)), 0.1 / len(classes), np.float32)
    probabilities[np.arange(count), predicted] += 0.9
    losses = -np.log(probabilities[np.arange(count), given.y])
    mistakes = predictions.worst_mistakes(given.y, predicted, losses)
    return predictions.Predictions(
        np.repeat(["test"], count),
        given.rows,
        given.y,
        predicted,
        probabilities,
        losses,
        np.array(list(classes), dtype=np.str_),
        mistakes,
        given.x[mistakes],
    )


def with_closed_output(arguments: Sequence[str], lines: int = 0) -> tuple[int, str]:
    """Exit code and stderr of a Python process whose output is read for some lines, as
    `head` does, and then closed."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
    return process.returncode, error
