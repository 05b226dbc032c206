"""What is left when a network is trained: the model, its predictions and scores."""

from pathlib import Path
from typing import Any

import jax

import handgrad
from handgrad.training.data import Dataset
from handgrad.training.data.table import encoder_to_json
from handgrad.training.files import replace_json
from handgrad.training.records.classifier import Classifier
from handgrad.training.records.predictions import (
    PREDICTIONS,
    Examples,
    Predictions,
    predict,
    save_predictions,
)
from handgrad.training.records.run_records import read_run
from handgrad.training.settings import Settings
from handgrad.training.views.scores import accuracy, class_scores, loss
from handgrad.training.views.terminal import class_table, file_names, say


def classifier(
    settings: Settings, data: Dataset, params: handgrad.Params
) -> Classifier:
    """What is saved of a run: parameters, with all that a prediction needs."""
    table = data.table
    return Classifier(
        handgrad.unstack_layers(params),
        settings.model.activation,
        data.classes,
        data.features,
        data.image_shape,
        data.scaling,
        encoder_to_json(table) if table else None,
    )


def results(
    settings: Settings,
    data: Dataset,
    model: Classifier,
    best_epoch: int,
    folder: Path,
    console: Any,
) -> dict[str, Any]:
    """Predict what was held out and write what came of it; draw it last.

    Args:
      settings, data: of the run.
      model: the best of it, saved already.
      best_epoch: the epoch that it is of.
      folder: where predictions, result.json and pictures go.
      console: of rich, what to print to.

    Returns:
      What result.json holds.
    """
    predictions = predict(model, _held_out(data))
    save_predictions(folder / PREDICTIONS, predictions)
    result = {
        "name": settings.name,
        "seed": settings.seed,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
        "best_epoch": best_epoch,
        **_figures(predictions, "validation"),
        **_figures(predictions, "test"),
    }
    replace_json(folder / "result.json", result)
    part = predictions.part[-1]
    scores = class_scores(predictions.of(part))
    console.print(class_table(scores, f"By class, {part} part"))
    from handgrad.training.views.folder_pictures import write_pictures

    write_pictures(read_run(folder))
    say(console, _ending(result, folder))
    return result


def _held_out(data: Dataset) -> dict[str, Examples]:
    """Validation and test samples; the training samples where there are neither."""
    names = ("training", "validation", "test")
    parts = {
        name: Examples(part.x, part.y, rows)
        for name, part, rows in zip(names, data[:3], data.rows, strict=True)
        if len(part.y)
    }
    training = parts.pop("training")
    return parts or {"training": training}


def _figures(predictions: Predictions, part: str) -> dict[str, Any]:
    found = predictions.of(part)
    if not len(found.true):
        return {}
    scores = class_scores(found)
    return {
        f"{part}_samples": len(found.true),
        f"{part}_accuracy": accuracy(found),
        f"{part}_loss": loss(found),
        f"{part}_classes": {score.name: score._asdict() for score in scores},
    }


def _ending(result: dict[str, Any], folder: Path) -> str:
    part = "test" if "test_accuracy" in result else "validation"
    accuracy = result.get(f"{part}_accuracy")
    tested = "" if accuracy is None else f"{part} accuracy {accuracy:.4f}, "
    return f"{tested}best epoch {result['best_epoch']}\n{file_names(folder)}"
