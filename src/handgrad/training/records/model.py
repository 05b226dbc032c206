"""model.safetensors: a trained classifier with all that a prediction needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

import handgrad
from handgrad.network import Params, as_params
from handgrad.network.activations import resolve_activations
from handgrad.network.softmax_nll import negative_log_likelihood, softmax
from handgrad.training.data import Scaling, scale
from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_file

FORMAT, VERSION = "handgrad.classifier", 1
MODEL = "model.safetensors"
_NUMBERS_AT_ONCE = 2**24  # 64 MiB of float32
_BROKEN = (
    *(safetensors.SafetensorError, ValueError, TypeError, KeyError),
    *(AttributeError, RecursionError),
)


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
                whole[start : start + rows] = part[: len(batch)]
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


def save_model(path: str | Path, model: Classifier) -> None:
    """Write a safetensors file, whole or not at all.

    It holds layers.k.weight (n_{k-1}, n_k) and layers.k.bias (n_k,) for k = 1 ... L,
    the arrays of the scaling, and in its metadata the rest as JSON.

    Args:
      path: where to; what stood there is replaced.
      model: of which nothing is lost, to the last bit.

    Raises:
      TrainingError: for an activation that is not a name.
      OSError: as `replace_file`.
    """
    names = model.activation
    if not (isinstance(names, str) or all(isinstance(name, str) for name in names)):
        raise TrainingError(
            f"`activation` must be names of handgrad.ACTIVATIONS to be saved, got "
            f"{names!r}. Save the parameters yourself, or name an activation."
        )
    about = {
        "format": FORMAT,
        "version": VERSION,
        "activation": names,
        "classes": model.classes,
        "features": model.features,
        "image_shape": model.image_shape,
        "encoder": model.encoder,
    }
    # One entry: of several, each process would write another order.
    content = safetensors.numpy.save(_tensors(model), {"handgrad": json.dumps(about)})
    replace_file(path, content)


def load_model(path: str | Path) -> Classifier:
    """Read what `save_model` wrote; nothing in the file is run.

    Args:
      path: the file.

    Returns:
      The classifier, its parameters JAX arrays.

    Raises:
      TrainingError: for a file that is missing, cut off, of another kind or version, or
        whose parts do not fit each other.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("handgrad", "{}"))
            _check_format(about)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _model(tensors, about)
    except OSError as error:
        reason = error.strerror or "no such file"
        raise TrainingError(
            f"`model` must be a file that can be read, got {path}: {reason}."
        ) from error
    except _BROKEN as error:
        raise TrainingError(
            f"`model` must be a classifier that handgrad saved, got {path}: {error}"
        ) from error


def _tensors(model: Classifier) -> dict[str, np.ndarray]:
    arrays: dict[str, Any] = {}
    for k, layer in enumerate(model.params, start=1):
        arrays[f"layers.{k}.weight"] = layer.weight
        arrays[f"layers.{k}.bias"] = layer.bias
    for name, value in model.scaling._asdict().items():
        if value is not None:
            arrays[f"scaling.{name}"] = value
    return {name: np.asarray(value, order="C") for name, value in arrays.items()}


def _check_format(about: Mapping[str, Any]) -> None:
    kind, version = about.get("format"), about.get("version")
    if kind != FORMAT:
        raise ValueError(f"its format is {kind!r}, not {FORMAT!r}.")
    if version != VERSION:
        raise ValueError(
            f"its version is {version!r} and this handgrad reads {VERSION}. "
            "Read it with the handgrad that wrote it."
        )


def _model(tensors: dict[str, np.ndarray], rest: dict[str, Any]) -> Classifier:
    layers = sum(name.endswith(".bias") for name in tensors)
    params = as_params(
        (tensors[f"layers.{k}.weight"], tensors[f"layers.{k}.bias"])
        for k in range(1, layers + 1)
    )
    scaling = {
        name.removeprefix("scaling."): value
        for name, value in tensors.items()
        if name.startswith("scaling.")
    }
    activation, shape = rest["activation"], rest["image_shape"]
    model = Classifier(
        params,
        activation if isinstance(activation, str) else tuple(activation),
        tuple(map(str, rest["classes"])),
        tuple(map(str, rest["features"])),
        None if shape is None else tuple(map(int, shape)),
        Scaling(**scaling),
        rest["encoder"],
    )
    _check_fit(model)
    return model


def _check_fit(model: Classifier) -> None:
    """The parts fit each other, or ValueError."""
    resolve_activations(model.activation, len(model.params) - 1)
    sizes = layer_sizes(model.params)
    image, scaling = model.image_shape, model.scaling
    fitting = {
        "classes": len(model.classes) == sizes[-1],
        "features": len(model.features) in (0, sizes[0]),
        "image_shape": image is None or int(np.prod(image)) == sizes[0],
        "scaling": scaling.shift.shape == scaling.divisor.shape == sizes[:1],
    }
    for name, fits in fitting.items():
        if not fits:
            raise ValueError(f"{name} does not fit layers of {sizes} units.")
