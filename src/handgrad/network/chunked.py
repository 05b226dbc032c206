"""J and its gradient where the last layer is walked a chunk of the classes at a time.

The layers below it are a network of their own, with the output d_{L-1}: `mlp` has their
forward and backward pass. `many_classes` has the layer above them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from handgrad.network.activations import (
    Activation,
    resolve_activations,
    through_activation,
)
from handgrad.network.backward import carried
from handgrad.network.checks import (
    check_inputs,
    check_masks,
    check_params,
    check_targets,
    check_weights,
)
from handgrad.network.layers import finite_activation
from handgrad.network.many_classes import (
    Errors,
    Rows,
    Walk,
    losses,
    walk_down,
    walk_up,
)
from handgrad.network.mean import divide, per_sample, silence
from handgrad.network.mlp import Activations, contraction, finite_forward
from handgrad.network.numbers import check_chunk, check_number
from handgrad.network.placement import placement
from handgrad.network.samples import (
    factors_of,
    of_layers,
    pairs,
    row_squares,
    settled,
)
from handgrad.network.softmax_nll import mean_loss
from handgrad.network.types import (
    Deltas,
    Layer,
    Masks,
    Params,
    Smoothed,
    Trace,
    accumulation_dtype,
    depth,
    drop,
    is_stack,
)

Targets = ArrayLike | Smoothed


class PerSample(NamedTuple):
    """What `value_and_grad` knows of single samples where it has no logits to give."""

    losses: jax.Array  # l, (m,), in nats
    predictions: jax.Array  # the class of the largest logit, (m,), int32
    norms: jax.Array  # |dl_i/d(W_k, b_k)| per layer, (m, L); 0 where s_i = 0


class Below(NamedTuple):
    """All but the last layer: its output, and what the backward pass needs."""

    trace: Trace | None  # of layers 1 ... L-1; None where there are none
    h: Activation | None  # of layer L-1
    output: jax.Array  # a_{L-1}, (m, n)
    mask: jax.Array | None  # r_{L-1}


class InChunks(NamedTuple):
    """A network whose last layer is to be walked: checked, and forward up to it."""

    params: Params
    below: Below
    walk: Walk


def forward_below(
    params: Params,
    x: ArrayLike,
    targets: Targets,
    *,
    chunk: int | str,
    activation: Activations = "relu",
    weights: ArrayLike | None = None,
    masks: Masks | None = None,
) -> InChunks:
    """F1 and F2 of layers 1 ... L-1; arguments and errors as in `loss`."""
    check_params(params)
    x = check_inputs(params, x)
    layer = params[-1]
    samples, classes = x.shape[0], layer.bias.shape[0]  # mutants: one axis
    weights = check_weights(weights, samples)
    masks = check_masks(params, masks, samples)
    hidden = resolve_activations(activation, depth(params) - 1)
    chunk = check_chunk(chunk, samples, classes)
    targets = _checked(targets, classes, samples)
    _check_below(params)
    _check_columns(layer)
    if hidden:
        trace = finite_forward(
            params[:-1], x, activation=hidden[:-1], masks=masks[:-1], weights=weights
        )
        output = finite_activation(hidden[-1], trace.logits, weights)
        below = Below(trace, hidden[-1], output, masks[-1])
    else:
        below = Below(None, None, silence(x, weights), masks[-1])  # mutants: the only
    inputs = silence(drop(below.output, below.mask), weights)
    return InChunks(params, below, Walk(inputs, layer, targets, weights, chunk))


def loss_in_chunks(network: InChunks) -> jax.Array:
    """`loss` with a chunk of the classes at a time."""
    rows = walk_up(network.walk, best=False)  # mutants: or found and not looked at
    return mean_loss(losses(rows), network.walk.weights)


def scores_in_chunks(network: InChunks) -> tuple[jax.Array, jax.Array]:
    """The losses of single samples and the likeliest classes: (m,) and (m,)."""
    rows = walk_up(network.walk, best=True)
    return losses(rows), _predictions(rows)


def value_and_grad_in_chunks(
    network: InChunks, *, has_aux: bool
) -> tuple[jax.Array | tuple[jax.Array, PerSample], Params]:
    """`value_and_grad` with a chunk of the classes at a time."""
    params, below, walk = network
    rows = walk_up(walk, best=has_aux)
    known, factor = factors_of(*_kind(walk), walk.weights)
    errors = walk_down(walk, rows, factor, squares=has_aux)
    found = losses(rows)
    value = mean_loss(found, walk.weights)
    last = _last_gradient(walk, errors, known)
    under = _deltas_below(params, below, known, errors)
    grads = (last,)
    if below.trace is not None:
        inputs = zip(below.trace.layer_inputs, under.layers, strict=True)
        grads = (*contraction(inputs, below.trace, under), last)
    if not has_aux:
        return value, grads
    norms = _norms(walk, errors, below.trace, under)
    return (value, PerSample(found, _predictions(rows), norms)), grads


def _checked(targets: Targets, classes: int, samples: int) -> jax.Array | Smoothed:
    if not isinstance(targets, Smoothed):
        return check_targets(targets, classes, samples)
    labels = check_targets(targets.labels, classes, samples)
    if labels.ndim != 1:  # mutants: it is 1 or 2
        raise ValueError(
            f"`targets` must be Smoothed labels ({samples},), got {labels.shape}. "
            "Smooth distributions with `smooth_labels`."
        )
    number = check_number(
        "epsilon", targets.epsilon, jnp.float32, at_least=0, at_most=1
    )
    return Smoothed(labels, number)


def _check_columns(layer: Layer) -> None:
    """On a mesh with Explicit axes: no axis may split the classes."""
    sharding = placement(layer.weight).sharding
    if sharding is not None and sharding.spec[1] is not None:
        raise ValueError(
            "`chunk` must be None where a mesh axis splits the classes of the last "
            f"layer, got a weight that lies as {sharding.spec}. Split the samples."
        )


def _check_below(params: Params) -> None:
    """What feeds the last layer is no stack."""
    if len(params) > 1 and is_stack(params[-2]):
        raise ValueError(
            "`params` must have the last hidden layer by itself where there is a "
            f"`chunk`, got a stack of weight {params[-2].weight.shape}. "
            "`stack_layers` leaves it out."
        )


def _kind(walk: Walk) -> tuple[int, jnp.dtype]:
    return walk.inputs.shape[0], walk.inputs.dtype


def _predictions(rows: Rows) -> jax.Array:
    best = rows.summary.best
    assert best is not None, "it was asked for"
    return best


def _last_gradient(walk: Walk, errors: Errors, known: Deltas) -> Layer:
    weight, bias = walk.layer
    places = placement(weight), placement(bias)
    return settled(Layer(errors.weight, errors.bias), places, known, weight.dtype)


def _deltas_below(
    params: Params, below: Below, known: Deltas, errors: Errors
) -> Deltas:
    """D2 and B7 of layer L-1, and `carried` further down."""
    if below.trace is None or below.h is None:  # mutants: both or neither
        return known
    cotangent = drop(errors.inputs.astype(below.output.dtype), below.mask)
    d = below.trace.logits
    delta = through_activation(below.h, d, below.output, cotangent)
    return carried(params[:-1], below.trace, known, delta, finite=True)


def _norms(walk: Walk, errors: Errors, trace: Trace | None, under: Deltas) -> jax.Array:
    """|g_i,k|^2 = (|a_{k-1}|^2 + 1) |delta_k|^2 of every sample and layer, (m, L)."""
    assert errors.squares is not None, "it was asked for"
    wide = accumulation_dtype(walk.inputs.dtype)
    shape = (walk.inputs.shape[0],)
    scale = jnp.broadcast_to(factors_of(*_kind(walk), walk.weights)[1], shape)
    squares: list[tuple[jax.Array, jax.Array]] = []
    if trace is not None:
        inverse = divide(jnp.ones_like(under.total), scale)
        squares = [
            (a, row_squares(delta.astype(wide) * per_sample(inverse, delta)))
            for a, delta in pairs(trace, under)
        ]
    last = jnp.where(scale == 0, 0, errors.squares)
    squares.append((silence(walk.inputs, walk.weights), last))
    norms = [
        jnp.sqrt((row_squares(a.astype(wide)) + 1) * square) for a, square in squares
    ]
    return of_layers(norms)
