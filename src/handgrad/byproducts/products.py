"""Curvature times a vector, by Pearlmutter's R-operator, derived by hand.

R{.} is the derivative along v = (V_k, v_k) in the space of parameters. Through the
derivation it reads

    RF1  R{d_k} = W_k^T R{a_{k-1}} + V_k^T a_{k-1} + v_k,   R{a_0} = 0
    RF2  R{a_k} = h'(d_k) * R{d_k}
    RB3  R{delta_L} = H R{d_L},   H = diag(a_L) - a_L a_L^T   (B2)
    RB6  R{dl/da_k} = W_{k+1} R{delta_{k+1}} + V_{k+1} delta_{k+1}
    RB7  R{delta_k} = h'(d_k) * R{dl/da_k} + h''(d_k) * R{d_k} * dl/da_k
    RB4  R{dl/dW_k} = R{a_{k-1}} delta_k^T + a_{k-1} R{delta_k}^T
    RB5  R{dl/db_k} = R{delta_k}

The Hessian needs all of it. The generalised Gauss-Newton matrix leaves out what holds
second derivatives of the network: H R{d_L} goes down by B6 and B7 as any delta does.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts.pairs import pairs, total_weight
from handgrad.network.activations import (
    Activation,
    resolve_activations,
    through_activation,
)
from handgrad.network.affine import affine, bias_gradient, carry_back, weight_gradient
from handgrad.network.checks import (
    check_deltas,
    check_params,
    check_trace,
    check_weights,
)
from handgrad.network.mean import weighted
from handgrad.network.mlp import Activations, backward, gradients
from handgrad.network.softmax_nll import softmax
from handgrad.network.types import Deltas, Layer, Params, Trace, drop


def ggn_vector_product(
    params: Params,
    trace: Trace,
    vector: Params,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
) -> Params:
    """G v, G the generalised Gauss-Newton (= Fisher) matrix of J: RF1, RF2, RB3, B4-B7.

    Args:
      params, trace, activation, weights: as in `handgrad.deltas`.
      vector: v, in the structure, shapes and dtypes of the parameters.

    Returns:
      G v, in the structure, shapes and dtypes of the parameters.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Schraudolph 2002, "Fast curvature matrix-vector products".
    """
    _check(params, trace, vector)
    hidden = resolve_activations(activation, len(params) - 1)
    r_pre_activations, _ = _r_forward(params, trace, vector, hidden)
    r_delta = _r_output_delta(trace, r_pre_activations[-1], weights)
    carried = backward(params, trace, r_delta, activation=hidden)
    return gradients(trace, carried, weights=weights)


def hessian_vector_product(
    params: Params,
    trace: Trace,
    deltas: Deltas,
    vector: Params,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
) -> Params:
    """(d^2 J / dparams^2) v, by RF1 to RB7.

    Args:
      params, trace, activation, weights: as in `handgrad.deltas`.
      deltas: of `handgrad.deltas` with the same arguments.
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
    hidden = resolve_activations(activation, len(params) - 1)
    second = [_second_derivative(activation) for activation in hidden]
    r_d, r_inputs = _r_forward(params, trace, vector, hidden)
    r_delta = _r_output_delta(trace, r_d[-1], weights)
    r_deltas = [r_delta]
    for k in range(len(hidden), 0, -1):
        d, a, mask = trace.pre_activations[k - 1], trace.activations[k], trace.masks[k]
        cotangent = drop(carry_back(deltas[k], params[k].weight), mask)  # B6
        r_cotangent = carry_back(r_delta, params[k].weight)  # RB6
        r_cotangent = r_cotangent + carry_back(deltas[k], vector[k].weight)
        r_delta = through_activation(hidden[k - 1], d, a, drop(r_cotangent, mask))
        r_delta = r_delta + second[k - 1](d, a) * r_d[k - 1] * cotangent  # RB7
        r_deltas.append(r_delta)
    return _r_gradients(
        trace, deltas, r_inputs, tuple(reversed(r_deltas)), total_weight(trace, weights)
    )


def _r_forward(
    params: Params, trace: Trace, vector: Params, hidden: tuple[Activation, ...]
) -> tuple[list[jax.Array], list[jax.Array]]:
    """RF1 and RF2: R{d_1} ... R{d_L}, and R of the inputs of layers 2 ... L."""
    r_pre_activations, r_inputs = [], []
    for k, (inputs, direction) in enumerate(
        zip(trace.layer_inputs, vector, strict=True)
    ):
        r_d = affine(inputs, *direction)  # RF1
        if k > 0:
            d, a = trace.pre_activations[k - 1], trace.activations[k]
            r_a = through_activation(hidden[k - 1], d, a, r_pre_activations[-1])  # RF2
            r_inputs.append(drop(r_a, trace.masks[k]))
            r_d = r_d + r_inputs[-1] @ params[k].weight
        r_pre_activations.append(r_d)
    return r_pre_activations, r_inputs


def _r_output_delta(
    trace: Trace, r_logits: jax.Array, weights: ArrayLike | None
) -> jax.Array:
    """RB3, weighted: w_i H R{d_L}, (m, C)."""
    p = softmax(trace.logits)
    r_logits = r_logits.astype(p.dtype)
    product = p * (r_logits - jnp.sum(p * r_logits, axis=1, keepdims=True))
    samples = p.shape[0]
    return weighted(product, check_weights(weights, samples)).astype(trace.logits.dtype)


def _r_gradients(
    trace: Trace,
    deltas: Deltas,
    r_inputs: list[jax.Array],
    r_deltas: Deltas,
    total: jax.Array,
) -> Params:
    """RB4 and RB5, summed over samples and divided as L2 says."""
    layers = []
    for k, (inputs, r_delta) in enumerate(pairs(trace, r_deltas)):
        weight = weight_gradient(inputs, r_delta, total)
        if k > 0:
            weight = weight + weight_gradient(r_inputs[k - 1], deltas[k], total)
        layers.append(Layer(weight, bias_gradient(r_delta, total)))
    return tuple(layers)


def _second_derivative(
    activation: Activation,
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    if activation.second_derivative is None:
        raise ValueError(
            "`activation` must have a second derivative for Hessian-vector products, "
            f"got {activation!r}. Give Activation(..., second_derivative=...)."
        )
    return activation.second_derivative


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
