"""How far a gradient points away from the exact one."""

import jax
import jax.numpy as jnp

from handgrad.network.stacks import apart
from handgrad.network.types import Layer, Params, accumulation_dtype


def angles(gradients: Params, exact: Params) -> jax.Array:
    """The angle between two gradients, layer by layer, weight and bias together.

    With unit vectors u and v it is 2 atan2(|u - v|, |u + v|), exactly 0 for equal
    gradients, where the arc cosine of their product is not.

    Args:
      gradients, exact: of `handgrad.gradients`, of one network on one batch.

    Returns:
      (L,), in degrees, 0 to 180, float32 or wider; NaN where either gradient is 0.

    Raises:
      ValueError: if the two differ in structure or shapes.

    Source: Kahan 2006, "How futile are mindless assessments of roundoff", section 12.
    """
    if jax.tree.map(jnp.shape, gradients) != jax.tree.map(jnp.shape, exact):
        raise ValueError(
            "`gradients` must have the structure and shapes of `exact`, "
            f"{jax.tree.map(jnp.shape, exact)}, "
            f"got {jax.tree.map(jnp.shape, gradients)}."
        )
    each = zip(apart(gradients), apart(exact), strict=True)
    return jnp.stack([_angle(*pair) for pair in each])


def _angle(gradient: Layer, exact: Layer) -> jax.Array:
    u, v = _unit(gradient), _unit(exact)
    apart = _norm(jax.tree.map(jnp.subtract, u, v))
    together = _norm(jax.tree.map(jnp.add, u, v))
    return jnp.degrees(2 * jnp.arctan2(apart, together))


def _unit(layer: Layer) -> Layer:
    wide = jax.tree.map(lambda leaf: leaf.astype(accumulation_dtype(leaf.dtype)), layer)
    # To 1 first: the squares of 1e-25 underflow, those of 1e25 overflow.
    largest = jnp.maximum(*(jnp.max(jnp.abs(leaf)) for leaf in wide))
    near_one = jax.tree.map(lambda leaf: leaf / largest, wide)
    norm = _norm(near_one)
    return jax.tree.map(lambda leaf: leaf / norm, near_one)


def _norm(layer: Layer) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in layer))
