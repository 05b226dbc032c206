"""Has the gradient the structure, shapes and dtypes of the parameters?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.containers import alike, first_difference, same_path
from handgrad.gradcheck.reference.devices import copied
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.reference.program import trace
from handgrad.gradcheck.trees import (
    Split,
    Tree,
    dtype_of,
    is_array,
    is_complex,
    name_of,
    to_numpy,
)


@dataclass
class Aligned:
    """A candidate laid beside the parameters.

    Attributes:
      values: the candidate's leaf for each floating parameter, by path, 64 bits; also
        where shape or dtype is wrong. Absent where there is none.
      findings: what is wrong with the form of a leaf, by path.
      extra: the same for paths that the parameters do not have.
      general: what is wrong with the tree as a whole.
      omitted: why a leaf has no gradient where none need be, by path.
      dtypes: that of a leaf which has another than the parameter, by path.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    findings: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    general: list[str] = field(default_factory=list)
    omitted: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, np.dtype] = field(default_factory=dict)


def evaluate(gradient: Callable[..., Any], point: Point) -> tuple[Any | None, Aligned]:
    """Call a gradient: the value beside it, if any, and its leaves, aligned.

    It is compiled, rounded where it says so, and called as it is if it cannot be.
    """
    try:
        found = _compiled(gradient, point)
    except Exception:  # it looks at numbers, or fails: then it does as it is called
        params, args = copied((point.params, point.args))  # which it may use up
        found = gradient(params, *args)
    value, tree = unpack(found, point.split)
    return value, align(point.split, tree)


def _compiled(gradient: Callable[..., Any], point: Point) -> Any:
    """What a gradient returns, in one program; NumPy's part of it as it is."""
    returned: list[Any] = []

    def arrays(values: list[Any]) -> list[Any]:
        found = gradient(point.split.merge(values), *point.args)
        leaves, structure = jax.tree.flatten(found)
        returned[:] = [leaves, structure]
        return [leaf for leaf in leaves if isinstance(leaf, jax.Array)]

    results = iter(trace(arrays, point.split.values).arrays(point.split.values))
    leaves, structure = returned
    filled = [next(results) if isinstance(x, jax.Array) else x for x in leaves]
    return jax.tree.unflatten(structure, filled)


def unpack(candidate: Any, split: Split) -> tuple[Any | None, Tree]:
    """(value, gradient) of a candidate that is a gradient, or comes with something.

    The structure of the parameters decides: what has it is a gradient. A pair may be
    (value, gradient), ((value, aux), gradient), or (gradient, aux) as of
    ``jax.grad(loss, has_aux=True)``.
    """
    if jax.tree.structure(candidate) == split.structure:
        return None, candidate
    if isinstance(candidate, tuple) and len(candidate) == 2:
        head, tail = candidate
        if isinstance(head, tuple) and len(head) == 2 and _is_scalar(head[0]):
            head = head[0]  # (value, aux)
        if _is_scalar(head) and not (_fits(head, split) and not _fits(tail, split)):
            return head, tail
        if _fits(head, split):
            return None, head
    return None, candidate


def _is_scalar(value: Any) -> bool:
    # mutants: no tuple is below ()
    return not isinstance(value, tuple | list | dict) and np.shape(value) == ()


def _fits(tree: Tree, split: Split) -> bool:
    """Whether a tree has the structure and the shapes of the parameters."""
    if jax.tree.structure(tree) != split.structure:
        return False
    pairs = zip(jax.tree.leaves(tree), split.leaves, strict=True)
    return all(np.shape(a) == np.shape(b) for a, b in pairs)


def align(split: Split, tree: Tree) -> Aligned:
    """Lay the leaves of ``tree`` beside those of the parameters, by path."""
    aligned = Aligned()
    given = {name_of(path): leaf for path, leaf in _with_nones(tree)}
    state = _as_state(split, tree)
    if state is not None:
        given = state
    elif (leaves := _in_other_containers(split, tree)) is not None:
        given = leaves
    for i, path in enumerate(split.paths):
        leaf = given.pop(path, None)
        if state is not None and leaf is None:
            aligned.omitted[path] = "the state holds no gradient of it."
        elif i in split.floating:
            _align_leaf(aligned, path, split.leaves[i], leaf)
    for path, leaf in given.items():
        if leaf is not None:
            aligned.extra[path] = "The parameters have no such leaf. Remove it."
    if not (aligned.findings or aligned.extra) and state is None:
        _compare_nodes(aligned, split, tree)
    return aligned


def _in_other_containers(split: Split, tree: Tree) -> dict[str, Any] | None:
    """The leaves by path, where they stand in the same order in other containers."""
    expected = jax.tree.structure(split.merge(split.values), is_leaf=_is_none)
    if not alike(expected, jax.tree.structure(tree, is_leaf=_is_none)):
        return None
    leaves = [leaf for _, leaf in _with_nones(tree)]
    places = [path for path, _ in _with_nones(split.merge(split.values))]
    return {name_of(p): leaf for p, leaf in zip(places, leaves, strict=True)}


def _as_state(split: Split, tree: Tree) -> dict[str, Any] | None:
    """The leaves of a state that mirrors a module, as of Flax's ``nnx.grad``, by path.

    It has the paths of the module, by keys where the module has attributes.
    """
    if type(tree).__name__ != "State":
        return None
    found = {same_path(path): leaf for path, leaf in _with_nones(tree)}
    given = {}
    for path, keys in zip(split.paths, split.keys, strict=True):
        if (leaf := found.pop(same_path(keys), None)) is not None:
            given[path] = leaf
    return given | {"/".join(path): leaf for path, leaf in found.items()}


def _align_leaf(aligned: Aligned, path: str, parameter: Any, leaf: Any) -> None:
    if leaf is None or not _numeric(leaf, is_complex(parameter)):
        kind = "complex" if is_complex(parameter) else "real"
        aligned.findings[path] = (
            f"A {kind} array of shape {np.shape(parameter)} must stand here, got "
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
        aligned.dtypes[path] = given


def _compare_nodes(aligned: Aligned, split: Split, tree: Tree) -> None:
    """The same leaves in other containers: a list for a tuple, say."""
    given = jax.tree.structure(tree, is_leaf=_is_none)
    expected = jax.tree.structure(split.merge(split.values), is_leaf=_is_none)
    if given != expected:
        aligned.general.append(
            "the gradient must have the containers of the parameters: "
            f"{first_difference(expected, given)}. Return the same types."
        )


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _with_nones(tree: Tree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_none)


def _numeric(leaf: Any, imaginary: bool) -> bool:
    if isinstance(leaf, float | int):
        return not isinstance(leaf, bool)
    if is_complex(leaf):
        return imaginary
    real = (jnp.floating, jnp.integer)
    return is_array(leaf) and any(jnp.issubdtype(leaf.dtype, kind) for kind in real)


def _what(leaf: Any) -> str:
    if leaf is None:
        return "nothing"
    # mutants: none of those refused casts to it
    if is_array(leaf) and leaf.dtype == jax.dtypes.float0:
        return "float0"
    return str(leaf.dtype) if is_array(leaf) else f"a {type(leaf).__name__}"
