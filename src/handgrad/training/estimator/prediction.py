"""Predictions of any number of samples, in blocks of bounded memory."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import handgrad

ROWS = (32, 1024)
"""Samples in memory at once, in programs of two sizes: few, and many."""

Wanted = Literal["class", "probability", "log_probability"]


def predict(
    params: handgrad.Params, x: np.ndarray, activation: Any, wanted: Wanted
) -> np.ndarray:
    """What a network says of samples.

    Args:
      params: of numpy arrays.
      x: (m, n_0), of their dtype.
      activation: one per hidden layer.
      wanted: what to return.

    Returns:
      Places of classes (m,), or probabilities or their logarithms (m, C).
    """
    rows = ROWS[0] if len(x) <= ROWS[0] else ROWS[1]
    with jax.enable_x64(x.dtype == np.float64):
        params = jax.device_put(params)
        blocks = [
            _block(params, x[start : start + rows], rows, activation, wanted)
            for start in range(0, len(x), rows)
        ]
    return np.concatenate(blocks)


def _block(
    params: handgrad.Params, x: np.ndarray, rows: int, activation: Any, wanted: Wanted
) -> np.ndarray:
    """Of up to so many rows, filled up to be of one shape."""
    padded = np.pad(x, ((0, rows - len(x)), (0, 0)))
    return np.asarray(_outputs(params, padded, activation, wanted))[: len(x)]


@partial(jax.jit, static_argnames=("activation", "wanted"))
def _outputs(
    params: handgrad.Params, x: jax.Array, activation: Any, wanted: Wanted
) -> jax.Array:
    logits = handgrad.forward(params, x, activation=activation).logits
    if wanted == "class":
        return jnp.argmax(logits, axis=1)
    return (jax.nn.softmax if wanted == "probability" else jax.nn.log_softmax)(logits)
