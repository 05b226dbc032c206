"""The output layer: F3, L1, L2, B1, B2, B3, and what may stand in e(y)'s place.

Everything is computed in float32 or wider, whatever the dtype of the logits. Targets
are a distribution q (m, C) per sample; a label y is the distribution e(y). With sample
weights w the objective is J = sum_i w_i l_i / sum_i w_i, which covers class weights,
label smoothing and padding (w = 0, any label, finite features) in one formula.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.checks import check_targets
from handgrad.network.mean import divide, normaliser, weighted
from handgrad.network.types import accumulation_dtype


def softmax(logits: jax.Array) -> jax.Array:
    """F3: a_L = softmax(d_L), (m, C) -> (m, C), in float32 or wider."""
    return jax.nn.softmax(logits.astype(accumulation_dtype(logits.dtype)), axis=1)


def negative_log_likelihood(logits: jax.Array, distribution: jax.Array) -> jax.Array:
    """L1: l = -sum_c q_c ln a_L,c, which is -ln a_L,y for a label.

    From the logits, ln a_L = d_L - logsumexp(d_L): a probability that underflows to 0
    has a finite logarithm here.

    Args:
      logits: d_L, (m, C).
      distribution: q, (m, C), rows sum to 1.

    Returns:
      l, (m,), in nats, float32 or wider.
    """
    wide = logits.astype(accumulation_dtype(logits.dtype))
    return -jnp.sum(distribution * jax.nn.log_softmax(wide, axis=1), axis=1)


def mean_loss(losses: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """L2: J = (1/m) sum_i l_i; with weights, sum_i w_i l_i / sum_i w_i.

    Args:
      losses: l, (m,).
      weights: w, (m,), or None for all 1.

    Returns:
      J, scalar; exactly 0 if the weights sum to 0.
    """
    total = jnp.sum(weighted(losses, weights))
    return divide(total, normaliser(weights, losses.shape[0], losses.dtype))


def probability_gradient(
    probabilities: jax.Array, distribution: jax.Array
) -> jax.Array:
    """B1: dl/da_L = -e(y) / a_L elementwise, (m, C).

    The textbook form. It divides by a probability, which may underflow to 0; training
    uses B3.
    """
    return -distribution / probabilities


def softmax_jacobian(probabilities: jax.Array) -> jax.Array:
    """B2: da_L,y/dd_L,c = a_L,y (I(y = c) - a_L,c), (m, C) -> (m, C, C).

    Entry [i, y, c] is the derivative of probability y with respect to logit c of
    sample i. The textbook form; training uses B3.
    """
    identity = jnp.eye(probabilities.shape[1], dtype=probabilities.dtype)
    return probabilities[:, :, None] * (identity[None] - probabilities[:, None, :])


def output_delta(probabilities: jax.Array, distribution: jax.Array) -> jax.Array:
    """B3: dl/dd_L = a_L - e(y), B1 carried through B2 without a division.

    Args:
      probabilities: a_L, (m, C).
      distribution: q, (m, C), rows sum to 1.

    Returns:
      dl_i/dd_L of every sample, (m, C), neither weighted nor divided by m.
    """
    return probabilities - distribution


def as_distribution(
    targets: jax.Array,
    classes: int,
    dtype: jnp.dtype,
    weights: jax.Array | None = None,
) -> jax.Array:
    """e(y) for labels (m,), the distribution itself for targets (m, C): q, (m, C).

    A label outside 0 ... C-1 gives a row of NaN: under jit a value cannot be refused,
    but it must not be scored as if it were a class. With weight 0 it is padding, and
    gives a row of 0.
    """
    if targets.ndim == 2:
        return targets.astype(dtype)
    known = (targets >= 0) & (targets < classes)
    if weights is not None:
        known = known | ~weights.astype(bool)
    one_hot = jax.nn.one_hot(targets, classes, dtype=dtype)
    return jnp.where(known[:, None], one_hot, jnp.nan)


def smooth_labels(targets: ArrayLike, classes: int, epsilon: float) -> jax.Array:
    """Label smoothing: q = (1 - epsilon) e(y) + epsilon / C.

    Args:
      targets: labels (m,), or distributions (m, C), which are smoothed likewise.
      classes: C.
      epsilon: the probability spread evenly over all classes, in [0, 1].

    Returns:
      q, (m, C), float32 or wider; pass it as `targets`.

    Raises:
      ValueError: if epsilon is outside [0, 1], or targets do not have C columns.

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7.

    Example:
      >>> smooth_labels(jnp.array([1]), classes=2, epsilon=0.5).tolist()
      [[0.25, 0.75]]
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"`epsilon` must be in [0, 1], got {epsilon}.")
    targets = check_targets(targets, classes)
    q = as_distribution(targets, classes, _wide(targets))
    return (1 - epsilon) * q + epsilon / classes


def class_weights(targets: ArrayLike, per_class: ArrayLike) -> jax.Array:
    """Class weights as sample weights: w_i = c_{y_i}; sum_c q_ic c_c if y is soft.

    Args:
      targets: labels (m,), or distributions (m, C).
      per_class: c, (C,), the weight of each class.

    Returns:
      w, (m,), float32 or wider; pass it as `weights`.

    Raises:
      ValueError: if per_class is not a vector, or targets do not have C columns.

    Example:
      >>> class_weights(jnp.array([0, 1, 1]), jnp.array([4.0, 0.5])).tolist()
      [4.0, 0.5, 0.5]
    """
    per_class = jnp.asarray(per_class)
    if per_class.ndim != 1:
        raise ValueError(
            "`per_class` must have shape (C,), one weight per class, "
            f"got {per_class.shape}."
        )
    targets = check_targets(targets, per_class.shape[0])
    q = as_distribution(targets, per_class.shape[0], _wide(targets))
    return q @ per_class.astype(q.dtype)


def _wide(targets: jax.Array) -> jnp.dtype:
    floating = jnp.issubdtype(targets.dtype, jnp.floating)
    return accumulation_dtype(targets.dtype if floating else jnp.dtype("float32"))
