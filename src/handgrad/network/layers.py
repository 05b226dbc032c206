"""One layer, or a stack of equal ones, on the way up and on the way down.

A stack runs as a loop over its layers, `jax.lax.scan`, of which a program holds one.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp

from handgrad.network.activations import Activation, activate, through_activation
from handgrad.network.affine import (
    affine_backward_bias,
    affine_backward_weight,
    affine_forward,
)
from handgrad.network.checks import check_cotangent
from handgrad.network.mean import silence
from handgrad.network.placement import place_like, placement
from handgrad.network.types import Hidden, Layer, Transport, drop, is_stack, layers_in

Kept = TypeVar("Kept")

Place = jax.sharding.NamedSharding | None
"""How W_k lies, on a mesh with Explicit axes."""

Keep = Callable[[jax.Array, jax.Array | None, jax.Array, Place], Kept]
"""What is kept of a layer, from a_{k-1}, its mask, delta_k, and how W_k lies."""


class CarryBack(Protocol):
    """B6 and D2: from delta_{k+1}, W_{k+1}, a_k and its mask to dl/da_k."""

    def __call__(
        self,
        k: int,
        delta: jax.Array,
        weight: jax.Array,
        a: jax.Array,
        mask: jax.Array | None,
    ) -> jax.Array: ...


def through_stack(
    one: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    parts: Any,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`jax.lax.scan` over the layers of a stack.

    Args:
      one: (state, the layer's parts) -> the state after it, and what is kept of it.
      state: before the first layer, or in ``reverse`` before the last. On a mesh with
        Explicit axes it lies alike after every layer.
      parts: of all layers, along a leading axis.
      reverse: whether from the last layer down.

    Returns:
      The state after all, and what is kept, along a leading axis.
    """

    def step(before: Any, own: Any) -> tuple[Any, Any]:
        after, kept = one(before, own)
        return jax.tree.map(
            lambda new, old: place_like(new, placement(old)), after, before
        ), kept

    return jax.lax.scan(step, state, parts, reverse=reverse)


def layer_forward(
    layer: Layer,
    mask: jax.Array | None,
    h: Activation | None,
    a: jax.Array,
    weights: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """D1, F1 and F2.

    Args:
      layer: W_k and b_k, or K of them.
      mask: r_{k-1}, (m, n_{k-1}) or (K, m, n), or None.
      h: that of the layer; None for the last, whose d_L is the output.
      a: a_{k-1}, (m, n_{k-1}).
      weights: w, (m,), or None: what is not finite is 0 in rows of weight 0.

    Returns:
      a_{k-1} and d_k, (m, n) each, or (K, m, n) of all layers in the stack; and the
      output, (m, n_k).
    """
    if is_stack(layer):

        def one(a: jax.Array, own: tuple[Layer, jax.Array | None]) -> Any:
            inputs, d, output = layer_forward(*own, h, a, weights)
            return output, (inputs, d)

        output, (inputs, d) = through_stack(one, a, (layer, mask))
        return inputs, d, output
    if mask is not None and weights is not None:  # twice a may be more than a dtype has
        a = silence(a, weights, drop(a, mask))
    d = silence(affine_forward(drop(a, mask), *layer), weights)  # D1, F1
    return a, d, d if h is None else finite_activation(h, d, weights)  # F2


def finite_activation(
    h: Activation, d: jax.Array, weights: jax.Array | None
) -> jax.Array:
    """F2, and 0 for what is not finite in rows of weight 0, where h of a finite d may
    not be."""
    a = activate(h, d)
    return a if h.finite else silence(a, weights)


def carry_back(transport: Transport, output_delta: jax.Array) -> CarryBack:
    """B6 by this transport, and D2."""

    def carry(
        k: int,
        delta: jax.Array,
        weight: jax.Array,
        a: jax.Array,
        mask: jax.Array | None,
    ) -> jax.Array:
        cotangent = transport(k, delta, weight, output_delta)  # B6
        return drop(check_cotangent(k, cotangent, a), mask)  # D2

    return carry


def the_delta(
    a: jax.Array, mask: jax.Array | None, delta: jax.Array, place: Place
) -> jax.Array:
    """delta_k alone."""
    del a, mask, place
    return delta


def the_gradient(
    a: jax.Array, mask: jax.Array | None, delta: jax.Array, place: Place
) -> Layer:
    """B4 and B5: the sums over samples, in float32 or wider."""
    weight = affine_backward_weight(drop(a, mask), delta, place)
    return Layer(weight, affine_backward_bias(delta))


def layer_backward(
    hidden: Hidden, a: jax.Array, cotangent: jax.Array, weights: jax.Array | None
) -> jax.Array:
    """B7 of one layer: delta_k, (m, n_k), from a_k and dl/da_k."""
    delta = through_activation(hidden.h, hidden.d, a, cotangent)
    return silence(delta, weights)


def stack_backward(
    hidden: Hidden,
    layer: Layer,
    cotangent: jax.Array,
    carry: CarryBack,
    weights: jax.Array | None,
    *,
    keep: Keep[Kept],
    place: Place,
    looped: bool,
) -> tuple[Kept, jax.Array]:
    """B7, B6 and D2 of every layer in a stack.

    Args:
      hidden: what the trace holds of it.
      layer: the stack.
      cotangent: dl/da at its output, (m, n).
      carry: of `carry_back`.
      weights: w, (m,), or None.
      keep: what is kept of each layer.
      place: how the weight of each lies.
      looped: whether one program does for all layers, to which k is that of the first;
        not where ``carry`` must know k.

    Returns:
      What is kept, along a leading axis, and dl/da at its input, (m, n).
    """

    def one(state: Any, own: Any, k: int = hidden.k) -> Any:
        above, a = state
        weight, mask, inputs, d = own
        delta = layer_backward(hidden._replace(d=d), a, above, weights)  # B7
        below = carry(k - 1, delta, weight, inputs, mask)  # B6, D2
        return (below, inputs), keep(inputs, mask, delta, place)

    state = cotangent, hidden.output
    parts = layer.weight, hidden.mask, hidden.inputs, hidden.d
    if looped:
        (below, _), kept = through_stack(one, state, parts, reverse=True)
        return kept, below
    from_the_top = []
    for j in reversed(range(layers_in(layer))):
        own = jax.tree.map(lambda part, j=j: part[j], parts)
        state, kept = one(state, own, hidden.k + j)
        from_the_top.append(kept)
    return jax.tree.map(lambda *kept: jnp.stack(kept), *from_the_top[::-1]), state[0]
