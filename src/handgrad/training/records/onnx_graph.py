"""A classifier as an ONNX graph: a handful of nodes per layer.

Needs the extra ``export``. Written with onnx's own helpers: a converter from JAX in
general brings dozens of packages, and the network is F1, F2 and F3.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from handgrad.training.errors import TrainingError
from handgrad.training.records.classifier import Classifier, layer_sizes

_OPSET, _IR_VERSION = 20, 10  # of onnx 1.16, and ONNX Runtime 1.18


class _Graph:
    """Nodes and constants, each under a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.asarray(value, np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _single(kind: str, **attributes: Any) -> Callable[[_Graph, str], str]:
    """An activation that is one operator of ONNX."""
    return lambda graph, d: graph.node(kind, d, **attributes)


def _clip(low: float, high: float) -> Callable[[_Graph, str], str]:
    return lambda graph, d: graph.node(
        "Clip", d, graph.constant(low), graph.constant(high)
    )


ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "identity": lambda graph, d: d,
    "sigmoid": _single("Sigmoid"),
    "tanh": _single("Tanh"),
    "hard_tanh": _clip(-1, 1),
    "relu": _single("Relu"),
    "relu6": _clip(0, 6),
    "leaky_relu": _single("LeakyRelu", alpha=0.01),
    "elu": _single("Elu"),
    "selu": _single("Selu"),
    "celu": _single("Celu"),
    "softplus": _single("Softplus"),
    "softsign": _single("Softsign"),
    "silu": lambda graph, d: graph.node("Mul", d, graph.node("Sigmoid", d)),
    "mish": _single("Mish"),
    "gelu": _single("Gelu"),
    "gelu_tanh": _single("Gelu", approximate="tanh"),
}
"""Each activation of `handgrad.ACTIVATIONS` in ONNX's operators."""


def onnx_model(model: Classifier) -> bytes:
    """The classifier as an ONNX file, in float32.

    Args:
      model: trained.

    Returns:
      A model that takes ``x``, float32 (batch, n_0), not scaled, and gives
      ``probabilities``, float32 (batch, C); the names of the classes are in its
      metadata.

    Raises:
      TrainingError: for an activation that ONNX has no operators for.
    """
    graph, sizes = _Graph(), layer_sizes(model.params)
    value = _scaled(graph, model)
    names = model.activation
    hidden = [names] * (len(sizes) - 2) if isinstance(names, str) else list(names)
    for k, layer in enumerate(model.params, start=1):
        constants = graph.constant(layer.weight), graph.constant(layer.bias)
        value = graph.node("Gemm", value, *constants)
        if k < len(model.params):
            value = _activation(hidden[k - 1])(graph, value)
    graph.node("Softmax", value, output="probabilities", axis=1)
    ends = [("x", sizes[0]), ("probabilities", sizes[-1])]
    x, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in ends
    )
    made = helper.make_model(
        helper.make_graph(graph.nodes, "handgrad", [x], [found], graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="handgrad",
    )
    helper.set_model_props(made, _properties(model))
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def _scaled(graph: _Graph, model: Classifier) -> str:
    """z = (x - shift) / divisor, and z / sqrt(1 + (z / clip)^2) where there is one."""
    shift, divisor, clip = model.scaling
    z = graph.node("Sub", "x", graph.constant(shift))
    z = graph.node("Div", z, graph.constant(divisor))
    if clip is None:
        return z
    z = _clip(-1e9, 1e9)(graph, z)
    ratio = graph.node("Div", z, graph.constant(clip))
    square = graph.node("Mul", ratio, ratio)
    root = graph.node("Sqrt", graph.node("Add", square, graph.constant(1)))
    return graph.node("Div", z, root)


def _activation(name: str) -> Callable[[_Graph, str], str]:
    if name not in ACTIVATIONS:
        raise TrainingError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)} for ONNX, got "
            f"{name!r}. Use --format jax."
        )
    return ACTIVATIONS[name]


def _properties(model: Classifier) -> dict[str, str]:
    return {
        "classes": json.dumps(model.classes),
        "features": json.dumps(model.features),
    }
