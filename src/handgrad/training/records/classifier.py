"""A trained network as a classifier: from raw features to probabilities."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import handgrad
from handgrad.network import Params
from handgrad.network.softmax_nll import negative_log_likelihood, softmax
from handgrad.training.data import Scaling, scale
from handgrad.training.errors import TrainingError

_NUMBERS_AT_ONCE = 2**24  # 64 MiB of float32


@dataclass(frozen=True)
class Classifier:
    """A network, the scaling in front of it, and the names around it.

    Example::

        model = load_model("runs/digits/model.safetensors")
        model.classes[model.predict_proba(x)[0].argmax()]
    """

    params: Params  # of JAX or numpy arrays
    activation: str | tuple[str, ...]  # a name, or one per hidden layer
    classes: tuple[str, ...]  # C names
    features: tuple[str, ...]  # n_0 names; () where they have none
    image_shape: tuple[int, ...] | None  # (height, width) or (height, width, channels)
    scaling: Scaling
    encoder: dict[str, Any] | None = None  # from a table's columns to features

    def predict_proba(self, x: Any) -> np.ndarray:
        """The probability of each class, in batches of bounded memory.

        Args:
          x: (m, n_0) or (m, height, width), any number type, not scaled: an array,
            or what has a shape and gives rows by slices (a memory map, `Rows`), of
            which a batch is read at a time.

        Returns:
          (m, C), rows summing to 1.

        Raises:
          TrainingError: for samples of another size.
        """
        return self.judge(x, np.zeros(x.shape[:1], np.int32))[0]

    def judge(self, x: Any, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The probability of each class, and how wrong they are about labels.

        Args:
          x: as `predict_proba` takes it.
          y: (m,), labels 0 ... C-1.

        Returns:
          (m, C), and l_i (m,): L1 from the logits, in nats, so that it is right where a
          probability is too small for float32.

        Raises:
          TrainingError: for samples of another size.
        """
        sizes = layer_sizes(self.params)
        if len(x.shape) < 2 or int(np.prod(x.shape[1:])) != sizes[0]:
            raise TrainingError(
                f"`x` must hold samples of {sizes[0]} features, got {x.shape}."
            )
        most = max(1, _NUMBERS_AT_ONCE // sum(sizes))
        rows = min(most, 1 << (len(x) - 1).bit_length())  # few sizes, few programs
        found = np.empty((len(x), sizes[-1]), np.float32), np.empty(len(x), np.float32)
        for start in range(0, len(x), rows):
            batch = np.asarray(x[start : start + rows]).reshape(-1, sizes[0])
            missing = (0, rows - len(batch))
            padded = np.pad(batch, (missing, (0, 0)))
            labels = np.pad(y[start : start + rows], missing)
            values = _program(
                self.params, self.scaling, padded, labels, activation=self.activation
            )
            for whole, part in zip(found, values, strict=True):
                whole[start : start + rows] = np.asarray(part)[: len(batch)]
        return found


def probabilities(
    params: Params,
    scaling: Scaling,
    x: jax.Array,
    *,
    activation: str | tuple[str, ...],
) -> jax.Array:
    """From raw features (m, n_0) to probabilities (m, C), float32, to be traced."""
    return softmax(_logits(params, scaling, x, activation)).astype(np.float32)


def _judged(
    params: Params,
    scaling: Scaling,
    x: jax.Array,
    y: jax.Array,
    *,
    activation: str | tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    logits = _logits(params, scaling, x, activation)
    return softmax(logits), negative_log_likelihood(logits, y)


def _logits(params: Params, scaling: Scaling, x: jax.Array, activation: Any) -> Any:
    inputs = scale(scaling, x).astype(params[0].weight.dtype)
    return handgrad.forward(params, inputs, activation=activation).logits


_program = jax.jit(_judged, static_argnames="activation")


def layer_sizes(params: Params) -> tuple[int, ...]:
    """(n_0, n_1, ..., C)."""
    return (params[0].weight.shape[0], *(layer.bias.shape[0] for layer in params))
