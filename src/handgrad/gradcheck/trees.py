"""Pytrees as a check sees them: named leaves, and which of them have a gradient.

A leaf has a gradient if it is a floating or complex array, or a Python float or complex
number. Integers, keys, strings and functions have none; they are carried along as they
are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any


class Split(NamedTuple):
    """A pytree taken apart into named leaves.

    Attributes:
      structure: the treedef.
      paths: one name per leaf, such as ``[0].weight``; ``(params)`` for a bare array.
      leaves: the leaves, of any type.
      floating: the indices of the leaves that have a gradient.
    """

    structure: Any
    paths: tuple[str, ...]
    leaves: tuple[Any, ...]
    floating: tuple[int, ...]

    @property
    def values(self) -> list[Any]:
        """The leaves that have a gradient, in order."""
        return [self.leaves[i] for i in self.floating]

    @property
    def floating_paths(self) -> list[str]:
        """The names of the leaves that have a gradient, in order."""
        return [self.paths[i] for i in self.floating]

    @property
    def keys(self) -> list[Any]:
        """The paths of all leaves as JAX gives them, in order."""
        tree = jax.tree.unflatten(self.structure, self.leaves)
        return [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]

    def merge(self, values: Sequence[Any]) -> Tree:
        """The tree with its floating leaves replaced, in order, by ``values``."""
        leaves = list(self.leaves)
        for i, value in zip(self.floating, values, strict=True):
            leaves[i] = value
        return jax.tree.unflatten(self.structure, leaves)


def split(tree: Tree) -> Split:
    """Take ``tree`` apart."""
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    paths = tuple(name_of(path) for path, _ in found)
    leaves = tuple(leaf for _, leaf in found)
    floating = tuple(i for i, leaf in enumerate(leaves) if is_differentiable(leaf))
    return Split(structure, paths, leaves, floating)


def name_of(path: Any) -> str:
    """``[0].weight`` and the like; ``(params)`` for a tree that is a single leaf."""
    return jax.tree_util.keystr(path) or "(params)"


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array with a numeric dtype of JAX or NumPy."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is a real floating array, or a Python float."""
    if isinstance(leaf, float):
        return True
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)


def is_differentiable(leaf: Any) -> bool:
    """Whether a leaf has a gradient: real or complex, and no integer."""
    return is_floating(leaf) or is_complex(leaf)


def is_complex(leaf: Any) -> bool:
    """Whether a leaf is complex: an array, or a Python number."""
    if isinstance(leaf, complex):
        return True
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.complexfloating)


def dtype_of(leaf: Any) -> np.dtype:
    """The dtype in which a floating leaf is computed with."""
    return np.dtype(jnp.result_type(leaf))


def to_numpy(leaf: Any) -> np.ndarray:
    """A leaf as float64, or complex128, on the host, exactly."""
    return np.asarray(leaf).astype(np.complex128 if is_complex(leaf) else np.float64)


def map_differentiable(function: Any, tree: Tree) -> Tree:
    """Apply ``function`` to the arrays that have a gradient; leave the rest alone."""

    def visit(leaf: Any) -> Any:
        return function(leaf) if is_array(leaf) and is_differentiable(leaf) else leaf

    return jax.tree.map(visit, tree)


def batch_size(args: Sequence[Tree]) -> int | None:
    """m: the leading size that most arrays among ``args`` share, or None.

    A tie goes to the earlier argument.
    """
    sizes = [
        np.shape(leaf)[0]
        for leaf in jax.tree.leaves(args)
        if is_array(leaf)
        and np.ndim(leaf) > 0  # mutants: it is 0 or more
        and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    return max(sizes, key=sizes.count) if sizes else None
