"""The output layer: F3, L1, L2, B1, B2, B3, and what may stand in e(y)'s place.

Everything is computed in float32 or wider, whatever the dtype of the logits. Targets
are labels y (m,), or distributions q (m, C) of which e(y) is one. Sample weights w make
the objective J = sum_i w_i l_i / sum_i w_i; class weights, label smoothing and padding
(w = 0, and anything in the row) are choices of w and q.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.checks import check_targets
from handgrad.network.mean import per_sample, sample_scale, silence
from handgrad.network.numbers import check_number
from handgrad.network.placement import placement
from handgrad.network.types import accumulation_dtype


def softmax(logits: jax.Array) -> jax.Array:
    """F3: a_L = softmax(d_L), (m, C) -> (m, C), in float32 or wider.

    A logit of -inf is a class that cannot be: its probability is exactly 0.
    """
    return jax.nn.softmax(logits.astype(accumulation_dtype(logits.dtype)), axis=1)


def negative_log_likelihood(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """L1: l = -sum_c q_c ln a_L,c, which is -ln a_L,y for a label.

    From the logits, ln a_L = d_L - logsumexp(d_L): a probability that underflows to 0
    has a finite logarithm here.

    Args:
      logits: d_L, (m, C). A class at -inf adds 0 where its target is 0.
      targets: labels y (m,), or distributions q (m, C).

    Returns:
      l, (m,), in nats, float32 or wider; NaN for a label outside 0 ... C-1.
    """
    if targets.ndim == 2:  # mutants: it is 1 or 2
        log = log_probabilities(logits, targets)
        return -jnp.sum(targets.astype(log.dtype) * log, axis=1)
    y, known = class_of(targets, logits.shape[1])
    wide = logits.astype(accumulation_dtype(logits.dtype))
    largest = jax.lax.stop_gradient(jnp.max(wide, axis=1))  # it cancels
    log_sum = jnp.log(jnp.sum(jnp.exp(wide - largest[:, None]), axis=1))
    return jnp.where(known, log_sum - (entry(wide, y) - largest), jnp.nan)


def log_probabilities(logits: jax.Array, distribution: jax.Array) -> jax.Array:
    """ln a_L, (m, C), as L1 takes it: 0, not -inf, where q_c = 0."""
    wide = logits.astype(accumulation_dtype(logits.dtype))
    log = jax.nn.log_softmax(wide, axis=1)
    return jnp.where((distribution == 0) & jnp.isneginf(log), 0, log)


def mean_loss(losses: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """L2: J = sum_i s_i l_i, s_i = 1 / m; with weights, s_i = w_i / sum_j w_j.

    Args:
      losses: l, (m,).
      weights: w, (m,), or None for all 1.

    Returns:
      J, scalar; exactly 0 if the weights sum to 0. A loss of weight 0 may be anything.
    """
    scale = sample_scale(weights, losses.shape[0], losses.dtype)  # mutants: one axis
    return jnp.sum(scale * silence(losses, weights))


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


def output_delta(
    probabilities: jax.Array, targets: jax.Array, scale: jax.Array | None = None
) -> jax.Array:
    """B3: dl/dd_L = t a_L - q, B1 carried through B2 without a division.

    t = sum_c q_c; for a label q = e(y), t = 1, and dl/dd_L = a_L - e(y).

    Args:
      probabilities: a_L, (m, C).
      targets: labels y (m,), or distributions q (m, C), whatever their rows sum to.
      scale: what each sample counts, (m,) or scalar, as L2 has it; None for 1.

    Returns:
      scale_i dl_i/dd_L of every sample, (m, C); NaN for a label outside 0 ... C-1.
    """
    if scale is None:
        scale = jnp.ones((), probabilities.dtype)
    if targets.ndim == 2:  # mutants: it is 1 or 2
        q = targets.astype(probabilities.dtype)
        delta = jnp.sum(q, axis=1, keepdims=True) * probabilities - q
        return per_sample(scale, delta) * delta
    y, known = class_of(targets, probabilities.shape[1])
    scale = jnp.where(known, scale, jnp.nan)
    if placement(probabilities).sharding is not None:
        return compared_delta(probabilities, y, scale)
    # A CPU sets one entry of each row sooner than it compares them all; elsewhere the
    # comparison is part of the program that makes the row, and nothing is moved twice.
    return jax.lax.platform_dependent(
        probabilities, y, scale, cpu=set_delta, default=compared_delta
    )


def compared_delta(
    probabilities: jax.Array, y: jax.Array, scale: jax.Array
) -> jax.Array:
    """B3 for labels: scale (a_L - e(y)), every class compared with the label."""
    e_y = is_class(probabilities, y).astype(probabilities.dtype)
    return scale[:, None] * (probabilities - e_y)


def set_delta(probabilities: jax.Array, y: jax.Array, scale: jax.Array) -> jax.Array:
    """B3 for labels: scale a_L, with the entry of the label set."""
    of_y = scale * (entry(probabilities, y) - 1)
    rows = scale[:, None] * probabilities
    return jax.vmap(lambda row, c, value: row.at[c].set(value))(rows, y, of_y)


def row_sums(targets: jax.Array, dtype: jnp.dtype) -> jax.Array | None:
    """t_i = sum_c q_ic, (m,), float32 or wider; None for labels, where all are 1."""
    # mutants: it is 1 or 2
    return None if targets.ndim == 1 else jnp.sum(targets, axis=1, dtype=dtype)


def smooth_labels(targets: ArrayLike, classes: int, epsilon: ArrayLike) -> jax.Array:
    """Label smoothing: q = (1 - epsilon) e(y) + epsilon / C.

    Args:
      targets: labels (m,), or distributions (m, C), which are smoothed likewise:
        (1 - epsilon) q + epsilon t / C, so that their rows keep their sums t.
      classes: C.
      epsilon: the probability spread evenly over all classes, in [0, 1].

    Returns:
      q, (m, C), float32 or wider; pass it as `targets`. The row of a label outside
      0 ... C-1 is NaN, and so is the loss, unless the weight of the sample is 0.

    Raises:
      ValueError: if epsilon is outside [0, 1], or targets do not have C columns.

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7.

    Example:
      >>> smooth_labels(jnp.array([1]), classes=2, epsilon=0.5).tolist()
      [[0.25, 0.75]]
    """
    targets = check_targets(targets, classes)
    q = _as_distribution(targets, classes)
    epsilon = check_number("epsilon", epsilon, q.dtype, at_least=0, at_most=1)
    evenly = jnp.sum(q, axis=1, keepdims=True) / classes
    return (1 - epsilon) * q + epsilon * evenly


def class_weights(targets: ArrayLike, per_class: ArrayLike) -> jax.Array:
    """Class weights as sample weights: w_i = c_{y_i}; sum_c q_ic c_c if y is soft.

    Args:
      targets: labels (m,), or distributions (m, C).
      per_class: c, (C,), the weight of each class.

    Returns:
      w, (m,), float32 or wider; pass it as `weights`, multiplied with what else weighs
      the samples. A label outside 0 ... C-1, or a row that is not finite, weighs 1: it
      makes the loss NaN unless a 0 is multiplied to it.

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
    targets = check_targets(targets, per_class.shape[0])  # mutants: one axis
    per_class = per_class.astype(_wide(targets))
    if targets.ndim == 1:  # mutants: it is 1 or 2
        y, known = class_of(targets, per_class.shape[0])  # mutants: one axis
        per_sample = per_class.at[y].get(out_sharding=placement(y).sharding)
        return jnp.where(known, per_sample, 1)
    known = jnp.all(jnp.isfinite(targets), axis=1)
    return jnp.where(known, targets.astype(per_class.dtype) @ per_class, 1)


def class_of(labels: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    """Labels of any integer dtype as int32, and whether each is in 0 ... C-1.

    A label that is no class becomes 0, for whoever asks no further. Under jit a value
    cannot be refused, but it must not be scored as if it were a class.
    """
    # mutants: of 32 bits no class wraps, and none are between 16 and 32
    if jnp.iinfo(labels.dtype).bits < 32:  # C itself may not fit into uint8
        labels = labels.astype(jnp.int32)
    known = (labels >= 0) & (labels < classes)
    # mutants: what is no class may become any
    return jnp.where(known, labels, 0).astype(jnp.int32), known


def entry(rows: jax.Array, y: jax.Array) -> jax.Array:
    """Entry y_i of row i, (m,)."""
    if placement(rows).sharding is None:
        # mutants: there is one column
        return jnp.take_along_axis(rows, y[:, None], axis=1)[:, 0]
    return jnp.sum(jnp.where(is_class(rows, y), rows, 0), axis=1)


def is_class(rows: jax.Array, y: jax.Array) -> jax.Array:
    """e(y), (m, C), true or false: for rows that several devices may share."""
    return jnp.arange(rows.shape[1], dtype=jnp.int32)[None, :] == y[:, None]


def _as_distribution(targets: jax.Array, classes: int) -> jax.Array:
    """e(y) for labels (m,), the distribution itself for targets (m, C): q, (m, C)."""
    if targets.ndim == 2:  # mutants: it is 1 or 2
        return targets.astype(_wide(targets))
    y, known = class_of(targets, classes)
    one_hot = jax.nn.one_hot(y, classes, dtype=_wide(targets))
    return jnp.where(known[:, None], one_hot, jnp.nan)


def _wide(targets: jax.Array) -> jnp.dtype:
    floating = jnp.issubdtype(targets.dtype, jnp.floating)
    return accumulation_dtype(targets.dtype if floating else jnp.dtype("float32"))
