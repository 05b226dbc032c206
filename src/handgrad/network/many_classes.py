"""The last layer and the loss of many classes, a chunk of the classes at a time.

Two walks over the chunks, and no array of all samples by all classes in either:

    up     F1 of a chunk, K1, K2   -> the summary of every row, and by K3 its loss
    down   F1 once more, K4 (B3)   -> B4 and B5 of the chunk's columns, which are whole
                                      by that, and what the chunk adds to B6

The chunks have ``chunk`` classes each, but for the first, which has what is left over:
nothing is padded. Its logits are kept between the walks; those of the others are
computed twice, one matrix product of a chunk more than autodiff would need.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from handgrad.network.affine import (
    affine_backward_bias,
    affine_backward_inputs,
    affine_backward_weight,
    affine_forward,
)
from handgrad.network.class_chunks import (
    Summary,
    chunk_delta,
    merge,
    summary,
    summary_losses,
)
from handgrad.network.mean import per_sample, silence
from handgrad.network.placement import placement
from handgrad.network.softmax_nll import class_of, is_class
from handgrad.network.types import Layer, Smoothed


class Walk(NamedTuple):
    """What both walks see."""

    inputs: jax.Array  # a_{L-1}, dropout applied, (m, n)
    layer: Layer  # W_L, (n, C), and b_L
    targets: jax.Array | Smoothed  # (m,), (m, C), or labels and epsilon
    weights: jax.Array | None  # w, (m,)
    chunk: int  # classes at a time, 1 ... C

    @property
    def classes(self) -> int:
        return self.layer.bias.shape[0]  # mutants: one axis


class Rows(NamedTuple):
    """What the walk up leaves."""

    summary: Summary  # of all classes
    known: jax.Array | None  # whether the label is a class; None for distributions
    kept: jax.Array  # the logits of the first chunk, (m, c)


class Errors(NamedTuple):
    """What the walk down leaves; sums are float32 or wider."""

    weight: jax.Array  # B4, (n, C)
    bias: jax.Array  # B5, (C,)
    inputs: jax.Array  # B6: what each sample counts times dl/da_{L-1}, (m, n)
    squares: jax.Array | None  # |dl_i/dd_L|^2, (m,), of the sample's own loss


def walk_up(walk: Walk, *, best: bool) -> Rows:
    """F1, K1 and K2 over all chunks; ``best``: whether to find the likeliest class."""

    def of_chunk(start: Any, size: int) -> tuple[Summary, jax.Array]:
        logits = _logits(walk, start, size)
        targets = _targets(walk, start, size)
        first = jnp.asarray(start, jnp.int32) if best else None
        return summary(logits, targets, first), logits

    def add(row: Summary, start: jax.Array) -> Summary:
        return merge(row, of_chunk(start, walk.chunk)[0])

    row, kept = of_chunk(0, _first(walk))
    return Rows(_over_the_rest(walk, row, add), _known(walk), kept)


def losses(rows: Rows) -> jax.Array:
    """K3: l, (m,); NaN for a label outside 0 ... C-1."""
    found = summary_losses(rows.summary)
    return found if rows.known is None else jnp.where(rows.known, found, jnp.nan)


def walk_down(walk: Walk, rows: Rows, factor: jax.Array, *, squares: bool) -> Errors:
    """K4, and B4 to B6, over all chunks.

    Args:
      walk: as it went up.
      rows: of `walk_up`.
      factor: what multiplies the error of each sample, (m,) or scalar; see
        `sample_factors`.
      squares: whether to measure the errors of single samples.

    Returns:
      The errors of the last layer, multiplied by the factor, but for the squares.
    """
    if rows.known is not None:
        factor = jnp.where(rows.known, factor, jnp.nan)
    lies = placement(walk.layer.weight).sharding

    def of_chunk(start: Any, size: int, logits: jax.Array) -> Errors:
        own = chunk_delta(logits, _targets(walk, start, size), rows.summary)
        delta = silence(per_sample(factor, own) * own, walk.weights)
        delta = delta.astype(logits.dtype)
        weight = _columns(walk.layer.weight, start, size)
        return Errors(
            affine_backward_weight(walk.inputs, delta, lies),
            affine_backward_bias(delta),
            affine_backward_inputs(delta, weight, own.dtype),
            jnp.sum(own * own, axis=1) if squares else None,
        )

    def add(found: Errors, start: jax.Array) -> Errors:
        more = of_chunk(start, walk.chunk, _logits(walk, start, walk.chunk))
        weight = _put(found.weight, more.weight, start)
        bias = _put(found.bias, more.bias, start)
        added = jax.tree.map(jnp.add, found[2:], more[2:])
        return Errors(weight, bias, *added)

    first = of_chunk(0, _first(walk), rows.kept)
    rest = (0, walk.classes - _first(walk))
    first = first._replace(
        weight=jnp.pad(first.weight, ((0, 0), rest)), bias=jnp.pad(first.bias, rest)
    )
    return _over_the_rest(walk, first, add)


def _first(walk: Walk) -> int:
    """Classes of the first chunk: with it, the others have ``chunk`` each."""
    return (walk.classes - 1) % walk.chunk + 1


def _over_the_rest(walk: Walk, start: Any, add: Callable[[Any, jax.Array], Any]) -> Any:
    """What ``add`` makes of the first chunk's part, chunk after chunk."""
    first = _first(walk)

    def body(j: jax.Array, found: Any) -> Any:
        return add(found, (first + j * walk.chunk).astype(jnp.int32))

    return jax.lax.fori_loop(0, (walk.classes - first) // walk.chunk, body, start)


def _logits(walk: Walk, start: Any, size: int) -> jax.Array:
    """F1 of the chunk's columns: (m, c), finite where the weight is 0."""
    weight = _columns(walk.layer.weight, start, size)
    bias = _columns(walk.layer.bias, start, size)
    return silence(affine_forward(walk.inputs, weight, bias), walk.weights)


def _targets(walk: Walk, start: Any, size: int) -> jax.Array:
    """The targets of a chunk as K1 and K4 take them."""
    if isinstance(walk.targets, Smoothed):
        labels, epsilon = walk.targets
        return _smooth(walk, labels, jnp.asarray(epsilon), start, size)
    if walk.targets.ndim == 2:  # mutants: it is 1 or 2
        return silence(_columns(walk.targets, start, size), walk.weights)
    y, _ = class_of(walk.targets, walk.classes)
    return y - start


def _smooth(
    walk: Walk, labels: jax.Array, epsilon: jax.Array, start: Any, size: int
) -> jax.Array:
    """(1 - epsilon) e(y) + epsilon / C for the classes of a chunk, (m, c)."""
    y, known = class_of(labels, walk.classes)
    evenly = epsilon * (1 / jnp.asarray(walk.classes, epsilon.dtype))
    rows = jnp.zeros((labels.shape[0], size), epsilon.dtype)  # mutants: one axis
    q = jnp.where(is_class(rows, y - start), 1 - epsilon + evenly, evenly)
    return silence(jnp.where(known[:, None], q, jnp.nan), walk.weights)


def _known(walk: Walk) -> jax.Array | None:
    # mutants: it is 1 or 2
    if isinstance(walk.targets, Smoothed) or walk.targets.ndim == 2:
        return None
    return class_of(walk.targets, walk.classes)[1]


def _columns(array: jax.Array, start: Any, size: int) -> jax.Array:
    """Columns start ... start + size - 1, of a matrix or a vector."""
    return jax.lax.dynamic_slice_in_dim(array, start, size, axis=-1)


def _put(whole: jax.Array, part: jax.Array, start: Any) -> jax.Array:
    """The array with the part in the columns from ``start`` on."""
    return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=-1)
