"""Has the gradient the structure, shapes and dtypes of the parameters?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.trees import Split, Tree, dtype_of, is_array, name_of, to_numpy


@dataclass
class Aligned:
    """A candidate laid beside the parameters.

    Attributes:
      values: the candidate's leaf for each floating parameter, by path, float64; also
        where shape or dtype is wrong. Absent where there is none.
      findings: what is wrong with the form of a leaf, by path.
      extra: the same for paths that the parameters do not have.
      general: what is wrong with the tree as a whole.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    general: list[str] = field(default_factory=list)


def evaluate(gradient: Callable[..., Any], point: Point) -> tuple[Any | None, Aligned]:
    """Call a gradient: the value beside it, if any, and its leaves, aligned."""
    value, tree = unpack(gradient(point.params, *point.args), point.split)
    return value, align(point.split, tree)


def unpack(candidate: Any, split: Split) -> tuple[Any | None, Tree]:
    """(value, gradient) of a candidate that is a gradient, or a pair of both.

    The structure of the parameters decides: what has it is a gradient. A pair whose
    first part is (value, aux) is understood too.
    """
    if jax.tree.structure(candidate) == split.structure:
        return None, candidate
    if isinstance(candidate, tuple) and len(candidate) == 2:
        head = candidate[0]
        if isinstance(head, tuple) and len(head) == 2:  # (value, aux)
            head = head[0]
        # mutants: no tuple is below ()
        if not isinstance(head, tuple | list | dict) and np.shape(head) == ():
            return head, candidate[1]
    return None, candidate


def align(split: Split, tree: Tree) -> Aligned:
    """Lay the leaves of ``tree`` beside those of the parameters, by path."""
    aligned = Aligned()
    given = {name_of(path): leaf for path, leaf in _with_nones(tree)}
    for i, path in enumerate(split.paths):
        leaf = given.pop(path, None)
        if i in split.floating:
            _align_leaf(aligned, path, split.leaves[i], leaf)
    for path, leaf in given.items():
        if leaf is not None:
            aligned.extra[path] = "The parameters have no such leaf. Remove it."
    if not (aligned.findings or aligned.extra):
        _compare_nodes(aligned, split, tree)
    return aligned


def _align_leaf(aligned: Aligned, path: str, parameter: Any, leaf: Any) -> None:
    if leaf is None or not _numeric(leaf):
        aligned.findings[path] = (
            f"A real array of shape {np.shape(parameter)} must stand here, got "
            f"{_what(leaf)}."
        )
        return
    aligned.values[path] = to_numpy(leaf)
    expected, shape = np.shape(parameter), np.shape(leaf)
    dtype, given = dtype_of(parameter), np.dtype(jnp.result_type(leaf))
    if shape != expected:
        aligned.findings[path] = f"The shape must be {expected}, got {shape}."
    elif dtype != given:
        aligned.findings[path] = (
            f"The dtype must be that of the parameter, {dtype}, got {given}. Cast it."
        )


def _compare_nodes(aligned: Aligned, split: Split, tree: Tree) -> None:
    """The same leaves in other containers: a list for a tuple, say."""
    given = jax.tree.structure(tree, is_leaf=_is_none)
    expected = jax.tree.structure(split.merge(split.values), is_leaf=_is_none)
    if given != expected:
        aligned.general.append(
            "the gradient must have the containers of the parameters, "
            f"{expected}, got {given}. Return the same types."
        )


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _with_nones(tree: Tree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_none)


def _numeric(leaf: Any) -> bool:
    if isinstance(leaf, float | int):
        return not isinstance(leaf, bool)
    real = (jnp.floating, jnp.integer)
    return is_array(leaf) and any(jnp.issubdtype(leaf.dtype, kind) for kind in real)


def _what(leaf: Any) -> str:
    if leaf is None:
        return "nothing"
    # mutants: none of those refused casts to it
    if is_array(leaf) and leaf.dtype == jax.dtypes.float0:
        return "float0"
    return str(leaf.dtype) if is_array(leaf) else f"a {type(leaf).__name__}"
