"""Curvature of the loss: for the softmax, the Fisher matrix and the GGN are one matrix,

    G = sum_i s_i t_i J_i^T H_i J_i,   H = diag(a_L) - a_L a_L^T,

J_i the Jacobian of the logits, s_i = w_i / sum_j w_j, and t_i the sum of a row of
targets, which is 1 for labels and distributions. Which curvature a contraction gives
depends on whose deltas it is given: those of the labels (empirical), of labels drawn
from the model (sampled), or of a square root of H (exact).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from handgrad.byproducts.moments import second_moment
from handgrad.byproducts.pairs import pairs_of_passes, unscale
from handgrad.network.backward import carried
from handgrad.network.checks import check_params, check_targets, check_trace
from handgrad.network.mean import per_sample
from handgrad.network.mlp import deltas as deltas_of
from handgrad.network.placement import placement, whole_rows
from handgrad.network.samples import sample_factors
from handgrad.network.softmax_nll import row_sums, softmax
from handgrad.network.types import Deltas, Params, Trace, accumulation_dtype


class KroneckerFactors(NamedTuple):
    """A layer's block of the curvature, approximated by ``jnp.kron(inputs, deltas)``;
    of a stack, those of its K layers along a leading axis.

    The block is that of the matrix (W_k; b_k) of shape (n_in + 1, n_out), bias as the
    last row, flattened row by row.
    """

    inputs: jax.Array  # (n_in + 1, n_in + 1), the mean of (a; 1) (a; 1)^T
    deltas: jax.Array  # (n_out, n_out), the mean of delta delta^T


def sampled_deltas(
    key: jax.Array, params: Params, trace: Trace, *, weights: ArrayLike | None = None
) -> Deltas:
    """The deltas of one label per sample, drawn from the model: y ~ softmax(d_L).

    Quadratic contractions of them estimate the Fisher matrix without bias, up to the
    resolution of the draw: in float32 a class of probability below 1e-7 does not
    come.

    Args:
      key: a PRNG key, consumed here.
      params, trace, weights: as in `handgrad.deltas`.

    Returns:
      s_i dl_i/dd_k at the drawn labels.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Martens and Grosse 2015, section 5 ("K-FAC; not the empirical Fisher").
    """
    logits = trace.logits.astype(accumulation_dtype(trace.logits.dtype))
    labels = jax.random.categorical(key, logits, axis=1)
    return deltas_of(params, trace, labels, weights=weights)


def exact_deltas(
    params: Params,
    trace: Trace,
    *,
    targets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Deltas:
    """C backward passes, one per column of S with S S^T = H: the curvature, exactly.

        S_c = sqrt(a_L,c) (e_c - a_L)

    Args:
      params, trace, weights: as in `handgrad.deltas`.
      targets: as in `handgrad.deltas`; needed only if rows of soft targets do not sum
        to 1, since the sums alone enter. Below 0 they have no root, and give NaN.

    Returns:
      s_i times column c carried back by B6 and B7, each layer (C, m, n_k):
      `second_moment` and `kronecker_factors` sum over the leading axis.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Botev et al. 2017, "Practical Gauss-Newton optimisation" (the recursion);
    Dangel et al. 2020, "BackPACK" (from a square root).
    """
    return deltas_of_roots(params, trace, sums_of(trace, targets), weights)


def deltas_of_roots(
    params: Params, trace: Trace, sums: jax.Array | None, weights: ArrayLike | None
) -> Deltas:
    """`exact_deltas` from the row sums t, (m,), or None where all are 1."""
    check_params(params)
    check_trace(params, trace)
    p = softmax(trace.logits)
    columns = jnp.eye(p.shape[1], dtype=p.dtype)[:, None, :] - p[None]
    columns = columns * jnp.sqrt(whole_rows(p)).T[:, :, None]
    if sums is not None:
        columns = columns * jnp.sqrt(per_sample(sums, columns))

    known, factor = sample_factors(trace, weights, sums)
    return carried(params, trace, known, per_sample(factor, columns) * columns)


def sums_of(trace: Trace, targets: ArrayLike | None) -> jax.Array | None:
    """t_i, the sum of each row of targets, (m,); None where all are 1."""
    if targets is None:
        return None
    samples, classes = trace.logits.shape
    return row_sums(
        check_targets(targets, classes, samples),
        accumulation_dtype(trace.logits.dtype),
    )


def kronecker_factors(trace: Trace, deltas: Deltas) -> tuple[KroneckerFactors, ...]:
    """K-FAC: per layer the weighted means of (a; 1) (a; 1)^T and of delta delta^T.

    Empirical with the deltas of `handgrad.deltas`, sampled with `sampled_deltas`, exact
    with `exact_deltas`. For one sample the Kronecker product is the exact block.

    Args:
      trace, deltas: of one backward pass; see `handgrad.byproducts`.

    Returns:
      Factors per layer, float32 or wider.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored
    approximate curvature", equation 1 and section 3.
    """

    def of_layer(a: jax.Array, delta: jax.Array) -> KroneckerFactors:
        return KroneckerFactors(_input_factor(a, deltas), _delta_factor(delta, deltas))

    of_stack = jax.vmap(of_layer, in_axes=(0, 1))
    return tuple(
        (of_layer if a.ndim == 2 else of_stack)(a, delta)
        for a, delta in pairs_of_passes(trace, deltas)
    )


def _input_factor(a: jax.Array, deltas: Deltas) -> jax.Array:
    """sum_i s_i (a; 1) (a; 1)^T."""
    rows = jnp.pad(whole_rows(a), ((0, 0), (0, 1)), constant_values=1)
    return _gram(rows[None], (rows * per_sample(deltas.scale, rows))[None])


def _delta_factor(delta: jax.Array, deltas: Deltas) -> jax.Array:
    """sum_i s_i delta delta^T, summed over the leading axis too."""
    delta = whole_rows(delta)
    return _gram(unscale(delta, deltas), delta)


def _gram(rows: jax.Array, scaled: jax.Array) -> jax.Array:
    """R^T S over all rows (S, m, n), symmetric because S is R with its rows scaled.

    With many rows one quarter is a copy: it costs less than its product.
    """
    lies = placement(rows).sharding
    if lies is not None:
        everywhere = NamedSharding(lies.mesh, PartitionSpec(None, None))
        return jnp.einsum("smi,smj->ij", rows, scaled, out_sharding=everywhere)
    width = rows.shape[-1]
    rows, scaled = rows.reshape(-1, width), scaled.reshape(-1, width)
    if rows.shape[0] < 512 or width < 128:
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
    targets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Params:
    """The diagonal of the generalised Gauss-Newton (= Fisher) matrix of J, exactly.

    Args:
      params, trace, targets, weights: as in `exact_deltas`.

    Returns:
      diag(G) in the structure and shapes of the parameters, float32 or wider.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Source: Dangel et al. 2020, "BackPACK" (DiagGGN).
    """
    columns = exact_deltas(params, trace, targets=targets, weights=weights)
    return second_moment(trace, columns)
