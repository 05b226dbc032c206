"""What has a static shape is checked here: once per call, and for free under jit.

Values (labels in range, finite features) are checked where data enters, not here; those
of numbers among the arguments, in `numbers`.
Every message begins with the argument, says what must hold, what came, what to do.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from handgrad.network.types import Deltas, Layer, Masks, Params, Trace, is_stack


def check_params(params: Params) -> None:
    """A non-empty tuple of `Layer` whose shapes chain and whose dtypes agree."""
    if not isinstance(params, tuple) or isinstance(params, Layer) or not params:
        raise TypeError(
            "`params` must be a non-empty tuple of Layer(weight, bias), "
            f"got {type(params).__name__}. See `init`."
        )
    for k, layer in enumerate(params, start=1):
        _check_layer(k, layer)
    _check_stacks(params)
    for k, (below, above) in enumerate(pairwise(params), start=2):
        if above.weight.shape[-2] != below.weight.shape[-1]:
            raise ValueError(
                f"`params` layer {k} must take the {below.weight.shape[-1]} outputs of "
                f"layer {k - 1}, but its weight has shape {above.weight.shape}."
            )
    _check_dtypes(params)


def _check_layer(k: int, layer: Layer) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(
            f"`params` must hold Layer(weight, bias), but layer {k} is a "
            f"{type(layer).__name__}. Wrap it: Layer(weight, bias)."
        )
    for name, leaf in layer._asdict().items():
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"`params` layer {k} must hold arrays, but its {name} is a "
                f"{type(leaf).__name__}. Wrap it: jnp.asarray({name})."
            )
    weight, bias = layer.weight.shape, layer.bias.shape
    one = len(weight) == 2 and bias == weight[1:]
    stack = len(weight) == 3 and weight[1] == weight[2] and bias == weight[:2]
    if not one and not stack:
        raise ValueError(
            f"`params` layer {k} must have weight (n_in, n_out) and bias (n_out,), "
            "or (K, n, n) and (K, n) of K equal layers, "
            f"got weight {weight} and bias {bias}."
        )
    if 0 in bias:  # mutants: no size is below 0
        raise ValueError(f"`params` layer {k} must have a unit, got weight {weight}.")


def _check_stacks(params: Params) -> None:
    """A stack has a layer of its own below it, and another above it."""
    stacks = [True, *map(is_stack, params), True]
    for k, layer in enumerate(params, start=1):
        if is_stack(layer) and (stacks[k - 1] or stacks[k + 1]):
            raise ValueError(
                f"`params` layer {k} of {len(params)} is a stack, of weight "
                f"{layer.weight.shape}, and must have a layer of its own below and "
                "above it. See `stack_layers`; networks side by side are for "
                "`jax.vmap`."
            )


def _check_dtypes(params: Params) -> None:
    names = sorted({leaf.dtype.name for leaf in jax.tree.leaves(params)})
    if len(names) > 1:  # mutants: there is one at least
        raise TypeError(
            f"`params` must have one dtype, got {' and '.join(names)}. "
            "Cast them with jax.tree.map."
        )
    check_floating("params", params[0].weight.dtype)  # mutants: all are of one dtype


def check_floating(name: str, dtype: jnp.dtype) -> None:
    """A floating dtype that JAX can compute in as it is set."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"`{name}` must be floating, got {dtype}.")
    # mutants: no other dtype holds float64
    if dtype == jnp.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            f"`{name}` float64 needs x64: run inside `with jax.enable_x64(True):`."
        )


def check_inputs(params: Params, x: ArrayLike) -> jax.Array:
    """x as an array (m, n_0) of the parameters' dtype."""
    x = jnp.asarray(x)
    # mutants: all are of one dtype
    features, dtype = params[0].weight.shape[0], params[0].weight.dtype
    if x.ndim != 2 or x.shape[1] != features:
        hint = " Pass one sample as x[None, :]." if x.ndim == 1 else ""
        raise ValueError(
            f"`x` must have shape (m, {features}), samples as rows, "
            f"got {x.shape}.{hint}"
        )
    if x.dtype != dtype:
        raise TypeError(
            f"`x` must have the dtype of `params`, {dtype}, got {x.dtype}. "
            f"Cast one of them: x.astype({dtype.name!r})."
        )
    return x


def check_targets(
    targets: ArrayLike, classes: int, samples: int | None = None
) -> jax.Array:
    """targets as an array: integer labels (m,) or floating distributions (m, C)."""
    if isinstance(targets, np.ndarray) and targets.dtype in (np.int64, np.uint64):
        # Where x64 is off the upper half is cut off, and 2^32 would become label 0.
        # mutants: of two dtypes; no class is below 0, and NumPy clips unsigned there
        least = -1 if targets.dtype == np.int64 else 0
        targets = np.clip(targets, least, np.iinfo(np.int32).max).astype(np.int32)
    targets = jnp.asarray(targets)
    m = "m" if samples is None else samples
    fits = targets.ndim in (1, 2) and targets.shape[1:] in ((), (classes,))
    if not fits or samples not in (None, targets.shape[0]):
        raise ValueError(
            f"`targets` must be labels ({m},) or distributions ({m}, {classes}), "
            f"got shape {targets.shape}."
        )
    # mutants: it is 1 or 2, and no other dtype casts to bool
    if targets.ndim == 1 and targets.dtype == bool:
        targets = targets.astype(jnp.int32)
    # mutants: it is 1 or 2
    if targets.ndim == 1 and not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(
            f"`targets` of shape ({m},) are labels and must be integers, "
            f"got {targets.dtype}. Cast them: targets.astype(int)."
        )
    # mutants: it is 1 or 2
    if targets.ndim == 2 and not jnp.issubdtype(targets.dtype, jnp.floating):
        raise TypeError(
            f"`targets` of shape {targets.shape} are distributions and must be "
            f"floating, got {targets.dtype}. Cast them: targets.astype(float)."
        )
    return targets


def check_weights(weights: ArrayLike | None, samples: int) -> jax.Array | None:
    """weights as an array (m,), real; a boolean mask is 0 and 1."""
    if weights is None:
        return None
    weights = jnp.asarray(weights)
    if weights.shape != (samples,):
        raise ValueError(
            f"`weights` must have shape ({samples},), one per sample, "
            f"got {weights.shape}."
        )
    if jnp.issubdtype(weights.dtype, jnp.complexfloating):
        raise TypeError(f"`weights` must be real, got {weights.dtype}.")
    return weights


def check_masks(params: Params, masks: Masks | None, samples: int) -> Masks:
    """One mask (m, n_{k-1}) of the parameters' dtype, or None, per layer input."""
    if masks is None:
        return (None,) * len(params)
    if len(masks) != len(params):
        raise ValueError(
            f"`masks` must have one entry (a mask or None) per layer, {len(params)}, "
            f"got {len(masks)}. See `dropout_masks`."
        )
    for k, (mask, layer) in enumerate(zip(masks, params, strict=True)):
        *stack, inputs, _ = layer.weight.shape
        expected = (*stack, samples, inputs)
        dtype = layer.weight.dtype
        if mask is not None and (mask.shape, mask.dtype) != (expected, dtype):
            raise ValueError(
                f"`masks` entry {k} must be {dtype} of shape {expected}, like the "
                f"input of layer {k + 1}, got {mask.dtype} of shape {mask.shape}."
            )
    return tuple(masks)


def check_trace(params: Params, trace: Trace) -> None:
    """The trace of a forward pass through parameters of these shapes."""
    # mutants: the first layer is no stack
    expected = [params[0].weight.shape[0], *(_width(bias.shape) for _, bias in params)]
    of_units = [(*d.shape[:-2], d.shape[-1]) for d in trace.pre_activations]
    came = [trace.activations[0].shape[1], *map(_width, of_units)]
    if came != expected:
        raise ValueError(
            "`trace` must come from `forward` with these `params`: inputs and layers "
            f"of widths {expected}, got {came}."
        )


def _width(of_units: tuple[int, ...]) -> int | tuple[int, ...]:
    """n, or (K, n) of a stack."""
    return of_units if len(of_units) == 2 else of_units[-1]


def check_deltas(trace: Trace, deltas: Deltas, *, passes: bool = False) -> None:
    """One delta per layer, shaped like the pre-activation that it differentiates.

    With ``passes`` they may have one more axis in front, of several backward passes.
    """
    if not isinstance(deltas, Deltas):
        raise TypeError(
            f"`deltas` must be what `deltas` returns, got {type(deltas).__name__}."
        )
    expected = [d.shape for d in trace.pre_activations]
    came = [delta.shape for delta in deltas.layers]
    # mutants: where their numbers differ, shapes differ below
    several = len({shape[:1] for shape in came}) == 1
    # mutants: the first layer is no stack, and more than 3 axes differ below
    if passes and several and len(came[0]) == 3:
        came = [shape[1:] for shape in came]
    if came != expected:
        raise ValueError(
            "`deltas` must have the shapes of `trace.pre_activations`, "
            f"{expected}, got {[delta.shape for delta in deltas.layers]}."
        )


def check_cotangent(k: int, cotangent: jax.Array, value: jax.Array) -> jax.Array:
    """What a transport made of dl/da_k: an array like a_k."""
    if (cotangent.shape, cotangent.dtype) != (value.shape, value.dtype):
        raise ValueError(
            f"`transport` must give dl/da_{k} like a_{k}, {value.dtype} of shape "
            f"{value.shape}, got {cotangent.dtype} of shape {cotangent.shape}. "
            "Feedback matrices are made for one network: see `init_feedback`."
        )
    return cotangent
