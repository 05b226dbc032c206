"""Causes that concern a part of a leaf, or its axes.

A factor on some rows, columns or the diagonal; a sum over an axis too many, or too few;
rows that several samples write, and the last one wins.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.causes.claims import (
    CONFIRMED,
    Claim,
    Mismatch,
    explains_most,
    listed,
)
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.norms import largest, projection, rms
from handgrad.gradcheck.reference.tolerance import STRICT
from handgrad.gradcheck.trees import is_array


def scale_of_part(mismatch: Mismatch) -> Iterator[Claim]:
    """A factor on some lines, on the diagonal, or on all but the diagonal."""
    texts = {}
    for leaf in mismatch.unexplained:
        for name, part in _parts(leaf):
            if text := _scaled(leaf, name, part):
                texts[leaf.path] = text
                break
    if texts:
        yield Claim("scale", texts)


def zero_part(mismatch: Mismatch) -> Iterator[Claim]:
    """Zero above, below, on or off the diagonal, where the gradient is not."""
    texts = {}
    for leaf in mismatch.unexplained:
        for name, part in _triangles(leaf.truth.shape):
            empty = not leaf.candidate[part].any() and leaf.truth[part].any()
            if empty and leaf.explained_by(np.where(part, 0.0, leaf.truth)):
                texts[leaf.path] = f"Zero {name}, the rest right."
    if texts:
        yield Claim("zero", texts)


def _triangles(shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return
    row, column = np.indices(shape[-2:])
    places = {
        "above the diagonal": row < column,
        "below the diagonal": row > column,
        "on the diagonal": row == column,
        "off the diagonal": row != column,
    }
    for name, part in places.items():
        yield name, np.broadcast_to(part, shape)


def _parts(leaf: Comparison) -> Iterator[tuple[str, np.ndarray]]:
    """(name, mask) of the parts that may hold all that is wrong."""
    shape = leaf.truth.shape
    if len(shape) < 2 or not np.isfinite(leaf.candidate).all():
        return
    off = np.abs(leaf.residual) > leaf.floor.worst
    if shape[-1] == shape[-2]:
        diagonal = np.broadcast_to(np.eye(shape[-1], dtype=bool), shape)
        yield "on the diagonal", diagonal
        yield "everywhere but on the diagonal", ~diagonal
    for axis, name in ((0, "row"), (1, "column")):
        others = tuple(i for i in range(len(shape)) if i != axis)
        lines = np.flatnonzero(off.any(axis=others))
        if 0 < len(lines) <= shape[axis] / 2:  # mutants: lines are whole
            mask = np.zeros(shape, bool)
            np.moveaxis(mask, axis, 0)[lines] = True
            yield f"in {listed(_line(name, axis, shape), lines)}", mask


def _line(name: str, axis: int, shape: tuple[int, ...]) -> str:
    # mutants: it is 2 or more
    return name if len(shape) == 2 else f"index of axis {axis}"


def _scaled(leaf: Comparison, name: str, part: np.ndarray) -> str:
    if part.sum() < CONFIRMED:
        return ""
    t = projection(leaf.residual[part], leaf.truth[part])
    prediction = np.where(part, (1 + t) * leaf.truth, leaf.truth)
    if not leaf.explained_by(prediction) or not explains_most(leaf, prediction):
        return ""
    return f"{1 + t:.6g} times the gradient {name}, the rest right."


def reduced(mismatch: Mismatch) -> Iterator[Claim]:
    """The sum, or the mean, over an axis that should have stayed; or the reverse."""
    texts = {}
    for path in mismatch.wrong:
        leaf = mismatch.leaves.get(path)
        if leaf is not None and (text := _reduced(leaf) or _unreduced(leaf)):
            texts[path] = text
    if texts:
        yield Claim("reduced", texts)


def _reduced(leaf: Comparison) -> str:
    truth, given = leaf.truth, leaf.candidate
    for axis in range(truth.ndim):
        if truth.shape[axis] < 2 or truth.size < CONFIRMED:
            continue
        for how, of in (("summed", np.sum), ("averaged", np.mean)):
            whole = of(truth, axis=axis, keepdims=True)
            if given.shape not in (truth.shape, whole.shape, whole.squeeze(axis).shape):
                continue
            spread = given if given.ndim == truth.ndim else np.expand_dims(given, axis)
            expected = np.broadcast_to(whole, truth.shape)
            wider = np.sqrt(truth.shape[axis]) if of is np.sum else 1.0
            filled = np.broadcast_to(spread, truth.shape)
            if _same(leaf, filled, expected, wider) and not _slight(leaf, expected):
                shape = "" if given.shape == truth.shape else _must(leaf)
                return (
                    f"{how.capitalize()} over axis {axis}, of {truth.shape[axis]}, "
                    f"which is one axis too many.{shape}"
                )
    return ""


def _unreduced(leaf: Comparison) -> str:
    truth, given = leaf.truth, leaf.candidate
    if given.ndim != truth.ndim + 1:
        return ""
    for axis in range(given.ndim):
        if np.delete(given.shape, axis).tolist() != list(truth.shape):
            continue
        if given.shape[axis] < 2:
            continue
        if _same(leaf, np.sum(given, axis=axis), truth):
            return f"Not summed over axis {axis}: its sum is right.{_must(leaf)}"
    return ""


def _must(leaf: Comparison) -> str:
    return f" The shape must be {leaf.truth.shape}, got {leaf.candidate.shape}."


def _same(
    leaf: Comparison, given: np.ndarray, expected: np.ndarray, wider: float = 1.0
) -> bool:
    """Whether they agree up to rounding, which sums add up."""
    if not np.isfinite(given).all() or not expected.any():
        return False
    return leaf.excess_of(given - expected, leaf.stretch(expected) * wider) <= STRICT


def _slight(leaf: Comparison, expected: np.ndarray) -> bool:
    """Whether the truth explains a candidate as well, nearly."""
    return not leaf.misshapen and not explains_most(leaf, expected)


def overwritten(mismatch: Mismatch) -> Iterator[Claim]:
    """Rows that an index names more than once hold one share of several."""
    texts = {}
    for leaf in mismatch.unexplained:
        if leaf.truth.ndim == 0 or not np.isfinite(leaf.candidate).all():
            continue
        others = tuple(range(1, leaf.truth.ndim))
        off = np.abs(leaf.residual) > leaf.floor.worst
        wrong = np.flatnonzero(off.any(axis=others))
        for often in _repeated(mismatch, len(leaf.truth)):
            live = leaf.truth.any(axis=others)
            must = np.flatnonzero((often > 1) & live)
            once = np.flatnonzero((often == 1) & live)
            if not len(once) or not np.array_equal(wrong, must):
                continue
            if not _parallel(leaf, must):
                texts[leaf.path] = (
                    f"Only {listed('row', wrong)} wrong, and just those are named more "
                    "than once by an index: what is written last wins. Add instead."
                )
    if texts:
        yield Claim("overwritten", texts)


def _parallel(leaf: Comparison, rows: np.ndarray) -> bool:
    """Whether rows of the candidate are multiples of those of the truth.

    One share of several is none; what is divided, or left out, is.
    """
    truth, given = (
        a[rows].reshape(len(rows), -1) for a in (leaf.truth, leaf.candidate)
    )
    square = np.sum(np.abs(truth) ** 2, 1, keepdims=True)
    shares = np.sum(np.conj(truth) * given, 1, keepdims=True) / square
    return truth.shape[1] > 1 and largest(given - shares * truth) <= leaf.floor.worst


def averaged(mismatch: Mismatch) -> Iterator[Claim]:
    """Rows that are divided by how often an index names them."""
    texts = {}
    for leaf in mismatch.unexplained:
        for often in _repeated(mismatch, len(leaf.truth) if leaf.truth.ndim else 0):
            counts = np.maximum(often, 1).reshape(-1, *[1] * (leaf.truth.ndim - 1))
            prediction = leaf.truth / counts
            if leaf.explained_by(prediction) and explains_most(leaf, prediction):
                texts[leaf.path] = (
                    "Each row is divided by how often an index names it: a mean where "
                    "a sum must be."
                )
    if texts:
        yield Claim("scale", texts)


def _repeated(mismatch: Mismatch, rows: int) -> Iterator[np.ndarray]:
    """How often each integer argument names each row."""
    point = mismatch.check.point
    trees = (point.params, point.args, list(mismatch.others.values()))
    for leaf in jax.tree.leaves(trees):
        if not is_array(leaf) or not jnp.issubdtype(leaf.dtype, jnp.integer):
            continue
        index = np.asarray(leaf).ravel()
        if rows and index.size > 1 and index.min() >= -rows and index.max() < rows:
            yield np.bincount(index % rows, minlength=rows)


def straight_through(mismatch: Mismatch) -> Iterator[Claim]:
    """A gradient where the true one is zero, as that of rounding is."""
    paths = [
        leaf.path
        for leaf in mismatch.unexplained
        if not leaf.truth.any() and rms(leaf.candidate) > 0
    ]
    if paths:
        text = (
            "The true gradient is zero: the loss does not change with this leaf, or "
            "only by jumps. A straight-through rule is none of its derivatives."
        )
        yield Claim.same("straight_through", paths, text)
