"""The pictures in the folder of a run."""

from pathlib import Path

from handgrad.training.records.run_records import RunRecords
from handgrad.training.views import classes, curves, images
from handgrad.training.views.style import save_png


def write_pictures(run: RunRecords) -> tuple[Path, ...]:
    """Draw what the records hold, as PNG files beside them.

    Args:
      run: as `read_run` reads it. What it has no records for is not drawn.

    Returns:
      The files: learning_curves.png, confusion_matrix.png, calibration.png,
      mistakes.png (images alone, where there are mistakes) and first_layer.png.
    """
    shape = run.model.image_shape if run.model else None
    drawn = {}
    if run.epochs:
        drawn["learning_curves"] = curves.learning_curves, {run.name: run.epochs}
    if run.predictions is not None and len(run.predictions.part):
        found = run.predictions.of(run.predictions.part[-1])
        drawn["confusion_matrix"] = classes.confusion_matrix, found
        drawn["calibration"] = classes.calibration, found
        if shape and len(found.mistakes):
            drawn["mistakes"] = images.mistakes, found, shape
    if run.model is not None:
        drawn["first_layer"] = images.first_layer, run.model
    paths = []
    for name, (draw, *arguments) in drawn.items():
        paths.append(run.folder / f"{name}.png")
        save_png(paths[-1], draw, *arguments)
    return tuple(paths)
