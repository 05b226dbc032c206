"""Initial parameters, scaled for the activation that follows each layer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from handgrad.network.activations import ActivationLike, resolve_activations
from handgrad.network.checks import check_floating
from handgrad.network.types import Layer, Params

_INITIALIZERS = {
    "he": jax.nn.initializers.he_normal(),
    "lecun": jax.nn.initializers.lecun_normal(),
    "glorot": jax.nn.initializers.glorot_normal(),
}


def init(
    key: jax.Array,
    sizes: Sequence[int],
    *,
    activation: ActivationLike | Sequence[ActivationLike] = "relu",
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Params:
    """Random weights at the scale of each layer's activation, and zero biases.

    W_k is drawn from a normal distribution cut at two standard deviations, with the
    variance that `Activation.scale` names: "he" 2 / n_in, "lecun" 1 / n_in, "glorot"
    2 / (n_in + n_out). The last layer feeds the softmax and has 1 / n_in.

    Args:
      key: a PRNG key, consumed here.
      sizes: (n_0, n_1, ..., n_L): features, hidden widths, classes; at least two.
      activation: a name, an `Activation`, or one of them per hidden layer.
      dtype: a floating dtype.

    Returns:
      L layers.

    Raises:
      ValueError: for fewer than two sizes, a size below 1, an unknown activation, or
        float64 while x64 is off.
      TypeError: for a dtype that is not floating.

    Source: He et al. 2015 (he); LeCun et al. 1998 (lecun); Glorot and Bengio 2010.

    Example:
      >>> params = init(jax.random.key(0), (784, 128, 10))
      >>> [layer.weight.shape for layer in params]
      [(784, 128), (128, 10)]
    """
    sizes, dtype = tuple(sizes), jnp.dtype(dtype)
    check_floating("dtype", dtype)
    if len(sizes) < 2 or any(size < 1 for size in sizes):
        raise ValueError(
            "`sizes` must be at least two widths of 1 or more, "
            f"(features, *hidden, classes), got {sizes}."
        )
    hidden = resolve_activations(activation, len(sizes) - 2)
    scales = (*(activation.scale for activation in hidden), "lecun")
    keys = jax.random.split(key, len(scales))
    return tuple(
        Layer(_INITIALIZERS[scale](k, shape, dtype), jnp.zeros(shape[1:], dtype))
        for k, scale, shape in zip(
            keys, scales, zip(sizes[:-1], sizes[1:], strict=True), strict=True
        )
    )
