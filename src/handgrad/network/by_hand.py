"""The loss as a function that JAX can differentiate, by the equations derived here.

`jax.grad` of it calls the hand-written rule and nothing else. It asks for every
derivative of J, so all of them are here: in the parameters (B4, B5), the features (B6),
the masks (D1), the targets (L1) and the weights (L2).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.activations import Activation, resolve_activations
from handgrad.network.affine import affine_backward_inputs
from handgrad.network.backward import carried
from handgrad.network.checks import (
    check_inputs,
    check_masks,
    check_params,
    check_targets,
    check_weights,
)
from handgrad.network.mean import divide, silence
from handgrad.network.mlp import (
    Activations,
    contraction,
    finite_forward,
    input_gradient,
    loss_of_logits,
)
from handgrad.network.placement import place_like, placement, sum_over_shards
from handgrad.network.samples import check_samples, sample_factors
from handgrad.network.softmax_nll import (
    log_probabilities,
    negative_log_likelihood,
    output_delta,
    softmax,
)
from handgrad.network.types import Deltas, Masks, Params, Trace, depth


def loss_by_hand(
    params: Params,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    masks: Masks | None = None,
) -> jax.Array:
    """`loss` as a `jax.custom_vjp`: ``jax.grad`` of it is the hand-derived gradient.

    For what differentiates the objective itself: Optax's line searches, a network below
    this one, ``jax.grad`` in somebody else's training loop. Like every `jax.custom_vjp`
    it has no forward mode; `value_and_grad` has.

    Args:
      params, x, targets, activation, weights, masks: as in `loss`.

    Returns:
      J, scalar, in nats, float32 or wider; exactly 0 if the weights sum to 0.

    Raises:
      ValueError, TypeError: for shapes, dtypes, names or counts that do not fit.

    Example:
      >>> from handgrad import init, value_and_grad
      >>> params = init(jax.random.key(0), (4, 8, 3))
      >>> x, y = jnp.ones((5, 4)), jnp.array([0, 1, 2, 0, 1])
      >>> grads = jax.grad(loss_by_hand)(params, x, y)
      >>> bool((grads[0].weight == value_and_grad(params, x, y)[1][0].weight).all())
      True
    """
    check_params(params)
    x = check_inputs(params, x)
    samples, classes = x.shape[0], params[-1].bias.shape[0]  # mutants: one axis
    targets = check_targets(targets, classes, samples)
    weights = check_weights(weights, samples)
    masks = check_masks(params, masks, samples)
    hidden = resolve_activations(activation, depth(params) - 1)
    return _loss(hidden, params, x, targets, weights, masks)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(
    hidden: tuple[Activation, ...],
    params: Params,
    x: jax.Array,
    targets: jax.Array,
    weights: jax.Array | None,
    masks: Masks,
) -> jax.Array:
    trace = finite_forward(params, x, activation=hidden, masks=masks, weights=weights)
    return loss_of_logits(trace.logits, targets, weights)


Residuals = tuple[Params, Trace, jax.Array, jax.Array | None, jax.Array]


def _forward(hidden: tuple[Activation, ...], params: Params, x: Any, *rest: Any) -> Any:
    targets, weights, masks = rest
    trace = finite_forward(params, x, activation=hidden, masks=masks, weights=weights)
    value = loss_of_logits(trace.logits, targets, weights)
    return value, (params, trace, targets, weights, value)


def _backward(
    hidden: tuple[Activation, ...], residuals: Residuals, cotangent: jax.Array
) -> tuple[Any, ...]:
    del hidden
    params, trace, targets, weights, value = residuals
    # The cotangent of J enters where the mean does, at the output.
    targets, _ = check_samples(trace.logits, targets, weights)
    known, factor = sample_factors(trace, weights)
    delta = output_delta(softmax(trace.logits), targets, factor * cotangent)
    errors = carried(params, trace, known, delta, finite=True)
    by_hand = (
        contraction(zip(trace.layer_inputs, errors.layers, strict=True), trace, errors),
        input_gradient(params, trace, errors),
        _targets_gradient(trace, errors, targets, cotangent),
        _weights_gradient(trace, errors, targets, value, cotangent),
        _masks_gradient(params, trace, errors),
    )

    def laid_out(like: jax.Array, gradient: jax.Array | None) -> jax.Array | None:
        if gradient is None:  # of integers, or of what was not given
            return None
        where = placement(like)
        return sum_over_shards(place_like(gradient, where), where)

    arguments = (params, trace.activations[0], targets, weights, trace.masks)
    return jax.tree.map(laid_out, arguments, by_hand, is_leaf=lambda leaf: leaf is None)


_loss.defvjp(_forward, _backward)


def _targets_gradient(
    trace: Trace, errors: Deltas, targets: jax.Array, cotangent: jax.Array
) -> jax.Array | None:
    """L1 and L2: dJ/dq_ic = -s_i ln a_L,c; labels are integers and have none."""
    if targets.ndim == 1:  # mutants: it is 1 or 2
        return None
    log = log_probabilities(trace.logits, targets)
    gradient = -cotangent * errors.scale[:, None] * log
    return silence(gradient, errors.weights).astype(targets.dtype)


def _weights_gradient(
    trace: Trace,
    errors: Deltas,
    targets: jax.Array,
    value: jax.Array,
    cotangent: jax.Array,
) -> jax.Array | None:
    """L2: dJ/dw_i = (l_i - J) / sum_j w_j; 0 where the weights sum to 0.

    A loss that is not finite counts as 0 at weight 0, as it does in `mean_loss`.
    """
    weights = errors.weights
    if weights is None or not jnp.issubdtype(weights.dtype, jnp.floating):
        return None
    losses = silence(negative_log_likelihood(trace.logits, targets), weights)
    gradient = divide(cotangent * (losses - value), errors.total)
    return gradient.astype(weights.dtype)


def _masks_gradient(params: Params, trace: Trace, errors: Deltas) -> Masks:
    """D1: dJ/dr_k = a_k * dJ/da~_k, the latter by B6."""
    gradients = []
    for a, mask, delta, layer in zip(
        trace.activations, trace.masks, errors.layers, params, strict=True
    ):
        below = affine_backward_inputs(delta, layer.weight).astype(errors.total.dtype)
        if errors.loss_scale is not None:
            below = below / errors.loss_scale
        below = a.astype(below.dtype) * below
        gradients.append(None if mask is None else below.astype(mask.dtype))
    return tuple(gradients)
