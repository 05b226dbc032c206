"""A classifier for other programs: JAX's own export, and ONNX.

Needs the extra ``export``.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jax import export

from handgrad.training.files import replace_file
from handgrad.training.records.classifier import Classifier, layer_sizes, probabilities

Format = Literal["jax", "onnx"]
PLATFORMS = ("cpu", "cuda", "tpu")


def export_model(path: str | Path, model: Classifier, format: Format) -> None:
    """Write a program that takes raw features (m, n_0), float32, for any m, and gives
    probabilities (m, C); scaling and parameters are in it.

    Args:
      path: where to; what stood there is replaced.
      model: trained.
      format: "jax" is read by `jax.export.deserialize`, on CPU, CUDA and TPU, within
        JAX's compatibility window of 6 months; "onnx" by any ONNX runtime.

    Raises:
      TrainingError: for what ONNX has no operators for.
      OSError: as `replace_file`.
    """
    if format == "jax":
        replace_file(path, jax_program(model))
        return
    from handgrad.training.records.onnx_graph import onnx_model

    replace_file(path, onnx_model(model))


def jax_program(model: Classifier) -> bytes:
    """The classifier as StableHLO with a batch of any size, serialised."""
    program = jax.jit(
        partial(probabilities, model.params, model.scaling, activation=model.activation)
    )
    features = layer_sizes(model.params)[0]
    (batch,) = export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, features), np.float32)
    return bytes(export.export(program, platforms=PLATFORMS)(x).serialize())
