"""Parameters: random ones, scaled for each layer's activation, or those of others."""

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from handgrad.network.activations import ActivationLike, resolve_activations
from handgrad.network.checks import check_floating, check_params
from handgrad.network.stacks import blocks
from handgrad.network.types import Layer, Params

_CUT_DEVIATION = 0.87962566103423978
"""Standard deviation of a standard normal that is cut at two of its own."""


def init(
    key: jax.Array,
    sizes: Sequence[int],
    *,
    activation: ActivationLike | Sequence[ActivationLike] = "relu",
    dtype: jax.typing.DTypeLike = jnp.float32,
    stack_above: int | None = None,
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
      stack_above: what `stack_layers` takes for ``above``, so that a stack is drawn as
        one; the numbers are the same, in half precision to a few roundings. None: no
        stacks.

    Returns:
      L layers, or fewer where some are stacks.

    Raises:
      ValueError: for fewer than two sizes, a size below 1, an unknown activation,
        float64 while x64 is off, or a ``stack_above`` below 1.
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
    shapes = list(itertools.pairwise(sizes))
    keys = jax.random.split(key, len(scales))
    if stack_above is None:
        whole = [[k] for k in range(len(shapes))]
    else:
        whole = blocks(shapes, hidden, stack_above, "stack_above")
    layers = []
    for block in whole:
        k = block[0]
        draw = functools.partial(_weight, scale=scales[k], shape=shapes[k], dtype=dtype)
        stack = len(block) > 1
        # Not vmap, which draws other numbers where a key is not a threefry key.
        own = keys[k : k + len(block)]
        weight = jax.lax.map(draw, own) if stack else draw(keys[k])
        layers.append(Layer(weight, jnp.zeros(_units(weight), dtype)))
    return tuple(layers)


def _units(weight: jax.Array) -> tuple[int, ...]:
    """The shape of its bias: (n_out,), or (K, n) of a stack."""
    return weight.shape[:-2] + weight.shape[-1:]


def _weight(
    key: jax.Array, scale: str, shape: tuple[int, int], dtype: jnp.dtype
) -> jax.Array:
    """What `jax.nn.initializers` draw, to the last bit; but in one row, which XLA
    compiles up to five times as fast for a CPU as the same numbers on two axes."""
    n_in, n_out = shape
    variance = {"he": 2 / n_in, "lecun": 1 / n_in, "glorot": 2 / (n_in + n_out)}[scale]
    deviation = jnp.sqrt(jnp.array(variance, dtype)) / jnp.array(_CUT_DEVIATION, dtype)
    drawn = jax.random.truncated_normal(key, -2, 2, (n_in * n_out,), dtype)
    return drawn.reshape(shape) * deviation


def as_params(layers: Iterable[Sequence[Any]], *, transposed: bool = False) -> Params:
    """Parameters from any sequence of (weight, bias), first layer first.

    What other libraries hold, in one line each (`docs/derivation.md` has them):
    Flax, Equinox, PyTorch, scikit-learn.

    Args:
      layers: pairs (W_k, b_k) of whatever becomes an array; b_k may be None for 0.
      transposed: whether weights are (n_out, n_in), as PyTorch and Equinox hold them.

    Returns:
      L layers, their dtype as it came (float64 becomes float32 where x64 is off).

    Raises:
      ValueError: for shapes that do not chain, or a last layer of one unit: a logistic
        output has one logit where the softmax needs two.
      TypeError: for dtypes that differ or are not floating.

    Example:
      >>> first = jnp.ones((8, 4)), jnp.zeros(8)  # as torch.nn.Linear(4, 8) has them
      >>> second = jnp.ones((3, 8)), None
      >>> params = as_params([first, second], transposed=True)
      >>> [layer.weight.shape for layer in params]
      [(4, 8), (8, 3)]
    """
    params = []
    for weight, bias in layers:
        weight = jnp.asarray(weight)
        if transposed and weight.ndim > 1:
            weight = weight.mT
        if bias is None:
            bias = jnp.zeros(_units(weight), weight.dtype)
        params.append(Layer(weight, jnp.asarray(bias)))
    check_params(tuple(params))
    if params[-1].bias.shape == (1,):  # mutants: layers without units are refused
        raise ValueError(
            "`layers` must end in one unit per class, got a last layer of one unit. A "
            "logistic output w, b is the softmax of two units, the first of which is "
            "0: weight jnp.hstack([0 * w, w]), bias jnp.hstack([0 * b, b])."
        )
    return tuple(params)
