"""The report: one HTML page that needs nothing else, from the records alone."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from handgrad.training.records.classifier import layer_sizes
from handgrad.training.records.metrics import best_record
from handgrad.training.records.run_records import RunRecords
from handgrad.training.views import classes, curves, images, scores
from handgrad.training.views.style import svg

STATES = ("running", "done", "interrupted", "diverged", "failed")


def report_page(runs: Sequence[RunRecords]) -> str:
    """The report of one run, or of many beside each other.

    Args:
      runs: as `read_run` reads them, finished or not.

    Returns:
      HTML in one piece: no script, and nothing is loaded. Every name in it is escaped,
      and its content security policy forbids scripts besides.
    """
    names = run_names(runs)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = in_figures
    template = environment.from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    epochs = {name: run.epochs for name, run in zip(names, runs, strict=True)}
    return template.render(
        title=names[0] if len(runs) == 1 else f"{len(runs)} runs",
        runs=[_run(name, run) for name, run in zip(names, runs, strict=True)],
        curves=_draw(curves.learning_curves, epochs) if any(epochs.values()) else None,
        settings=list(_beside([flat(run.settings) for run in runs])),
        names=names,
    )


def run_names(runs: Sequence[RunRecords]) -> list[str]:
    """The folders' names; whole paths where two are the same."""
    counts = Counter(run.name for run in runs)
    return [run.name if counts[run.name] == 1 else str(run.folder) for run in runs]


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, under dotted keys."""
    items: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[prefix + key] = value
    return items


def in_figures(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _run(name: str, run: RunRecords) -> dict[str, Any]:
    """What the page shows of a run."""
    sizes = layer_sizes(run.model.params) if run.model else ()
    parameters = sum((a + 1) * b for a, b in zip(sizes, sizes[1:], strict=False))
    state = run.status.get("state", "unknown")
    return {
        "name": name,
        "state": state,
        "colour": state if state in STATES else "",
        "epochs": len(run.epochs),
        "best": best_record(run.epochs),
        "last": run.epochs[-1] if run.epochs else None,
        "result": run.result,
        "network": "-".join(map(str, sizes)),
        "parameters": parameters or None,
        "seconds": run.status.get("seconds"),
        "status": flat(run.status),
        "check": run.check,
        "tested": _tested(run),
        "first_layer": _draw(images.first_layer, run.model) if run.model else None,
        "output_layer": len(sizes) == 2,
        "image": bool(run.model and run.model.image_shape),
        "coloured": bool(run.model and len(run.model.image_shape or ()) == 3),
    }


def _tested(run: RunRecords) -> dict[str, Any] | None:
    """What the page shows of the predictions of the last part, which is the test's."""
    if run.predictions is None or not len(run.predictions.part):
        return None
    part = str(run.predictions.part[-1])
    found = run.predictions.of(part)
    shape = run.model.image_shape if run.model else None
    wrong = len(found.true) - int((found.predicted == found.true).sum())
    return {
        "part": part,
        "samples": len(found.true),
        "wrong": wrong,
        "accuracy": scores.accuracy(found),
        "loss": scores.loss(found),
        "classes": scores.class_scores(found),
        "confused": scores.most_confused(found),
        "confusion": _draw(classes.confusion_matrix, found),
        "calibration": _draw(classes.calibration, found),
        "mistakes": list(_mistakes(found)),
        "pictures": _draw(images.mistakes, found, shape) if shape and wrong else None,
    }


def _mistakes(found: Any) -> Iterator[dict[str, Any]]:
    for i in found.mistakes.tolist():
        true, predicted = int(found.true[i]), int(found.predicted[i])
        yield {
            "row": int(found.row[i]),
            "true": found.classes[true],
            "predicted": found.classes[predicted],
            "true_probability": float(found.probabilities[i, true]),
            "predicted_probability": float(found.probabilities[i, predicted]),
        }


def _beside(tables: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list, bool]]:
    """Every key, its value in each table, and whether these differ."""
    for key in dict.fromkeys(key for table in tables for key in table):
        values = [table.get(key) for table in tables]
        yield key, values, any(value != values[0] for value in values)


def _draw(draw: Any, *arguments: Any) -> Markup:
    return Markup(svg(draw, *arguments))
