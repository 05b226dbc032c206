"""Samples and weights as images: the worst mistakes, and the first layer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from handgrad.training.records.classifier import Classifier
from handgrad.training.records.predictions import Predictions
from handgrad.training.views.style import short

_GAP = 0.12
"""Inches between pictures."""

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
    titles = []
    for i in predictions.mistakes:
        true, predicted = predictions.true[i], predictions.predicted[i]
        titles.append(
            f"row {predictions.row[i]}\n"
            f"{names[true]}: {predictions.probabilities[i, true]:.2g}\n"
            f"{names[predicted]}: {predictions.probabilities[i, predicted]:.2g}"
        )
    pictures = [_picture(x, image_shape) for x in predictions.mistake_inputs]
    sheet = _Sheet(columns=6, side=1.6, above=0.5, fontsize=8)
    return _drawn(sheet, pictures, titles, cmap="gray_r")


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
    pictures = [weight[:, k].reshape(model.image_shape) for k in units]
    if len(model.image_shape) == 3:
        pictures = [0.5 + 0.5 * picture / most for picture in pictures]
    sheet = _Sheet(columns=10, side=1.0, above=0.2, fontsize=7)
    return _drawn(sheet, pictures, names, cmap="RdBu_r", vmin=-most, vmax=most)


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


class _Sheet(NamedTuple):
    """How pictures stand in rows, in inches."""

    columns: int
    side: float  # of the square that a picture fills as far as its shape allows
    above: float  # for its title
    fontsize: int


def _drawn(
    sheet: _Sheet, pictures: Sequence[np.ndarray], titles: Sequence[str], **how: Any
) -> Figure:
    """All pictures in one set of axes, whose unit is an inch: axes for each are slow to
    make and to lay out."""
    columns = max(1, min(sheet.columns, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    width, height = sheet.side + _GAP, sheet.side + sheet.above + _GAP
    figure = Figure(figsize=(columns * width, rows * height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, columns * width), ylim=(rows * height, 0))
    ax.set_axis_off()
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        row, column = divmod(number, columns)
        middle, bottom = (column + 0.5) * width, (row + 1) * height - _GAP
        scale = sheet.side / max(picture.shape[:2])
        tall, wide = (scale * size for size in picture.shape[:2])
        edges = (middle - wide / 2, middle + wide / 2, bottom, bottom - tall)
        ax.imshow(picture, extent=edges, aspect="auto", **how)
        frame = Rectangle((edges[0], edges[3]), wide, tall, fill=False, alpha=0.3)
        frame.set_edgecolor(mpl.rcParams["axes.edgecolor"])
        ax.add_patch(frame)
        above = bottom - tall - 0.04
        ax.text(middle, above, title, size=sheet.fontsize, ha="center", va="bottom")
    return figure


def _picture(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image that matplotlib can show: colours within [0, 1]."""
    picture = x.reshape(shape)
    if picture.ndim < 3:
        return picture
    low, high = float(picture.min()), float(picture.max())
    return (picture - low) / ((high - low) or 1.0)
