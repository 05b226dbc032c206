"""Samples and weights as images: the worst mistakes, and the first layer."""

import numpy as np
from matplotlib.figure import Figure

from handgrad.training.records.classifier import Classifier
from handgrad.training.records.predictions import Predictions
from handgrad.training.views.style import short

_COLUMNS = 10
_MOST_UNITS = 40
_MOST_FEATURES = 40


def mistakes(predictions: Predictions, image_shape: tuple[int, ...]) -> Figure:
    """The images that got a wrong label, the worst first, with their rows.

    Args:
      predictions: of one part.
      image_shape: (height, width) or (height, width, channels).

    Returns:
      The figure.
    """
    names = [short(name, 14) for name in predictions.classes]
    chosen = predictions.mistakes
    figure, grid = _grid(len(chosen), columns=6, cell=(1.75, 2.2))
    for ax, i, x in zip(grid, chosen, predictions.mistake_inputs, strict=False):
        ax.imshow(_picture(x, image_shape), cmap="gray_r")
        true, predicted = predictions.true[i], predictions.predicted[i]
        ax.set_title(
            f"row {predictions.row[i]}\n"
            f"{names[true]}: {predictions.probabilities[i, true]:.2g}\n"
            f"{names[predicted]}: {predictions.probabilities[i, predicted]:.2g}",
            fontsize=8,
        )
    return figure


def first_layer(model: Classifier) -> Figure:
    """The weights of the first layer: an image per unit, or a table of features.

    Args:
      model: trained.

    Returns:
      The figure. At most 40 units, those of the largest weights first; of a table at
      most 40 features, likewise.
    """
    weight = np.asarray(model.params[0].weight, np.float32)
    unit_order = np.argsort(-np.linalg.norm(weight, axis=0), kind="stable")
    output = len(model.params) == 1
    units = np.arange(weight.shape[1]) if output else unit_order
    units = units[:_MOST_UNITS]
    names = [short(model.classes[k], 12) if output else f"unit {k}" for k in units]
    most = float(np.nanmax(np.abs(weight), initial=0)) or 1.0
    if model.image_shape is None:
        return _feature_table(model, weight, units, names, most)
    figure, grid = _grid(len(units), columns=_COLUMNS, cell=(1.1, 1.25))
    for ax, k, name in zip(grid, units, names, strict=False):
        picture = weight[:, k].reshape(model.image_shape)
        if picture.ndim == 3:
            ax.imshow(0.5 + 0.5 * picture / most)
        else:
            ax.imshow(picture, cmap="RdBu_r", vmin=-most, vmax=most)
        ax.set_title(name, fontsize=7)
    return figure


def _feature_table(
    model: Classifier,
    weight: np.ndarray,
    units: np.ndarray,
    names: list[str],
    most: float,
) -> Figure:
    features = np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")
    features = features[:_MOST_FEATURES]
    known = model.features or tuple(f"feature {i}" for i in range(len(weight)))
    labels = [short(known[i]) for i in features]
    size = (2.6 + 0.22 * len(units), 1.4 + 0.22 * len(features))
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(
        weight[np.ix_(features, units)], cmap="RdBu_r", vmin=-most, vmax=most
    )
    ax.set_xticks(range(len(units)), names, rotation=90, fontsize=7)
    ax.set_yticks(range(len(features)), labels, fontsize=7)
    figure.colorbar(image, label="weight", shrink=min(1, 3 / size[1]))
    return figure


def _grid(count: int, columns: int, cell: tuple[float, float]) -> tuple[Figure, list]:
    """Axes without ticks, ``count`` of them in rows."""
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure = Figure(
        figsize=(max(2, cell[0] * columns), 0.2 + cell[1] * rows), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for number, ax in enumerate(grid):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_alpha(0.3)
        ax.set_visible(number < count)
    return figure, grid


def _picture(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image that matplotlib can show: colours within [0, 1]."""
    picture = x.reshape(shape)
    if picture.ndim < 3:
        return picture
    low, high = float(picture.min()), float(picture.max())
    return (picture - low) / ((high - low) or 1.0)
