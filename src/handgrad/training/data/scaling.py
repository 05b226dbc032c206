"""Scaling: found in one pass over the training part, applied on the device."""

from typing import Any, NamedTuple

import numpy as np

from handgrad.training.data.on_disk import forget
from handgrad.training.errors import TrainingError

CHUNK = 2**22  # entries looked at together
SAMPLED = 2**26  # most entries whose quantiles are taken


class Scaling(NamedTuple):
    """z = (x - shift) / divisor, and with a clip, z / sqrt(1 + (z / clip)^2)."""

    shift: Any  # (n_0,), float32
    divisor: Any  # (n_0,), float32, positive
    clip: Any = None  # (), float32: the bound that no |z| exceeds


def scale(scaling: Scaling, x: Any) -> Any:
    """The inputs of the network.

    Args:
      scaling: of numpy or JAX arrays.
      x: (m, n_0), numpy or JAX, of any real dtype.

    Returns:
      (m, n_0), of the same library, in the dtype of the scaling.

    Source: the smooth clipping is that of RealMLP (Holzmüller, Grinsztajn and
    Steinwart, "Better by Default", 2024).
    """
    z = (x.astype(scaling.shift.dtype) - scaling.shift) / scaling.divisor
    if scaling.clip is None:
        return z
    z = z.clip(-1e9, 1e9)  # whose square float32 holds; the result is that of any more
    return z * (1 + (z / scaling.clip) ** 2) ** np.float32(-0.5)


class Moments(NamedTuple):
    """What one pass over the samples finds, per feature, in float64."""

    samples: int
    mean: np.ndarray  # (n_0,)
    squares: np.ndarray  # (n_0,): the sum of (x - mean)^2
    low: np.ndarray  # (n_0,)
    high: np.ndarray  # (n_0,)


def measure(x: Any, rows: np.ndarray, name: str) -> Moments:
    """Look at every entry once, in blocks, and refuse those that are not finite.

    Args:
      x: (m, n_0): an array, a memory map or `Rows`.
      rows: (m,), which row of its source each is, for messages.
      name: what a message calls these samples.

    Returns:
      Their moments. Blocks are joined as Chan, Golub and LeVeque do, "Updating formulae
      and a pairwise algorithm for computing sample variances", 1979.

    Raises:
      TrainingError: for NaN, infinity and what float32 cannot hold, by row and column.
    """
    features = x.shape[1]
    zeros = np.zeros(features)
    moments = Moments(0, zeros, zeros, zeros + np.inf, zeros - np.inf)
    block = max(1, CHUNK // features)
    for start in range(0, len(x), block):
        values = np.asarray(x[start : start + block])
        if values.dtype.kind == "f":
            _check_finite(values, rows[start : start + block], name)
        moments = _joined(moments, values)
        forget(x)
    return moments


def _check_finite(values: np.ndarray, rows: np.ndarray, name: str) -> None:
    fits = np.abs(values) <= np.finfo(np.float32).max
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise TrainingError(
            f"`x` of the {name} samples must be finite in float32, got "
            f"{values[row, column]} in row {rows[row]}, column {column}. Fill it, or "
            "remove the row."
        )


def _joined(moments: Moments, values: np.ndarray) -> Moments:
    count, total = len(values), moments.samples + len(values)
    mean = values.mean(axis=0, dtype=np.float64)
    apart = values - mean
    squares = np.einsum("ij,ij->j", apart, apart)
    delta = mean - moments.mean
    return Moments(
        total,
        moments.mean + delta * (count / total),
        moments.squares + squares + delta**2 * (moments.samples * count / total),
        np.minimum(moments.low, values.min(axis=0)),
        np.maximum(moments.high, values.max(axis=0)),
    )


def fit_scaling(how: str, divisor: float, x: Any, moments: Moments) -> Scaling:
    """The scaling that the settings name.

    Args:
      how, divisor: `data.scaling` and `data.divisor`.
      x: (m, n_0), the training part, for the quantiles of robust scaling alone; of more
        than `SAMPLED` entries, every k-th row is taken.
      moments: of x.

    Returns:
      A scaling; the divisor of a constant is 1.
    """
    shift, width = np.zeros_like(moments.mean), np.ones_like(moments.mean)
    if how == "standard":
        deviation = np.sqrt(moments.squares / moments.samples)
        varies = moments.low < moments.high  # rounding makes a deviation of a constant
        shift, width = moments.mean, np.where(varies, deviation, 0)
    elif how == "global":
        shift, width = _over_all(moments)
    elif how == "minmax":
        shift, width = moments.low, moments.high - moments.low
    elif how == "robust":
        shift, width = _quartiles(x, moments)
    elif how == "constant":
        width = width * divisor
    width = width.astype(np.float32)
    clip = np.float32(3) if how == "robust" else None
    one = np.float32(1)
    return Scaling(shift.astype(np.float32), np.where(width > 0, width, one), clip)


def _over_all(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """One mean and deviation for all features."""
    mean = moments.mean.mean()
    between = ((moments.mean - mean) ** 2).mean()
    width = np.sqrt((moments.squares / moments.samples).mean() + between)
    return np.full_like(moments.mean, mean), np.full_like(moments.mean, width)


def _quartiles(x: Any, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Median, and the distance of the quartiles; half the range where they coincide."""
    step = -(-len(x) * len(moments.mean) // SAMPLED)
    sample = np.asarray(x[::step], np.float32)
    low, median, high = np.quantile(sample, (0.25, 0.5, 0.75), axis=0)
    return median, np.where(low < high, high - low, (moments.high - moments.low) / 2)
