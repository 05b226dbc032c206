"""Curvature times a vector, by the R-operator of `r_operator`, derived by hand.

The Hessian needs all of RF1 to RB7. The generalised Gauss-Newton matrix leaves out what
holds second derivatives of the network: R{delta_L} = t H R{d_L} goes down by B6 and B7
as any delta does.
"""

import functools
from typing import Any

import jax
from jax.typing import ArrayLike

from handgrad.byproducts.curvature import sums_of
from handgrad.byproducts.r_operator import (
    r_activate,
    r_affine,
    r_bias_gradient,
    r_carry_back,
    r_output_delta,
    r_through_activation,
    r_weight_gradient,
)
from handgrad.network.activations import Activation
from handgrad.network.affine import affine_backward_inputs
from handgrad.network.backward import carried
from handgrad.network.checks import check_deltas, check_params, check_trace
from handgrad.network.layers import through_stack
from handgrad.network.mean import per_sample, silence
from handgrad.network.mlp import gradients
from handgrad.network.samples import as_gradient, pairs, sample_factors, with_output
from handgrad.network.softmax_nll import softmax
from handgrad.network.types import Deltas, Layer, Params, Trace, drop, is_stack

RForward = tuple[list[jax.Array | None], list[jax.Array]]
"""R of the inputs of layers 1 ... L, None for x; and R{d_1} ... R{d_L}."""


def ggn_vector_product(
    params: Params,
    trace: Trace,
    vector: Params,
    *,
    targets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Params:
    """GN: G v = sum_i s_i t_i J_i^T H_i J_i v, by RF1, RF2, RB3, then B4 to B7.

    Args:
      params, trace, targets, weights: as in `exact_deltas`.
      vector: v, in the structure, shapes and dtypes of the parameters.

    Returns:
      G v, G the generalised Gauss-Newton (= Fisher) matrix of J, in the structure,
      shapes and dtypes of the parameters.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Schraudolph 2002, "Fast curvature matrix-vector products".
    """
    return ggn_product(params, trace, vector, sums_of(trace, targets), weights)


def ggn_product(
    params: Params,
    trace: Trace,
    vector: Params,
    sums: jax.Array | None,
    weights: ArrayLike | None,
) -> Params:
    """`ggn_vector_product` from the row sums t, (m,), or None where all are 1."""
    _check(params, trace, vector)
    _, (*_, r_logits) = _r_forward(params, trace, vector)
    r_delta = r_output_delta(softmax(trace.logits), r_logits, sums)
    known, factor = sample_factors(trace, weights)
    r_delta = per_sample(factor, r_delta) * r_delta
    return gradients(trace, carried(params, trace, known, r_delta))


def hessian_vector_product(
    params: Params, trace: Trace, deltas: Deltas, vector: Params
) -> Params:
    """(d^2 J / dparams^2) v, by RF1 to RB7.

    Args:
      params, trace: as in `handgrad.deltas`.
      deltas: of `handgrad.deltas` with both.
      vector: v, in the structure, shapes and dtypes of the parameters.

    Returns:
      The product, in the structure, shapes and dtypes of the parameters.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit, and
        for an `Activation` without a second derivative.

    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".
    """
    _check(params, trace, vector)
    check_deltas(trace, deltas)
    r_inputs, r_ds = _r_forward(params, trace, vector)
    top = r_output_delta(softmax(trace.logits), r_ds[-1], deltas.row_sums)
    known, factor = sample_factors(trace, deltas.weights)
    top = per_sample(factor, top) * top
    (r_delta,) = with_output(known, top, trace.logits.dtype).layers
    r_deltas = _r_backward(params, trace, deltas, vector, r_ds, r_delta)
    return _r_gradients(trace, deltas, r_inputs, r_deltas)


def _r_forward(params: Params, trace: Trace, vector: Params) -> RForward:
    """RF1 and RF2, layer by layer."""
    r_a, found = None, []
    hidden = [(layer.h, layer.d, layer.a) for layer in trace.hidden_layers]
    known = zip(
        [*hidden, (None, trace.logits, trace.logits)],
        zip(params, vector, trace.layer_inputs, trace.masks, strict=True),
        strict=True,
    )
    for (h, d, a), own in known:
        up = functools.partial(_r_up, h)
        if is_stack(own[0]):
            r_a, of_stack = through_stack(up, r_a, (d, a, *own))
            found.append(of_stack)
        else:
            r_a, of_layer = up(r_a, (d, a, *own))
            found.append(of_layer)
    return tuple(map(list, zip(*found, strict=True)))  # pyright: ignore[reportReturnType]


def _r_up(h: Activation | None, r_a: jax.Array | None, own: Any) -> Any:
    """R{a_k} from R{a_{k-1}}; and R of the layer's input, and R{d_k}."""
    d, a, layer, along, inputs, mask = own
    r_input = None if r_a is None else drop(r_a, mask)
    r_d = r_affine(inputs, r_input, layer, along)  # RF1
    return r_d if h is None else r_activate(h, d, a, r_d), (r_input, r_d)  # RF2


def _r_backward(
    params: Params,
    trace: Trace,
    deltas: Deltas,
    vector: Params,
    r_ds: list[jax.Array],
    r_delta: jax.Array,
) -> list[jax.Array]:
    """RB6 and RB7, layer by layer, from R{delta_L} down: R{delta_1} ... R{delta_L}."""
    from_the_top = [r_delta]
    known = list(zip(params, vector, trace.masks, deltas.layers, strict=True))
    below = _r_carry(*known[-1], r_delta)
    hidden = zip(trace.hidden_layers, r_ds[:-1], known[:-1], strict=True)
    for layer, r_d, own in reversed(list(hidden)):
        down = functools.partial(_r_down, layer.h, deltas.weights)
        if is_stack(own[0]):
            parts = (layer.d, layer.a, r_d, *own)
            below, r_delta = through_stack(down, below, parts, reverse=True)
        else:
            below, r_delta = down(below, (layer.d, layer.a, r_d, *own))
        from_the_top.append(r_delta)
    return from_the_top[::-1]


def _r_down(h: Activation, weights: jax.Array | None, below: Any, own: Any) -> Any:
    """dl/da_{k-1} with R of it from those of a_k; and R{delta_k}."""
    cotangent, r_cotangent = below
    d, a, r_d, layer, along, mask, delta = own
    r_delta = r_through_activation(h, d, a, r_d, cotangent, r_cotangent)  # RB7
    r_delta = silence(r_delta, weights)
    return _r_carry(layer, along, mask, delta, r_delta), r_delta


def _r_carry(
    layer: Layer,
    along: Layer,
    mask: jax.Array | None,
    delta: jax.Array,
    r_delta: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """B6 and RB6, with D2 after both."""
    cotangent = affine_backward_inputs(delta, layer.weight)
    r_cotangent = r_carry_back(delta, r_delta, layer.weight, along.weight)
    return drop(cotangent, mask), drop(r_cotangent, mask)


def _r_gradients(
    trace: Trace,
    deltas: Deltas,
    r_inputs: list[jax.Array | None],
    r_deltas: list[jax.Array],
) -> Params:
    """RB4 and RB5 of every layer."""
    layers = []
    for (a, delta), r_a, r_delta, (where, _) in zip(
        pairs(trace, deltas), r_inputs, r_deltas, trace.placements, strict=True
    ):
        r_a = None if r_a is None else silence(r_a, deltas.weights)
        weight = r_weight_gradient(a, r_a, delta, r_delta, where.sharding)
        layers.append(Layer(weight, r_bias_gradient(r_delta)))
    return as_gradient(tuple(layers), trace, deltas)


def _check(params: Params, trace: Trace, vector: Params) -> None:
    check_params(params)
    check_trace(params, trace)
    expected, came = (
        [f"{leaf.dtype}{leaf.shape}" for leaf in jax.tree.leaves(tree)]
        for tree in (params, vector)
    )
    same = jax.tree.structure(params) == jax.tree.structure(vector)
    if not same or expected != came:
        raise ValueError(
            "`vector` must have the structure, shapes and dtype of `params`, "
            f"{', '.join(expected)}, got {', '.join(came)}."
        )
