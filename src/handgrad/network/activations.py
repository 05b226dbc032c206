"""Hidden activations: each h beside its derivatives, and F2 and B7 built on them.

``h`` is taken from `jax.nn`, so values agree with what autodiff differentiates, and h'
follows `jax.nn` at every kink: relu'(0) = 0, hard_tanh'(1) = 1, leaky_relu'(0) = 1.
Each h' is given the pre-activation d and the activation a = h(d), and uses whichever
makes it cheapest while it stays as accurate as `jax.grad`.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from handgrad.network import second_derivatives as second


@dataclass(frozen=True)
class Activation:
    """A hidden non-linearity h and its derivative h'.

    Attributes:
      function: h, elementwise: d (m, n) -> a (m, n).
      derivative: h', elementwise: (d, a) -> (m, n), where a = h(d). Use either.
      scale: the variance that `init` gives the weights of the layer: "he" 2 / n_in,
        "lecun" 1 / n_in, "glorot" 2 / (n_in + n_out).
      second_derivative: h'', elementwise: (d, a) -> (m, n). Only Hessian-vector
        products need it; None where there is none.

    Example:
      >>> sine = Activation(jnp.sin, lambda d, a: jnp.cos(d), scale="lecun")
      >>> sine.derivative(jnp.zeros((1, 1)), jnp.zeros((1, 1))).item()
      1.0
    """

    function: Callable[[jax.Array], jax.Array]
    derivative: Callable[[jax.Array, jax.Array], jax.Array]
    scale: Literal["he", "lecun", "glorot"] = "he"
    second_derivative: Callable[[jax.Array, jax.Array], jax.Array] | None = None

    @property
    def finite(self) -> bool:
        """Whether h and h' are known to be finite for every finite d: then what is
        finite in padding stays so. selu, which grows, may overflow."""
        return any(
            self.function is function and self.derivative is derivative
            for function, derivative in _FINITE
        )


def activate(activation: Activation, pre_activation: jax.Array) -> jax.Array:
    """F2: a_k = h(d_k), (m, n_k) -> (m, n_k)."""
    value = activation.function(pre_activation)
    return _elementwise("function", value, pre_activation)


def through_activation(
    activation: Activation,
    pre_activation: jax.Array,
    value: jax.Array,
    cotangent: jax.Array,
) -> jax.Array:
    """B7: dl/dd_k = h'(d_k) * dl/da_k, because the Jacobian of F2 is diagonal.

    Args:
      activation: the pair h, h'.
      pre_activation: d_k, (m, n_k).
      value: a_k = h(d_k), (m, n_k).
      cotangent: dl/da_k, (m, n_k).

    Returns:
      dl/dd_k, (m, n_k).
    """
    delta = activation.derivative(pre_activation, value) * cotangent
    return _elementwise("derivative", delta, cotangent)


def _elementwise(name: str, value: jax.Array, like: jax.Array) -> jax.Array:
    if (value.shape, value.dtype) != (like.shape, like.dtype):
        raise ValueError(
            f"`Activation.{name}` must work elementwise and keep the dtype: "
            f"{like.dtype} of shape {like.shape} became {value.dtype} of shape "
            f"{value.shape}."
        )
    return value


def _step(condition: jax.Array, like: jax.Array) -> jax.Array:
    """1 where the condition holds and 0 elsewhere, in the dtype of ``like``."""
    return condition.astype(like.dtype)


def _ones(d: jax.Array, a: jax.Array) -> jax.Array:
    return jnp.ones_like(d)


def _sigmoid_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return a * (1 - a)


def _tanh_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return 1 - a * a


def _hard_tanh_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return _step((d >= -1) & (d <= 1), d)


def _relu_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return _step(a > 0, a)


def _relu6_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return _step((a > 0) & (a < 6), a)


_LEAKY_SLOPE = 0.01


def _leaky_relu_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return jnp.where(d >= 0, jnp.ones_like(d), _LEAKY_SLOPE)


def _elu_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    """1 above 0 and exp(d) below; a + 1 would lose it to cancellation."""
    return jnp.exp(jnp.minimum(d, 0))


def _selu_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    # mutants: 1 for 0 differs above 0, where it is not taken
    below = second.SELU_ALPHA * jnp.exp(jnp.minimum(d, 0))
    return second.SELU_SCALE * jnp.where(d > 0, jnp.ones_like(d), below)


def _softplus_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(d)


def _softsign_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    """1 / (1 + |d|)^2; the reciprocal is squared, not the sum, so float16 holds it."""
    return jnp.square(1 / (1 + jnp.abs(d)))


def _silu_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    """s + d s (1 - s) with s = sigmoid(d), and d s = a."""
    s = jax.nn.sigmoid(d)
    return s + a * (1 - s)


def _mish_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    """t + d (1 - t^2) sigmoid(d) with t = tanh(softplus(d))."""
    t = jnp.tanh(jax.nn.softplus(d))
    return t + d * (1 - t * t) * jax.nn.sigmoid(d)


def _gelu(d: jax.Array) -> jax.Array:
    """d Phi(d), Phi the standard normal distribution function."""
    return jax.nn.gelu(d, approximate=False)


def _gelu_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    """Phi(d) + d phi(d), phi the standard normal density.

    The factor is negative, where `jax.nn.gelu` takes -d: XLA does not know the Phi of
    the forward pass again, of which a CPU would keep three arrays of d's size.
    """
    distribution = 0.5 * jax.lax.erfc(d * -math.sqrt(0.5))
    density = jnp.exp(-0.5 * d * d) / math.sqrt(2 * math.pi)
    return distribution + d * density


def _gelu_tanh(d: jax.Array) -> jax.Array:
    """d (1 + tanh u) / 2 with u = sqrt(2/pi) (d + 0.044715 d^3)."""
    return jax.nn.gelu(d, approximate=True)


def _gelu_tanh_derivative(d: jax.Array, a: jax.Array) -> jax.Array:
    """(1 + t) / 2 + d (1 - t^2) u' / 2 with t = tanh u.

    Beyond |d| = 10, t is 1 to the last bit and the second term 0; clipping there keeps
    the cube finite.
    """
    d = jnp.clip(d, -10, 10)  # mutants: any bound from 9 on gives the same
    slope = math.sqrt(2 / math.pi)
    t = jnp.tanh(slope * (d + 0.044715 * d * d * d))
    inner = slope * (1 + 3 * 0.044715 * d * d)
    return 0.5 * (1 + t) + 0.5 * d * (1 - t * t) * inner


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(jax.nn.identity, _ones, "lecun", second.zeros),
    "sigmoid": Activation(
        jax.nn.sigmoid, _sigmoid_derivative, "glorot", second.sigmoid
    ),
    "tanh": Activation(jnp.tanh, _tanh_derivative, "glorot", second.tanh),
    "hard_tanh": Activation(
        jax.nn.hard_tanh, _hard_tanh_derivative, "glorot", second.zeros
    ),
    "relu": Activation(jax.nn.relu, _relu_derivative, "he", second.zeros),
    "relu6": Activation(jax.nn.relu6, _relu6_derivative, "he", second.zeros),
    "leaky_relu": Activation(
        jax.nn.leaky_relu, _leaky_relu_derivative, "he", second.zeros
    ),
    "elu": Activation(jax.nn.elu, _elu_derivative, "he", second.elu),
    "selu": Activation(jax.nn.selu, _selu_derivative, "lecun", second.selu),
    # With alpha = 1, celu and elu are one function.
    "celu": Activation(jax.nn.celu, _elu_derivative, "he", second.elu),
    "softplus": Activation(
        jax.nn.softplus, _softplus_derivative, "glorot", second.softplus
    ),
    "softsign": Activation(
        jax.nn.soft_sign, _softsign_derivative, "glorot", second.softsign
    ),
    "silu": Activation(jax.nn.silu, _silu_derivative, "he", second.silu),
    "mish": Activation(jax.nn.mish, _mish_derivative, "he", second.mish),
    "gelu": Activation(_gelu, _gelu_derivative, "he", second.gelu),
    "gelu_tanh": Activation(_gelu_tanh, _gelu_tanh_derivative, "he", second.gelu_tanh),
}

_FINITE = [
    (h.function, h.derivative) for name, h in ACTIVATIONS.items() if name != "selu"
]

ActivationLike = str | Activation


def resolve_activations(
    activation: ActivationLike | Sequence[ActivationLike], hidden_layers: int
) -> tuple[Activation, ...]:
    """One `Activation` per hidden layer, from one for all of them or from a sequence.

    Raises:
      ValueError: for an unknown name, or a sequence of another length.
      TypeError: for anything but a name or an `Activation`.
    """
    if isinstance(activation, str | Activation):
        return (_resolve(activation),) * hidden_layers
    if not isinstance(activation, Sequence):
        raise _neither(activation)
    if len(activation) != hidden_layers:
        raise ValueError(
            f"`activation` must be one, or one per hidden layer ({hidden_layers}), "
            f"got {len(activation)}: {activation!r}."
        )
    return tuple(map(_resolve, activation))


def _resolve(activation: ActivationLike) -> Activation:
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        raise _neither(activation)
    if activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    # mutants: the first of one or of two
    nearest = difflib.get_close_matches(activation, ACTIVATIONS, n=1, cutoff=0)[0]
    raise ValueError(
        f"`activation` must be one of {', '.join(ACTIVATIONS)}, or an "
        f"Activation(function, derivative); got {activation!r}. "
        f"Did you mean {nearest!r}?"
    )


def _neither(activation: object) -> TypeError:
    return TypeError(
        "`activation` must be a name or an Activation(function, derivative), "
        f"got {activation!r}."
    )
