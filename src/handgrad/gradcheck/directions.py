"""Random directions, and inner products with them, over pytrees of any output.

An output is looked at through its real parts: a complex leaf is two of them, an integer
or boolean leaf is none, so that <u, output> is real and linear whatever the output is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.randomness import seeds_of, stream
from handgrad.gradcheck.reference.norms import largest, rms
from handgrad.gradcheck.trees import (
    Tree,
    dtype_of,
    is_array,
    is_complex,
    is_floating,
    to_numpy,
)


class Complex(NamedTuple):
    """The real parts of a complex leaf."""

    real: Any
    imag: Any


def generator(key: jax.Array | None, use: int) -> np.random.Generator:
    """Random numbers of a key (default: of key 0), another stream for every use."""
    return stream("direction", use, *seeds_of(key))


def real_parts(output: Tree) -> Tree:
    """The output with complex leaves taken apart, and without leaves that are whole."""

    def part(leaf: Any) -> Any:
        if is_complex(leaf) or jnp.issubdtype(
            jnp.result_type(leaf), jnp.complexfloating
        ):
            return Complex(jnp.real(leaf), jnp.imag(leaf))
        return leaf if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None

    return jax.tree.map(part, output)


def normal(numbers: np.random.Generator, tree: Tree) -> Tree:
    """Standard normal numbers in the shapes and dtypes of the floating leaves."""

    def draw(leaf: Any) -> Any:
        values = numbers.standard_normal(np.shape(leaf))
        if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            values = values + 1j * numbers.standard_normal(np.shape(leaf))
        return jnp.asarray(values, jnp.result_type(leaf))

    return jax.tree.map(draw, tree)


def sized(numbers: np.random.Generator, leaf: Any) -> Any:
    """A normal direction as large as a floating leaf; of size 1 where that is zero."""
    values = to_numpy(leaf)
    finite = np.where(np.isfinite(values), values, 0.0)
    size = rms(finite) if largest(finite) > 0 else 1.0
    drawn = size * numbers.standard_normal(values.shape)
    # an infinity is a border that no step crosses
    return jnp.asarray(np.where(np.isfinite(values), drawn, 0.0), dtype_of(leaf))


def inner(u: Tree, parts: Tree) -> jax.Array:
    """<u, parts>, in float32, or in float64 if there is any."""
    pairs = list(zip(jax.tree.leaves(u), jax.tree.leaves(parts), strict=True))
    double = any(dtype_of(leaf) == np.float64 for _, leaf in pairs)
    wide = jnp.float64 if double else jnp.float32
    total = jnp.zeros((), wide)
    for weight, leaf in pairs:
        total += jnp.sum(jnp.asarray(weight, wide) * jnp.asarray(leaf, wide))
    return total


def zero_tangent(leaf: Any) -> Any:
    """The zero that JAX takes for the tangent of a leaf: float0 where it is whole."""
    if is_floating(leaf) or is_complex(leaf):
        return jnp.zeros(np.shape(leaf), jnp.result_type(leaf))
    if is_array(leaf) or isinstance(leaf, bool | int):
        return np.zeros(np.shape(leaf), jax.dtypes.float0)
    return None
