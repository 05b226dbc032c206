"""Causes found by autodiff with other arguments: weights, targets, another point.

One gradient in float64 for each. Which argument may be weights, and which targets of
how many classes, is guessed from shapes, dtypes and values.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.causes.claims import Claim, Mismatch, fitted
from handgrad.gradcheck.reference.float64 import Point, true_gradient
from handgrad.gradcheck.trees import is_array, is_floating, to_numpy

Gradients = dict[str, np.ndarray]

MOST_CLASSES = 32
"""Evaluations to spend on labels that the loss takes only as integers."""


def gradient_at(
    mismatch: Mismatch, params: Any, args: Sequence[Any]
) -> Gradients | None:
    """The gradient in float64 at another point; None if the loss refuses it."""
    try:
        point = Point(mismatch.check.point.loss, params, tuple(args))
        found = true_gradient(point)
    except Exception:  # the loss may refuse such arguments in any way
        return None
    return found if all(np.isfinite(g).all() for g in found.values()) else None


def weights_ignored(mismatch: Mismatch) -> Iterator[Claim]:
    """Sample weights or a mask replaced by ones, with either normaliser."""
    point = mismatch.check.point
    m = point.batch
    if m is None:
        return
    leaves, structure = jax.tree.flatten(point.args)
    for i, leaf in enumerate(leaves):
        if not is_array(leaf) or np.shape(leaf) != (m,) or not may_weigh(leaf):
            continue
        ones = [*leaves[:i], jnp.ones_like(leaf), *leaves[i + 1 :]]
        args = jax.tree.unflatten(structure, ones)
        found = gradient_at(mismatch, point.params, args)
        if found is None:
            continue
        with np.errstate(over="ignore"):
            total = float(np.sum(to_numpy(leaf)))
        for ratio in (1.0, m / total, total / m) if total else (1.0,):
            paths = mismatch.explained(lambda s, k=ratio, f=found: k * f[s.path])
            if paths:
                text = (
                    f"The gradient as if argument leaf {i} (weights or mask, sum "
                    f"{total:.4g}) were all 1. Multiply each sample's delta by it."
                )
                yield Claim.same("weights_ignored", paths, text)


def label_smoothing(mismatch: Mismatch) -> Iterator[Claim]:
    """Targets mixed with the uniform distribution: g + eps (g_uniform - g)."""
    for uniform in _uniform_gradients(mismatch):
        for t, paths in fitted(mismatch, lambda s, f=uniform: f[s.path] - s.truth):
            # mutants: t = 0 explains no wrong leaf
            how = "smoothed by" if t > 0 else "sharpened by"
            text = (
                f"The gradient for targets {how} {abs(t):.4g}, which those of the loss "
                "are not. Give loss and gradient the same targets."
            )
            yield Claim.same("label_smoothing", paths, text)


def _uniform_gradients(mismatch: Mismatch) -> Iterator[Gradients]:
    """The gradients with each argument that may be targets replaced by 1/C.

    By the first distribution that the loss accepts, and else by the mean over labels
    that are all of one class, for each C that there may be.
    """
    leaves, structure = jax.tree.flatten(mismatch.check.point.args)
    for i, leaf in enumerate(leaves):

        def put(new: Any, i: int = i) -> Gradients | None:
            args = jax.tree.unflatten(structure, [*leaves[:i], new, *leaves[i + 1 :]])
            return gradient_at(mismatch, mismatch.check.point.params, args)

        whole = next(filter(None, map(put, _uniform(mismatch, leaf))), None)
        if whole:
            yield whole
            continue
        for classes in _class_counts_of(mismatch, leaf):
            if classes <= MOST_CLASSES:
                found = [put(jnp.full_like(leaf, c)) for c in range(classes)]
                known = [gradients for gradients in found if gradients]
                if len(known) == classes:  # mutants: one for each class at most
                    paths = mismatch.leaves
                    yield {p: np.mean([g[p] for g in known], axis=0) for p in paths}


def _uniform(mismatch: Mismatch, leaf: Any) -> Iterator[np.ndarray]:
    """The uniform distributions that may stand for ``leaf``."""
    m = mismatch.check.point.batch
    if is_array(leaf) and is_floating(leaf) and np.ndim(leaf) == 2 and len(leaf) == m:
        rows = np.sum(to_numpy(leaf), axis=1)
        if np.allclose(rows, 1, atol=float(8 * jnp.finfo(leaf.dtype).eps)):
            yield np.full(leaf.shape, 1 / leaf.shape[1])
    for classes in _class_counts_of(mismatch, leaf):
        yield np.full((len(leaf), classes), 1 / classes)


def _class_counts_of(mismatch: Mismatch, leaf: Any) -> list[int]:
    """What C may be where ``leaf`` may be labels."""
    if not is_array(leaf) or np.shape(leaf) != (mismatch.check.point.batch,):
        return []
    if not jnp.issubdtype(leaf.dtype, jnp.integer):
        return []
    return [c for c in class_counts(mismatch) if np.all(np.asarray(leaf) < c)]


def stale(mismatch: Mismatch) -> Iterator[Claim]:
    """The gradient at one of the points that the caller offered."""
    for name, (params, *args) in mismatch.check.alternatives.items():
        found = gradient_at(mismatch, params, args)
        if found is not None:
            paths = [
                s.path
                for s in mismatch.unexplained
                if s.path in found and s.explained_by(found[s.path])
            ]
            if paths:
                text = f"This is the gradient at another point: {name}."
                yield Claim.same("stale", paths, text)


def weight_sums(mismatch: Mismatch) -> list[float]:
    """The sums of all arguments (m,) that may be sample weights or a mask."""
    point = mismatch.check.point
    leaves = [leaf for leaf in jax.tree.leaves(point.args) if is_array(leaf)]
    fitting = [s for s in leaves if np.shape(s) == (point.batch,) and may_weigh(s)]
    finite = [leaf for leaf in fitting if np.isfinite(np.asarray(leaf)).all()]
    with np.errstate(over="ignore"):  # a mask may hold the largest numbers
        return [float(np.sum(to_numpy(leaf))) for leaf in finite]


def may_weigh(leaf: jax.Array) -> bool:
    """Whether a vector may be sample weights: real or boolean, or integers 0 and 1."""
    # mutants: nothing else casts to bool
    if jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == bool:
        return True
    if not jnp.issubdtype(leaf.dtype, jnp.integer):
        return False
    return bool(np.isin(np.asarray(leaf), (0, 1)).all())


def class_counts(mismatch: Mismatch) -> list[int]:
    """What C may be: the last axis of the last parameter, or of a distribution."""
    point = mismatch.check.point
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(point.args)[1:]]
    counts = [s[1] for s in shapes if len(s) == 2 and s[0] == point.batch]
    truths = [leaf.truth for leaf in mismatch.leaves.values()]
    # mutants: a number of axes is 0 or more
    last = [truth.shape[-1] for truth in truths if truth.ndim > 0]
    return sorted({n for n in [*counts, *last[-1:]] if n > 1})
