"""model.safetensors: the file of a trained classifier, written and read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from handgrad.network import as_params
from handgrad.network.activations import resolve_activations
from handgrad.training.data import Scaling
from handgrad.training.errors import TrainingError
from handgrad.training.files import replace_file
from handgrad.training.records.classifier import Classifier, layer_sizes

FORMAT, VERSION = "handgrad.classifier", 1
MODEL = "model.safetensors"
_BROKEN = (
    *(safetensors.SafetensorError, ValueError, TypeError, KeyError),
    *(AttributeError, RecursionError),
)


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
