"""Curvature of the loss: for the softmax, the Fisher matrix and the GGN are one matrix,

    G = sum_i w_i J_i^T H_i J_i / sum_i w_i,   H = diag(a_L) - a_L a_L^T,

J_i the Jacobian of the logits. Which curvature a contraction gives depends on whose
deltas it is given: those of the labels (empirical), of labels drawn from the model
(sampled), or of a square root of H (exact).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.byproducts.moments import second_moment
from handgrad.byproducts.pairs import stacked_pairs, total_weight, unweight
from handgrad.network.checks import check_params, check_trace, check_weights
from handgrad.network.mean import divide, weighted
from handgrad.network.mlp import Activations, backward
from handgrad.network.mlp import deltas as deltas_of
from handgrad.network.softmax_nll import softmax
from handgrad.network.types import Deltas, Params, Trace


class KroneckerFactors(NamedTuple):
    """A layer's block of the curvature, approximated by ``jnp.kron(inputs, deltas)``.

    The block is that of the matrix (W_k; b_k) of shape (n_in + 1, n_out), bias as the
    last row, flattened row by row.
    """

    inputs: jax.Array  # (n_in + 1, n_in + 1), the mean of (a; 1) (a; 1)^T
    deltas: jax.Array  # (n_out, n_out), the mean of delta delta^T


def sampled_deltas(
    key: jax.Array,
    params: Params,
    trace: Trace,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
) -> Deltas:
    """The deltas of one label per sample, drawn from the model: y ~ softmax(d_L).

    Quadratic contractions of them are unbiased estimates of the Fisher matrix.

    Args:
      key: a PRNG key, consumed here.
      params, trace, activation, weights: as in `handgrad.deltas`.

    Returns:
      w_i dl_i/dd_k at the drawn labels, each (m, n_k).

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Martens and Grosse 2015, section 5 ("K-FAC"; not the empirical Fisher).
    """
    labels = jax.random.categorical(key, trace.logits, axis=1)
    return deltas_of(params, trace, labels, activation=activation, weights=weights)


def exact_deltas(
    params: Params,
    trace: Trace,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
) -> Deltas:
    """C backward passes, one per column of S with S S^T = H: the curvature, exactly.

        S_c = sqrt(a_L,c) (e_c - a_L)

    Args:
      params, trace, activation, weights: as in `handgrad.deltas`.

    Returns:
      w_i times column c carried back by B6 and B7, each (C, m, n_k): `second_moment`
      and `kronecker_factors` sum over the leading axis.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Botev et al. 2017, "Practical Gauss-Newton optimisation" (the recursion);
    Dangel et al. 2020, "BackPACK" (from a square root).
    """
    check_params(params)
    check_trace(params, trace)
    p = softmax(trace.logits)
    columns = jnp.eye(p.shape[1], dtype=p.dtype)[:, None, :] - p[None]
    columns = columns * jnp.sqrt(p).T[:, :, None]
    weights = check_weights(weights, p.shape[0])

    def carried(column: jax.Array) -> Deltas:
        column = weighted(column, weights).astype(trace.logits.dtype)
        return backward(params, trace, column, activation=activation)

    return jax.vmap(carried)(columns)


def kronecker_factors(
    trace: Trace, deltas: Deltas, *, weights: ArrayLike | None = None
) -> tuple[KroneckerFactors, ...]:
    """K-FAC: per layer the weighted means of (a; 1) (a; 1)^T and of delta delta^T.

    Empirical with the deltas of `handgrad.deltas`, sampled with `sampled_deltas`, exact
    with `exact_deltas`. For one sample the Kronecker product is the exact block.

    Args:
      trace, deltas, weights: of one backward pass; see `handgrad.byproducts`.

    Returns:
      Factors per layer, float32 or wider.

    Raises:
      ValueError: if trace, deltas and weights do not fit each other.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored
    approximate curvature", equation 1 and section 3.
    """
    total = total_weight(trace, weights)
    return tuple(
        KroneckerFactors(
            _input_factor(a, check_weights(weights, a.shape[0]), total),
            _delta_factor(delta, unweight(delta, weights), total),
        )
        for a, delta in stacked_pairs(trace, deltas)
    )


def _input_factor(
    a: jax.Array, weights: jax.Array | None, total: jax.Array
) -> jax.Array:
    """sum_i w_i (a; 1) (a; 1)^T / sum_i w_i."""
    rows = jnp.concatenate([a, jnp.ones((a.shape[0], 1), a.dtype)], axis=1)
    return _gram(rows, divide(weighted(rows, weights), total))


def _delta_factor(
    delta: jax.Array, unweighted: jax.Array, total: jax.Array
) -> jax.Array:
    """sum_i w_i delta delta^T / sum_i w_i, summed over the leading axis too."""
    width = delta.shape[-1]
    rows, columns = unweighted.reshape(-1, width), delta.reshape(-1, width)
    return _gram(rows, divide(columns, total))


def _gram(rows: jax.Array, scaled: jax.Array) -> jax.Array:
    """R^T S, symmetric because S is R with its rows scaled: one quarter is a copy.

    With few rows the products cost less than putting the quarters together.
    """
    samples, width = rows.shape
    if samples < 512 or width < 128:
        return rows.T @ scaled
    left, right = slice(None, width // 2), slice(width // 2, None)
    corner = rows[:, left].T @ scaled[:, right]
    return jnp.block(
        [
            [rows[:, left].T @ scaled[:, left], corner],
            [corner.T, rows[:, right].T @ scaled[:, right]],
        ]
    )


def ggn_diagonal(
    params: Params,
    trace: Trace,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
) -> Params:
    """The diagonal of the generalised Gauss-Newton (= Fisher) matrix of J, exactly.

    Args:
      params, trace, activation, weights: as in `handgrad.deltas`.

    Returns:
      diag(G) in the structure and shapes of the parameters, float32 or wider.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Dangel et al. 2020, "BackPACK" (DiagGGN).
    """
    columns = exact_deltas(params, trace, activation=activation, weights=weights)
    return second_moment(trace, columns, weights=weights)
