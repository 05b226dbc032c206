"""A multilayer perceptron with a softmax output, differentiated by hand.

    forward   (params, x)              -> Trace    a_{k-1} and d_k of every layer
    deltas    (params, trace, targets) -> Deltas   the per-sample errors dl_i/dd_k
    gradients (trace, deltas)          -> Params   contraction of the two, mean

The pair (a_{k-1}, delta_k) is everything a layer knows about every sample's gradient:
sample i's gradient of W_k is the outer product of their rows i. `gradients` averages
these products; other uses of the pair are other contractions.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.activations import (
    ActivationLike,
    activate,
    resolve_activations,
    through_activation,
)
from handgrad.network.affine import affine, backprop, bias_gradient, weight_gradient
from handgrad.network.checks import (
    check_cotangent,
    check_deltas,
    check_inputs,
    check_masks,
    check_params,
    check_targets,
    check_trace,
    check_weights,
)
from handgrad.network.mean import near_one, normaliser, weighted
from handgrad.network.softmax_nll import (
    as_distribution,
    mean_loss,
    negative_log_likelihood,
    output_delta,
    softmax,
)
from handgrad.network.types import (
    Deltas,
    Layer,
    Masks,
    Params,
    Trace,
    Transport,
    accumulation_dtype,
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
      The trace: a_0 ... a_{L-1}, d_1 ... d_L and the masks.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    check_params(params)
    x = check_inputs(params, x)
    masks = check_masks(params, masks, x.shape[0])
    hidden = resolve_activations(activation, len(params) - 1)
    activations, pre_activations = [x], []
    for k, (layer, mask) in enumerate(zip(params, masks, strict=True)):
        pre_activations.append(affine(drop(activations[k], mask), *layer))  # F1
        if k < len(hidden):
            activations.append(activate(hidden[k], pre_activations[k]))  # F2
    return Trace(tuple(activations), tuple(pre_activations), masks)


def deltas(
    params: Params,
    trace: Trace,
    targets: ArrayLike,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    transport: Transport = backprop,
) -> Deltas:
    """The backward pass: B3 at the output, then `backward` down to the first layer.

    Args:
      params: L layers.
      trace: of `forward` with the same params and activation.
      targets: integer labels (m,) or distributions (m, C).
      activation: as in `forward`.
      weights: w, (m,), or None for all 1.
      transport: what stands for B6; see `handgrad.transport`.

    Returns:
      w_i dl_i/dd_k for k = 1 ... L, each (m, n_k): per sample, not divided by
      anything, in the parameters' dtype.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    check_params(params)
    check_trace(params, trace)
    samples, classes = trace.logits.shape
    targets = check_targets(targets, classes, samples)
    weights = check_weights(weights, samples)
    probabilities = softmax(trace.logits)
    q = as_distribution(targets, classes, probabilities.dtype, weights)
    delta = output_delta(probabilities, q)  # B3
    delta = weighted(delta, weights).astype(trace.logits.dtype)
    return backward(params, trace, delta, activation=activation, transport=transport)


def backward(
    params: Params,
    trace: Trace,
    delta: jax.Array,
    *,
    activation: Activations = "relu",
    transport: Transport = backprop,
) -> Deltas:
    """B6 and B7 layer by layer, from any delta_L down: the transposed Jacobian of d_L.

    Args:
      params, trace, activation, transport: as in `deltas`.
      delta: delta_L, a cotangent of the logits, (m, C).

    Returns:
      (delta_1, ..., delta_L), each (m, n_k): linear in ``delta``.
    """
    hidden = resolve_activations(activation, len(params) - 1)
    from_the_top = [delta]
    for k in range(len(hidden), 0, -1):
        d, a = trace.pre_activations[k - 1], trace.activations[k]
        cotangent = transport(k, from_the_top[-1], params[k].weight, delta)  # B6
        cotangent = drop(check_cotangent(k, cotangent, a), trace.masks[k])
        from_the_top.append(through_activation(hidden[k - 1], d, a, cotangent))  # B7
    return tuple(reversed(from_the_top))


def gradients(
    trace: Trace, deltas: Deltas, *, weights: ArrayLike | None = None
) -> Params:
    """B4 and B5 for every layer: the contraction of (a_{k-1}, delta_k), and L2's mean.

    Args:
      trace: of `forward`.
      deltas: of `deltas`, already weighted.
      weights: the w that `deltas` was given, here for the normaliser sum_i w_i alone.

    Returns:
      dJ/dparams, in the structure, shapes and dtypes of the parameters; exactly 0 if
      the weights sum to 0.

    Raises:
      ValueError: if trace, deltas and weights do not fit each other.
    """
    check_deltas(trace, deltas)
    samples = trace.logits.shape[0]
    total = normaliser(
        check_weights(weights, samples), samples, accumulation_dtype(trace.logits.dtype)
    )
    return tuple(
        Layer(weight_gradient(inputs, delta, total), bias_gradient(delta, total))
        for inputs, delta in zip(trace.layer_inputs, deltas, strict=True)
    )


def loss(
    params: Params,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    masks: Masks | None = None,
) -> jax.Array:
    """J of L2: the mean negative log-likelihood, sum_i w_i l_i / sum_i w_i.

    Args:
      params, x, activation, masks: as in `forward`.
      targets: integer labels (m,) or distributions (m, C), rows summing to 1.
      weights: w, (m,), or None for all 1.

    Returns:
      J, scalar, in nats, float32 or wider; exactly 0 if the weights sum to 0.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.
    """
    trace = forward(params, x, activation=activation, masks=masks)
    return _loss_of_logits(trace.logits, targets, weights)


def value_and_grad(
    params: Params,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    masks: Masks | None = None,
) -> tuple[jax.Array, Params]:
    """J and dJ/dparams, derived by hand: what ``jax.value_and_grad(loss)`` returns.

    Args:
      params, x, targets, activation, weights, masks: as in `loss`.

    Returns:
      J, scalar, and its gradient in the structure, shapes and dtypes of ``params``.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from handgrad import init
      >>> params = init(jax.random.key(0), (4, 8, 3))
      >>> x, y = jnp.ones((5, 4)), jnp.array([0, 1, 2, 0, 1])
      >>> value, grads = value_and_grad(params, x, y)
      >>> grads[0].weight.shape, grads[1].bias.shape
      ((4, 8), (3,))
    """
    trace = forward(params, x, activation=activation, masks=masks)
    value = _loss_of_logits(trace.logits, targets, weights)
    if weights is not None:
        weights = near_one(jnp.asarray(weights), value.dtype)
    errors = deltas(params, trace, targets, activation=activation, weights=weights)
    return value, gradients(trace, errors, weights=weights)


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


def _loss_of_logits(
    logits: jax.Array, targets: ArrayLike, weights: ArrayLike | None
) -> jax.Array:
    samples, classes = logits.shape
    targets = check_targets(targets, classes, samples)
    weights = check_weights(weights, samples)
    q = as_distribution(targets, classes, accumulation_dtype(logits.dtype), weights)
    return mean_loss(negative_log_likelihood(logits, q), weights)
