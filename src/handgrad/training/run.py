"""A run: train by the settings, and leave everything worth keeping in runs/NAME/."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from sklearn.metrics import classification_report, confusion_matrix

import handgrad
from handgrad.training import pictures
from handgrad.training.data import Dataset, load_data, scale
from handgrad.training.fit import Start, check_first_batch, fit, prepare
from handgrad.training.folder import (
    EpochRecord,
    append_record,
    make_folder,
    save_classifier,
    save_result,
)
from handgrad.training.interrupt import stop_requested
from handgrad.training.report import class_table, epoch_progress
from handgrad.training.settings import Settings, check_settings, save_settings

ANSWER = "Interrupted: ending with this epoch. Ctrl-C again: at once."


def run(settings: Settings, root: Path, console: Console) -> dict[str, Any]:
    """Check, train, test, and write the folder of the run.

    Args:
      settings: what to do.
      root: the folder of runs. An earlier run of the same name in it is moved aside.
      console: what to print to.

    Returns:
      What result.json holds.

    Raises:
      TrainingError: for settings or data that cannot work, or training that diverges.
      KeyboardInterrupt: at the second Ctrl-C; the first ends training with the epoch.
    """
    check_settings(settings)
    data = _scaled(load_data(settings.data))
    start = prepare(settings, data)
    _print(console, _in_words(settings, data, start))
    _print(console, "Gradient by hand against jax.grad, first batch:")
    _print(console, check_first_batch(settings, data, start))
    folder, moved = make_folder(root, settings.name)
    if moved:
        _print(console, f"The earlier {folder} is now {moved}.")
    save_settings(settings, folder / "settings.toml")
    began = time.perf_counter()
    params, records = _train(settings, data, start, folder, console)
    seconds = time.perf_counter() - began
    result = _test(settings, data, params, folder) | {
        "epochs": len(records),
        "interrupted": len(records) < settings.training.epochs,
        "seconds": seconds,
    }
    save_result(folder, result)
    _save(pictures.learning_curves(records), folder / "learning_curves.png")
    console.print(class_table(result["classes"]))
    _print(console, _ending(result, settings, folder))
    return result


def _scaled(data: Dataset) -> Dataset:
    train, validation, test = (
        part._replace(x=scale(data.scaling, np.asarray(part.x))) for part in data[:3]
    )
    return data._replace(train=train, validation=validation, test=test)


def _train(
    settings: Settings, data: Dataset, start: Start, folder: Path, console: Console
) -> tuple[handgrad.Params, list[EpochRecord]]:
    """Fit with progress and an ear for Ctrl-C; metrics and parameters are on disk after
    every epoch, whatever ends the next."""
    records: list[EpochRecord] = []

    with (
        epoch_progress(console, settings.training.epochs) as show,
        stop_requested(ANSWER) as stop,
    ):

        def on_epoch(record: EpochRecord, params: handgrad.Params) -> None:
            records.append(record)
            append_record(folder, record)
            save_classifier(folder, params, settings.model.activation, data)
            show(record)

        return fit(settings, data, start, on_epoch=on_epoch, stop=stop), records


def _test(
    settings: Settings, data: Dataset, params: handgrad.Params, folder: Path
) -> dict[str, Any]:
    """Predict the test part; draw the confusion matrix and the mistakes."""
    x, y = data.test
    activation = settings.model.activation
    probabilities = np.asarray(
        jax.jit(handgrad.predict_proba, static_argnames="activation")(
            params, x, activation=activation
        )
    )
    predicted = probabilities.argmax(axis=1)
    labels = range(len(data.classes))
    counts = confusion_matrix(y, predicted, labels=labels)
    rows = classification_report(
        y,
        predicted,
        labels=labels,
        target_names=data.classes,
        output_dict=True,
        zero_division=0,  # pyright: ignore[reportArgumentType]
    )
    assert isinstance(rows, dict)
    pixels = x * data.scaling.divisor + data.scaling.shift
    pixels = pixels.reshape(len(x), *(data.image_shape or (1, -1)))
    _save(
        pictures.confusion_matrix(counts, data.classes), folder / "confusion_matrix.png"
    )
    _save(
        pictures.mistakes(pixels, y, probabilities, data.classes),
        folder / "mistakes.png",
    )
    return {
        "name": settings.name,
        "seed": settings.seed,
        "test_samples": len(y),
        "test_accuracy": float(np.mean(predicted == y)),
        "test_loss": float(handgrad.loss(params, x, y, activation=activation)),
        "classes": {name: rows[name] for name in data.classes},
        "versions": {name: version(name) for name in ("handgrad", "jax", "optax")},
        "device": jax.devices()[0].device_kind,
    }


def _in_words(settings: Settings, data: Dataset, start: Start) -> str:
    sizes = [len(part.y) for part in (data.train, data.validation, data.test)]
    widths = (data.train.x.shape[1], *settings.model.hidden, len(data.classes))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(start.params))
    return (
        f"{settings.name}, seed {settings.seed}: {'-'.join(map(str, widths))} "
        f"({parameters:,} parameters), {sizes[0]:,} training, {sizes[1]:,} validation "
        f"and {sizes[2]:,} test samples, on {jax.devices()[0].device_kind}"
    )


def _ending(result: dict[str, Any], settings: Settings, folder: Path) -> str:
    interrupted = (
        f"Interrupted after epoch {result['epochs']} of {settings.training.epochs}; "
        "what there is was kept.\n"
    )
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    return (
        f"{interrupted if result['interrupted'] else ''}"
        f"Test accuracy {result['test_accuracy']:.4f} "
        f"({result['test_samples']:,} samples), trained in {result['seconds']:.1f} s\n"
        f"{folder}: {files}"
    )


def _save(figure: pictures.Figure, path: Path) -> None:
    figure.savefig(path, dpi=150)


def _print(console: Console, text: str) -> None:
    """Plain text: no markup, no wrapping of paths and tables."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
