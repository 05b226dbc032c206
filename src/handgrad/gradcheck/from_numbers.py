"""Causes told from candidate and truth alone: form, zeros, factors, single entries."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.claims import Case, Claim, fitted
from handgrad.gradcheck.evidence import Evidence
from handgrad.gradcheck.trees import is_array, to_numpy


def nonfinite(case: Case) -> Iterator[Claim]:
    """NaN or infinity; the other entries may be right or not."""
    bad = {s.path: ~np.isfinite(s.candidate) for s in case.suspects}
    bad = {path: where for path, where in bad.items() if where.any()}
    if bad:
        first = next(iter(bad))
        yield Claim(
            "nonfinite",
            {
                path: f"{_count(where)} not finite, the first at {_index(where)}; the "
                f"first such leaf is {first}. The true gradient is finite: look for "
                "a division by a probability, or exp and log that overflow."
                for path, where in bad.items()
            },
        )


def zero(case: Case) -> Iterator[Claim]:
    """Zero where the gradient is not: the whole leaf, or some rows or columns."""
    whole = [s.path for s in case.suspects if not s.candidate.any() and s.truth.any()]
    if whole:
        said = "The leaf is zero: nothing is carried back to it, or it is forgotten."
        yield Claim.same("zero", whole, said)
    for axis, name in ((0, "row"), (1, "column")):
        told = {s.path: _zero_lines(s, axis, name) for s in case.suspects}
        told = {path: said for path, said in told.items() if said}
        if told:
            yield Claim("zero", told)


def _zero_lines(leaf: Evidence, axis: int, name: str) -> str:
    """A sentence if lines along ``axis`` are exactly zero and all else is right."""
    if leaf.truth.ndim < 2 or not leaf.candidate.any():
        return ""
    others = tuple(i for i in range(leaf.truth.ndim) if i != axis)
    empty = ~leaf.candidate.any(axis=others) & leaf.truth.any(axis=others)
    if not empty.any():
        return ""
    prediction = np.where(np.expand_dims(empty, others), 0.0, leaf.truth)
    if not leaf.explained_by(prediction):
        return ""
    return (
        f"{listed(name, np.flatnonzero(empty))} of {empty.size} zero, the rest right."
    )


def sign(case: Case) -> Iterator[Claim]:
    """The negative of the gradient."""
    paths = case.explained(lambda s: -s.truth)
    if paths:
        said = "The gradient has the opposite sign: minus once too often, or forgotten."
        yield Claim.same("sign", paths, said)


def one_entry(case: Case) -> Iterator[Claim]:
    """All entries right but one."""
    told = {}
    for s in case.suspects:
        if s.truth.size < 2:
            continue
        prediction = s.truth.copy()
        prediction[s.worst_index] = s.candidate[s.worst_index]
        if s.explained_by(prediction):
            told[s.path] = (
                f"Only entry {list(s.worst_index)} is wrong: "
                f"{s.candidate[s.worst_index]:.6g} where "
                f"{s.truth[s.worst_index]:.6g} must be."
            )
    if told:
        yield Claim("one_entry", told)


def named_scale(case: Case) -> Iterator[Claim]:
    """A factor that has a name: the batch size, the number of classes and the like."""
    for factor, name in named_factors(case):
        if np.isfinite(factor):
            paths = case.explained(lambda s, k=factor: k * s.truth)
            if paths:
                said = f"{factor:.6g} times the gradient: {name}."
                yield Claim.same("scale", paths, said)


def free_scale(case: Case) -> Iterator[Claim]:
    """Any factor."""
    for t, paths in fitted(case, lambda s: s.truth):
        said = f"{1 + t:.6g} times the gradient, everywhere in the leaf."
        yield Claim.same("scale", paths, said)


def weight_decay(case: Case) -> Iterator[Claim]:
    """A multiple of the parameter, or of its sign, added to the gradient."""
    for t, paths in fitted(case, lambda s: s.parameter):
        said = (
            f"The gradient plus {t:.4g} times the parameter: weight decay that is not "
            "in the loss. Leave it to the optimiser, or add it to the loss."
        )
        yield Claim.same("weight_decay", paths, said)
    for t, paths in fitted(case, _signs):
        said = (
            f"The gradient plus {t:.4g} times the sign of the parameter: an L1 penalty "
            "that is not in the loss."
        )
        yield Claim.same("weight_decay", paths, said)


def _signs(leaf: Evidence) -> np.ndarray:
    """The signs of the parameter; 0 if all are alike, and tell it from no constant."""
    signs = np.sign(leaf.parameter)
    return signs if signs.min() < signs.max() else np.zeros_like(signs)


def named_factors(case: Case) -> Iterator[tuple[float, str]]:
    """Factors that mistakes make, with a name; the likelier first."""
    m = case.question.batch
    if m:
        yield m, "the batch size m, so a sum where the loss is a mean"
        yield 1 / m, "1/m, divided by the batch size m once too often"
        if m > 1:
            yield m / (m - 1), "m/(m-1), divided by m-1 instead of the batch size m"
            yield (m - 1) / m, "(m-1)/m, divided by m where m-1 must stand"
    for total in weight_sums(case):
        if total > 0 and m:
            yield total, "the sum of the weights, which it is not divided by"
            yield total / m, "divided by the batch size m, not the sum of the weights"
            yield m / total, "divided by the sum of the weights, not the batch size m"
            yield 1 / total, "divided by the sum of the weights once too often"
    for classes in class_counts(case):
        yield classes, f"the number of classes, C = {classes}"
        yield 1 / classes, f"1/C, a mean over the C = {classes} classes for a sum"
    yield 2, "a factor 2, as of a square or of something added twice"
    yield 1 / 2, "a factor 1/2"


def weight_sums(case: Case) -> list[float]:
    """The sums of all arguments (m,) that may be sample weights or a mask."""
    m = case.question.batch
    leaves = [leaf for leaf in jax.tree.leaves(case.question.args) if is_array(leaf)]
    fitting = [leaf for leaf in leaves if np.shape(leaf) == (m,) and may_weigh(leaf)]
    return [float(np.sum(to_numpy(leaf))) for leaf in fitting]


def may_weigh(leaf: jax.Array) -> bool:
    """Whether a vector may be sample weights: real or boolean, or integers 0 and 1."""
    if jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == bool:
        return True
    if not jnp.issubdtype(leaf.dtype, jnp.integer):
        return False
    return bool(np.isin(np.asarray(leaf), (0, 1)).all())


def class_counts(case: Case) -> list[int]:
    """What C may be: the last axis of the last parameter, or of a distribution."""
    m = case.question.batch
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(case.question.args)]
    counts = [shape[1] for shape in shapes[1:] if len(shape) == 2 and shape[0] == m]
    last = [s.truth.shape[-1] for s in case.evidence.values() if s.truth.ndim > 0]
    return sorted({n for n in [*counts, *last[-1:]] if n > 1})


def listed(name: str, indices: np.ndarray, limit: int = 8) -> str:
    """Such as "rows 0, 3 and 5 more": a few of the indices, and how many there are."""
    shown = ", ".join(str(int(i)) for i in indices[:limit])
    more = f" and {len(indices) - limit} more" if len(indices) > limit else ""
    return f"{name}{'s' if len(indices) > 1 else ''} {shown}{more}"


def _count(where: np.ndarray) -> str:
    n = int(where.sum())
    return f"{n} of {where.size} entries {'is' if n == 1 else 'are'}"


def _index(where: np.ndarray) -> list[int]:
    return [int(i) for i in np.argwhere(where)[0]]


def where_wrong(leaf: Evidence) -> str:
    """The entry furthest off, and the lines that hold all that is wrong."""
    off = np.abs(leaf.residual) > leaf.floor.worst
    said = f"The largest difference is at {list(leaf.worst_index)}."
    if leaf.truth.ndim != 2 or not off.any():
        return said
    for axis, name in ((0, "row"), (1, "column")):
        lines = np.flatnonzero(off.any(axis=1 - axis))
        if len(lines) <= leaf.truth.shape[axis] / 2:
            return f"{said} All that is wrong lies in {listed(name, lines)}."
    return said
