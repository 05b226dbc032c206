"""predictions.npz: what the classifier made of every sample it did not train on."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handgrad.training.errors import TrainingError
from handgrad.training.files import UNREADABLE, replace_file
from handgrad.training.records.classifier import Classifier, layer_sizes

PREDICTIONS = "predictions.npz"
MOST_MISTAKES = 30


class Examples(NamedTuple):
    """Examples as they came, with where they came from."""

    x: np.ndarray  # (m, n_0), not scaled
    y: np.ndarray  # (m,), integers 0 ... C-1
    rows: np.ndarray  # (m,), integers: the row of each in its source, from 0


class Predictions(NamedTuple):
    """A line per sample; and the inputs of the worst mistakes, to be looked at."""

    part: np.ndarray  # (m,), strings: "validation", "test"
    row: np.ndarray  # (m,), the row in the source, from 0
    true: np.ndarray  # (m,), labels 0 ... C-1
    predicted: np.ndarray  # (m,), labels 0 ... C-1
    probabilities: np.ndarray  # (m, C)
    losses: np.ndarray  # (m,), l_i in nats (L1)
    classes: np.ndarray  # (C,), strings
    mistakes: np.ndarray  # (k,), indices into the above, the worst first
    mistake_inputs: np.ndarray  # (k, n_0), not scaled

    def of(self, part: str) -> "Predictions":
        """Those of one part alone; mistakes are then indices into that part."""
        chosen = np.flatnonzero(self.part == part)
        kept = np.isin(self.mistakes, chosen)
        return Predictions(
            self.part[chosen],
            self.row[chosen],
            self.true[chosen],
            self.predicted[chosen],
            self.probabilities[chosen],
            self.losses[chosen],
            self.classes,
            np.searchsorted(chosen, self.mistakes[kept]),
            self.mistake_inputs[kept],
        )


def predict(model: Classifier, parts: Mapping[str, Examples]) -> Predictions:
    """The predictions of a classifier for the parts of a data set.

    Args:
      model: trained.
      parts: one or more by name, in the order in which they are to stand.

    Returns:
      Predictions, with the 30 worst mistakes of each part: those whose true class got
      the lowest probability.
    """
    found = [_predict_part(model, *part) for part in parts.items()]
    starts = np.cumsum([0, *(len(part.row) for part in found)])
    joined = {
        name: np.concatenate([getattr(part, name) for part in found])
        for name in Predictions._fields
        if name != "classes"
    }
    joined["mistakes"] += np.repeat(starts[:-1], [len(p.mistakes) for p in found])
    return Predictions(classes=found[0].classes, **joined)


def _predict_part(model: Classifier, name: str, samples: Examples) -> Predictions:
    probabilities, losses = model.judge(samples.x, samples.y)
    predicted = probabilities.argmax(axis=1)
    mistakes = worst_mistakes(samples.y, predicted, losses)
    features = layer_sizes(model.params)[0]
    return Predictions(
        np.full(len(samples.y), name),
        samples.rows,
        samples.y,
        predicted,
        probabilities,
        losses,
        np.array(model.classes, dtype=np.str_),
        mistakes,
        np.asarray(samples.x[mistakes]).reshape(len(mistakes), features),
    )


def worst_mistakes(
    true: np.ndarray, predicted: np.ndarray, losses: np.ndarray
) -> np.ndarray:
    """Where the predicted class is wrong, the largest loss first: at most 30."""
    wrong = np.flatnonzero(predicted != true)
    return wrong[np.argsort(-losses[wrong], kind="stable")[:MOST_MISTAKES]]


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write predictions.npz, which numpy alone can read; whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **predictions._asdict())
    replace_file(path, content.getvalue())


def load_predictions(path: str | Path) -> Predictions:
    """Read what `save_predictions` wrote; pickles are refused.

    Raises:
      TrainingError: for a file that is missing, broken or of another kind.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Predictions(**{name: arrays[name] for name in Predictions._fields})
    except OSError as error:
        raise TrainingError(
            f"`predictions` must be a file that can be read, got {path}: "
            f"{error.strerror or error}."
        ) from error
    except UNREADABLE as error:
        raise TrainingError(
            f"`predictions` must be a file that handgrad saved, got {path}: {error}"
        ) from error
