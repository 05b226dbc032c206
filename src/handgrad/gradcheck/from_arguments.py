"""Causes told by asking autodiff again, with other arguments: one evaluation each."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.claims import Case, Claim, fitted
from handgrad.gradcheck.from_numbers import class_counts, may_weigh
from handgrad.gradcheck.trees import is_array, is_floating, to_numpy

Gradients = dict[str, np.ndarray]

MOST_CLASSES = 32
"""Evaluations to spend on labels that the loss takes only as integers."""


def ask(case: Case, params: Any, args: Sequence[Any]) -> Gradients | None:
    """The gradient in float64 at another point; None if the loss refuses it."""
    try:
        found = case.question.truth_at(params, args)
    except Exception:  # the loss may refuse such arguments in any way
        return None
    return found if all(np.isfinite(g).all() for g in found.values()) else None


def weights_ignored(case: Case) -> Iterator[Claim]:
    """Sample weights or a mask replaced by ones, with either normaliser."""
    m, question = case.question.batch, case.question
    if m is None:
        return
    leaves, structure = jax.tree.flatten(question.args)
    for i, leaf in enumerate(leaves):
        if not is_array(leaf) or np.shape(leaf) != (m,) or not may_weigh(leaf):
            continue
        ones = [*leaves[:i], jnp.ones_like(leaf), *leaves[i + 1 :]]
        found = ask(case, question.params, jax.tree.unflatten(structure, ones))
        if found is None:
            continue
        total = float(np.sum(to_numpy(leaf)))
        for ratio in (1.0, m / total, total / m) if total else (1.0,):
            paths = case.explained(lambda s, k=ratio, f=found: k * f[s.path])
            if paths:
                said = (
                    f"The gradient as if argument leaf {i} (weights or mask, sum "
                    f"{total:.4g}) were all 1. Multiply each sample's delta by it."
                )
                yield Claim.same("weights_ignored", paths, said)


def label_smoothing(case: Case) -> Iterator[Claim]:
    """Targets mixed with the uniform distribution: g + eps (g_uniform - g)."""
    for uniform in _uniform_gradients(case):
        for t, paths in fitted(case, lambda s, f=uniform: f[s.path] - s.truth):
            how = "smoothed by" if t > 0 else "sharpened by"
            said = (
                f"The gradient for targets {how} {abs(t):.4g}, which those of the loss "
                "are not. Give loss and gradient the same targets."
            )
            yield Claim.same("label_smoothing", paths, said)


def _uniform_gradients(case: Case) -> Iterator[Gradients]:
    """The gradients with each argument that may be targets replaced by 1/C.

    By the first distribution that the loss accepts, and else by the mean over labels
    that are all of one class, for each C that there may be.
    """
    leaves, structure = jax.tree.flatten(case.question.args)
    for i, leaf in enumerate(leaves):

        def put(new: Any, i: int = i) -> Gradients | None:
            args = jax.tree.unflatten(structure, [*leaves[:i], new, *leaves[i + 1 :]])
            return ask(case, case.question.params, args)

        whole = next(filter(None, map(put, _uniform(case, leaf))), None)
        if whole:
            yield whole
            continue
        for classes in _class_counts_of(case, leaf):
            if classes <= MOST_CLASSES:
                found = [put(jnp.full_like(leaf, c)) for c in range(classes)]
                known = [gradients for gradients in found if gradients]
                if len(known) == classes:
                    paths = case.evidence
                    yield {p: np.mean([g[p] for g in known], axis=0) for p in paths}


def _uniform(case: Case, leaf: Any) -> Iterator[np.ndarray]:
    """The uniform distributions that may stand for ``leaf``."""
    m = case.question.batch
    if is_array(leaf) and is_floating(leaf) and np.ndim(leaf) == 2 and len(leaf) == m:
        rows = np.sum(to_numpy(leaf), axis=1)
        if np.allclose(rows, 1, atol=float(8 * jnp.finfo(leaf.dtype).eps)):
            yield np.full(leaf.shape, 1 / leaf.shape[1])
    for classes in _class_counts_of(case, leaf):
        yield np.full((len(leaf), classes), 1 / classes)


def _class_counts_of(case: Case, leaf: Any) -> list[int]:
    """What C may be where ``leaf`` may be labels."""
    if not is_array(leaf) or np.shape(leaf) != (case.question.batch,):
        return []
    if not jnp.issubdtype(leaf.dtype, jnp.integer):
        return []
    return [c for c in class_counts(case) if np.all(np.asarray(leaf) < c)]


def stale(case: Case) -> Iterator[Claim]:
    """The gradient at one of the points that the caller offered."""
    for name, (params, *args) in case.question.alternatives.items():
        found = ask(case, params, args)
        if found is not None:
            paths = [
                s.path
                for s in case.suspects
                if s.path in found and s.explained_by(found[s.path])
            ]
            if paths:
                said = f"This is the gradient at another point: {name}."
                yield Claim.same("stale", paths, said)
