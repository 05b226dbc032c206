"""New samples for a model that is trained, from a CSV or an .npz file."""

from pathlib import Path

import numpy as np

from handgrad.training.data.arrays import read_npz_inputs
from handgrad.training.data.csv_file import read_rows
from handgrad.training.data.dataset import Words
from handgrad.training.data.table import Encoder, encode
from handgrad.training.errors import TrainingError


def read_inputs(
    path: str | Path, features: tuple[str, ...], encoder: Encoder | None
) -> tuple[np.ndarray, np.ndarray | Words | None]:
    """Read what a model is to predict.

    Args:
      path: an .npz file with x, and y if the labels are known; or a CSV file, with the
        columns that the model was trained on and in any order where these had names,
        and n_0 columns of numbers without names where the model was trained on none.
      features: the model's n_0 names.
      encoder: the model's, or None.

    Returns:
      x (m, n_0), unscaled; and the labels as they were read, or None.

    Raises:
      TrainingError: for a file that is broken or has other columns.
    """
    if Path(path).suffix == ".npz":
        x, y = read_npz_inputs(path)
    else:
        names = tuple(map(str, range(len(features))))
        encoder = encoder or Encoder(names, False, "", names, None, (), ())
        table, y = read_rows(encoder, path)
        x = encode(encoder, table, np.arange(len(table.numbers)))
    if x.shape[1] != len(features):
        raise TrainingError(
            f"`x` of {path} must have {len(features)} features, as the model has, got "
            f"{x.shape[1]}."
        )
    return x, y
