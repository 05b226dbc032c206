"""A multilayer perceptron with a softmax output, differentiated by hand.

    forward   (params, x)              -> Trace    a_{k-1} and d_k of every layer
    deltas    (params, trace, targets) -> Deltas   the per-sample errors s_i dl_i/dd_k
    gradients (trace, deltas)          -> Params   contraction of the two

s_i = w_i / sum_j w_j is what sample i counts in J; it enters once, at the output. The
pair (a_{k-1}, delta_k) is everything a layer knows about every sample's gradient: s_i
times sample i's gradient of W_k is the outer product of their rows i. `gradients` sums
these products; other uses of the pair are other contractions.
"""

from collections.abc import Iterable, Sequence

import jax
from jax.typing import ArrayLike

from handgrad.network.activations import ActivationLike
from handgrad.network.affine import affine_backward_inputs, backprop
from handgrad.network.backward import carried
from handgrad.network.checks import (
    check_deltas,
    check_inputs,
    check_masks,
    check_params,
    check_trace,
    check_weights,
)
from handgrad.network.layers import layer_forward, the_gradient
from handgrad.network.mean import silence
from handgrad.network.placement import placement
from handgrad.network.samples import (
    as_gradient,
    check_samples,
    pairs,
    sample_factors,
)
from handgrad.network.softmax_nll import (
    mean_loss,
    negative_log_likelihood,
    output_delta,
    row_sums,
    softmax,
)
from handgrad.network.stacks import hidden_activations
from handgrad.network.types import (
    Deltas,
    Masks,
    Params,
    Trace,
    Transport,
    drop,
)

Activations = ActivationLike | Sequence[ActivationLike]


def forward(
    params: Params,
    x: ArrayLike,
    *,
    activation: Activations = "relu",
    masks: Masks | None = None,
) -> Trace:
    """The forward pass, F1 and F2 layer by layer, keeping what the backward needs.

    Args:
      params: L layers.
      x: a_0, (m, n_0), of the parameters' dtype.
      activation: h: a name, an `Activation`, or one of them per hidden layer.
      masks: dropout masks from `dropout_masks`, or None.

    Returns:
      The trace: a_0 ... a_{L-1}, d_1 ... d_L, the masks and the hidden activations.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    return finite_forward(params, x, activation=activation, masks=masks)


def finite_forward(
    params: Params,
    x: ArrayLike,
    *,
    activation: Activations = "relu",
    masks: Masks | None = None,
    weights: ArrayLike | None = None,
) -> Trace:
    """`forward`, with what is not finite put to 0 in the rows of weight 0."""
    check_params(params)
    a = check_inputs(params, x)
    weights = check_weights(weights, a.shape[0])
    masks = check_masks(params, masks, a.shape[0])
    hidden = hidden_activations(params, activation)
    a = silence(a, weights)
    activations, pre_activations = [], []
    for layer, mask, h in zip(params, masks, (*hidden, None), strict=True):
        inputs, d, a = layer_forward(layer, mask, h, a, weights)  # D1, F1, F2
        activations.append(inputs)
        pre_activations.append(d)
    placements = tuple((placement(w), placement(b)) for w, b in params)
    return Trace(tuple(activations), tuple(pre_activations), masks, hidden, placements)


def deltas(
    params: Params,
    trace: Trace,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    transport: Transport = backprop,
) -> Deltas:
    """The backward pass: B3 at the output, then B6 and B7 down to the first layer.

    Args:
      params: L layers.
      trace: of `forward` with the same params.
      targets: integer labels (m,) or distributions (m, C).
      weights: w, (m,), or None for all 1.
      transport: what stands for B6; see `handgrad.transport`.

    Returns:
      s_i dl_i/dd_k for k = 1 ... L, each (m, n_k) in the parameters' dtype, with
      s_i = w_i / sum_j w_j; rows of weight 0 are exactly 0.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    check_params(params)
    check_trace(params, trace)
    known, delta = output_errors(trace, targets, weights)
    return carried(params, trace, known, delta, transport=transport)


def output_errors(
    trace: Trace, targets: ArrayLike, weights: ArrayLike | None
) -> tuple[Deltas, jax.Array]:
    """B3 with L2: delta_L of every sample times its factor in J, (m, C), float32 or
    wider; and what the deltas below it share."""
    targets, weights = check_samples(trace.logits, targets, weights)
    probabilities = softmax(trace.logits)
    sums = row_sums(targets, probabilities.dtype)
    known, factor = sample_factors(trace, weights, sums)
    return known, output_delta(probabilities, targets, factor)


def gradients(trace: Trace, deltas: Deltas) -> Params:
    """B4 and B5 for every layer: the contraction of (a_{k-1}, delta_k).

    Args:
      trace: of `forward`.
      deltas: of `deltas`.

    Returns:
      dJ/dparams, in the structure, shapes, dtypes and shardings of the parameters;
      exactly 0 if the weights sum to 0.

    Raises:
      ValueError, TypeError: if trace and deltas do not fit each other.
    """
    check_deltas(trace, deltas)
    return contraction(pairs(trace, deltas), trace, deltas)


def contraction(
    pairs: Iterable[tuple[jax.Array, jax.Array]], trace: Trace, deltas: Deltas
) -> Params:
    """`gradients` from the pairs (a_{k-1}, delta_k), finite in every row."""
    sums = tuple(
        the_gradient(a, None, delta, where.sharding)
        for (a, delta), (where, _) in zip(pairs, trace.placements, strict=True)
    )
    return as_gradient(sums, trace, deltas)


def input_gradient(params: Params, trace: Trace, deltas: Deltas) -> jax.Array:
    """B6 once more, and D2: dJ/dx, for saliency or for a network below this one.

    Args:
      params: L layers.
      trace: of `forward` with the same params.
      deltas: of `deltas` with both.

    Returns:
      dJ/da_0, (m, n_0), in the parameters' dtype; row i is s_i dl_i/dx_i, and divided
      by ``deltas.scale`` the gradient of the sample's own loss.

    Raises:
      ValueError, TypeError: for shapes, dtypes or counts that do not fit.
    """
    check_params(params)
    check_trace(params, trace)
    check_deltas(trace, deltas)
    below = drop(
        affine_backward_inputs(deltas.layers[0], params[0].weight), trace.masks[0]
    )
    if deltas.loss_scale is None:
        return below
    unscaled = below.astype(deltas.loss_scale.dtype) / deltas.loss_scale
    return unscaled.astype(below.dtype)


def loss_of_logits(
    logits: jax.Array, targets: ArrayLike, weights: ArrayLike | None = None
) -> jax.Array:
    """L1 and L2 of logits that are known: J, scalar, float32 or wider."""
    targets, weights = check_samples(logits, targets, weights)
    return mean_loss(negative_log_likelihood(logits, targets), weights)


def predict_proba(
    params: Params, x: ArrayLike, *, activation: Activations = "relu"
) -> jax.Array:
    """F3 of the forward pass: the probability of each class, (m, C), no dropout.

    Args:
      params, x, activation: as in `forward`.

    Returns:
      a_L, (m, C), rows summing to 1, float32 or wider.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    return softmax(forward(params, x, activation=activation).logits)
