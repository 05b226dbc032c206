"""Equal hidden layers as one: their arrays along a leading axis, and one loop for all.

A `Layer` of weight (K, n, n) and bias (K, n) is a stack: K layers, each of which feeds
the next. A program holds one of them, and `jax.lax.scan` runs it K times, so that a
network compiles in the same time however deep it is; numbers are the same to rounding.
Everything takes stacks where it takes layers, and gives the gradient in stacks too. A
`Transport` but the exact one must know which layer it is at, and is asked layer by
layer, so that its program grows with the depth.

Layers that are kept apart are never stacked on the way: to put arrays together and to
take their gradients apart again costs more time, in the compiler and in every step,
than the loop saves.

To others a stack is one array: an optimiser that looks at arrays as a whole (lamb,
muon, adafactor, a mask by the number of axes) trains it in another way than its layers,
and noise that is drawn array by array is another.

A stack stands between layers of their own: x and the logits are no part of any.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.network.activations import (
    Activation,
    ActivationLike,
    resolve_activations,
)
from handgrad.network.checks import check_params
from handgrad.network.types import Layer, Params, depth, is_stack, layers_in


def stack_layers(
    params: Params,
    *,
    activation: ActivationLike | Sequence[ActivationLike] = "relu",
    above: int = 8,
) -> Params:
    """The same network, with its equal hidden layers in stacks where they are many.

    Args:
      params: L layers.
      activation: h, as in `forward`: layers in a stack have one.
      above: only more equal layers than this, 1 or more, become a stack.

    Returns:
      A shorter tuple: every run of more than ``above`` hidden layers of one square
      shape and one activation as one `Layer` of weight (K, n, n) and bias (K, n). The
      first and the last hidden layer, and one between two stacks, stay by themselves,
      and so do all that are in no such run.

    Raises:
      ValueError, TypeError: for a number below 1, or parameters or activations that do
        not fit.

    Example:
      >>> from handgrad import init
      >>> params = stack_layers(init(jax.random.key(0), (8, *[4] * 100, 3)))
      >>> [layer.weight.shape for layer in params]
      [(8, 4), (98, 4, 4), (4, 4), (4, 3)]
    """
    layers = unstack_layers(params)
    hidden = resolve_activations(activation, len(layers) - 1)
    shapes = [layer.weight.shape for layer in layers]
    return tuple(
        layers[block[0]]
        if len(block) == 1
        else jax.tree.map(lambda *parts: jnp.stack(parts), *(layers[k] for k in block))
        for block in blocks(shapes, hidden, above)
    )


def blocks(
    shapes: Sequence[tuple[int, ...]],
    hidden: Sequence[Activation],
    above: int,
    name: str = "above",
) -> list[list[int]]:
    """Which layers, counted from 0, make each `Layer` of `stack_layers`.

    Args:
      shapes: (n_in, n_out) of L layers.
      hidden: h of L - 1 of them.
      above: as in `stack_layers`.
      name: of that argument, for the message.
    """
    whole = isinstance(above, int | np.integer) and not isinstance(above, bool)
    if not whole or above < 1:
        raise ValueError(f"`{name}` must be a whole number, 1 or more, got {above!r}.")
    inner, rest = range(1, len(shapes) - 2), range(max(1, len(shapes) - 2), len(shapes))
    found = [[0]]
    for (shape, _), alike in itertools.groupby(
        inner, key=lambda k: (shapes[k], hidden[k])
    ):
        run = list(alike)
        own = 1 if len(found[-1]) > 1 else 0  # what stands between two stacks
        if shape[0] == shape[1] and len(run) - own > above:
            found += [*([k] for k in run[:own]), run[own:]]
        else:
            found += [[k] for k in run]
    return [*found, *([k] for k in rest)]


def unstack_layers(params: Params) -> Params:
    """Every layer by itself: what `stack_layers` put together, or a gradient of it.

    Args:
      params: layers, or stacks of them.

    Returns:
      L layers, of weights (n_in, n_out) and biases (n_out,).

    Raises:
      ValueError, TypeError: for shapes or dtypes that do not fit.
    """
    check_params(params)
    return apart(params)


def apart(params: Params) -> Params:
    """`unstack_layers` of what is known to be parameters, or like them."""
    layers: list[Layer] = []
    for layer in params:
        if is_stack(layer):
            layers += [Layer(*parts) for parts in zip(*layer, strict=True)]
        else:
            layers.append(layer)
    return tuple(layers)


def hidden_activations(
    params: Params, activation: ActivationLike | Sequence[ActivationLike]
) -> tuple[Activation, ...]:
    """h of every hidden layer, and one of every stack.

    Raises:
      ValueError: for another number than hidden layers, or several within a stack.
    """
    names = resolve_activations(activation, depth(params) - 1)
    found, first = [], 0
    for layer in params[:-1]:
        h, *others = names[first : first + layers_in(layer)]
        if any(other != h for other in others):
            raise ValueError(
                f"`activation` must be one for all layers of a stack, {first + 1} to "
                f"{first + 1 + len(others)}, got {activation!r}. Give `stack_layers` "
                "the same."
            )
        found.append(h)
        first += layers_in(layer)
    return tuple(found)
