"""The way down: B6 and B7 from any delta_L, layer by layer, and what is kept of each.

`carried` keeps delta_k, which is what `mlp.deltas` returns; `gradients_below` keeps the
gradient of the layer, B4 and B5, and forgets delta_k.
"""

import functools
from dataclasses import replace

import jax

from handgrad.network.affine import backprop
from handgrad.network.layers import (
    Keep,
    Kept,
    carry_back,
    layer_backward,
    stack_backward,
    the_delta,
    the_gradient,
)
from handgrad.network.placement import inner
from handgrad.network.samples import as_gradient, with_output
from handgrad.network.types import Deltas, Params, Trace, Transport, depth, is_stack


def carried(
    params: Params,
    trace: Trace,
    known: Deltas,
    delta: jax.Array,
    *,
    transport: Transport = backprop,
    finite: bool = False,
) -> Deltas:
    """The deltas below any delta_L.

    Args:
      params, trace, transport: as in `deltas`.
      known: of `sample_factors`.
      delta: delta_L of every sample times its factor, a cotangent of the logits,
        (m, C), or (S, m, C) for S passes, float32 or wider.
      finite: whether the trace is of `finite_forward`, and finite in padding.

    Returns:
      The deltas, linear in ``delta``.
    """
    top = with_output(known, delta, trace.logits.dtype)
    weights = doubtful(trace, top.weights, transport) if finite else top.weights
    down = functools.partial(
        backward, params, trace, weights=weights, transport=transport
    )
    (delta,) = top.layers
    # mutants: it is 2 or 3
    return replace(top, layers=(down if delta.ndim == 2 else jax.vmap(down))(delta))


def gradients_below(
    params: Params,
    trace: Trace,
    known: Deltas,
    delta: jax.Array,
    *,
    transport: Transport = backprop,
) -> Params:
    """`gradients` of `carried`, of a trace that is finite in padding as well: each
    layer's as soon as its delta is there, so that no delta of a stack is kept."""
    top = with_output(known, delta, trace.logits.dtype)
    (delta,) = top.layers
    sums = backward(
        params,
        trace,
        delta,
        weights=doubtful(trace, top.weights, transport),
        transport=transport,
        keep=the_gradient,
    )
    return as_gradient(sums, trace, top)


def doubtful(
    trace: Trace, weights: jax.Array | None, transport: Transport
) -> jax.Array | None:
    """The weights where they are needed on the way down: in padding the error is 0, and
    B6 and B7 leave it 0, but for an h' that may have poles, or another transport."""
    exact = transport is backprop and all(h.finite for h in trace.hidden)
    return None if exact else weights


def backward(
    params: Params,
    trace: Trace,
    delta: jax.Array,
    *,
    weights: jax.Array | None = None,
    transport: Transport = backprop,
    keep: Keep[Kept] = the_delta,
) -> tuple[Kept, ...]:
    """B6 and B7 layer by layer, from any delta_L down: the transposed Jacobian of d_L.

    Args:
      params, trace, transport: as in `deltas`.
      delta: delta_L, (m, C), in the parameters' dtype.
      weights: w, (m,), or None: rows of weight 0 must stay 0, whatever h' is there.
      keep: what is kept of each layer: its delta, or its gradient.

    Returns:
      (delta_1, ..., delta_L), each (m, n_k), or what is kept: linear in ``delta``.
    """
    carry = carry_back(transport, delta)
    places = [where.sharding for where, _ in trace.placements]
    at = trace.activations[-1], trace.masks[-1]
    from_the_top = [keep(*at, delta, places[-1])]
    if not trace.hidden:
        return tuple(from_the_top)
    cotangent = carry(depth(params) - 1, delta, params[-1].weight, *at)  # B6, D2
    below = zip(trace.hidden_layers, params[:-1], places[:-1], strict=True)
    for hidden, layer, place in reversed(list(below)):
        if is_stack(layer):
            kept, cotangent = stack_backward(
                hidden,
                layer,
                cotangent,
                carry,
                weights,
                keep=keep,
                place=inner(place),
                looped=transport is backprop,
            )
        else:
            at = hidden.inputs, hidden.mask
            delta = layer_backward(hidden, hidden.output, cotangent, weights)  # B7
            kept = keep(*at, delta, place)
            if hidden.k > 1:
                cotangent = carry(hidden.k - 1, delta, layer.weight, *at)  # B6, D2
        from_the_top.append(kept)
    return tuple(reversed(from_the_top))
