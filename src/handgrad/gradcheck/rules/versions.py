"""Other points for a function that is known at one: for a batch, and for a loop."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.trees import is_floating, to_numpy


def versions(primals: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Three points with arguments of the same kind; the first is the one given.

    The second is reversed along every axis and scaled, the third is scaled: a positive
    definite matrix stays one, zeros and infinities stay, and so do signs and sorted
    numbers.
    """
    scaled = [
        tuple(
            jax.tree.map(lambda leaf, k=k, r=r: _version(leaf, k, r), part)
            for part in primals
        )
        for k, r in ((1.125, True), (0.875, False))  # mutants: other versions
    ]
    return [tuple(primals), *scaled]


def _version(leaf: Any, factor: float, reverse: bool) -> Any:
    if not (is_floating(leaf) or hasattr(leaf, "dtype")):
        return leaf
    if not (isinstance(leaf, float) or _numeric(leaf)):
        return leaf
    values = jnp.asarray(leaf)
    sorted_ = values.ndim > 0 and _sorted(values)
    if reverse and not sorted_:
        values = jnp.flip(values)
    if jnp.issubdtype(values.dtype, jnp.inexact):
        values = values * jnp.asarray(factor, values.dtype)
    return values


def _numeric(leaf: Any) -> bool:
    kinds = (jnp.number, jnp.bool_)
    return any(jnp.issubdtype(leaf.dtype, kind) for kind in kinds)


def _sorted(values: jax.Array) -> bool:
    """Whether the numbers rise: bounds, segments and grids must go on doing so."""
    numbers = np.asarray(values)
    if numbers.dtype == bool or np.iscomplexobj(numbers) or numbers.size < 2:
        return False
    flat = to_numpy(numbers.ravel())
    return bool(np.all(flat[1:] >= flat[:-1]))
