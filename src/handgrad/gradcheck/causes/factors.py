"""Causes that are a factor or an addend: the sign, a scale, a penalty left in."""

from collections.abc import Iterator

import jax
import numpy as np

from handgrad.gradcheck.causes.arguments import class_counts, weight_sums
from handgrad.gradcheck.causes.claims import Claim, Mismatch, fitted
from handgrad.gradcheck.comparison import Comparison


def sign(mismatch: Mismatch) -> Iterator[Claim]:
    """The negative of the gradient."""
    paths = mismatch.explained(lambda s: -s.truth)
    if paths:
        text = "The gradient has the opposite sign: minus once too often, or forgotten."
        yield Claim.same("sign", paths, text)


def conjugate(mismatch: Mismatch) -> Iterator[Claim]:
    """The conjugate of the gradient of a complex leaf."""
    leaves = [s for s in mismatch.unexplained if np.iscomplexobj(s.truth)]
    paths = [s.path for s in leaves if s.explained_by(np.conj(s.truth))]
    if paths:
        text = (
            "The complex conjugate: in JAX the gradient at z = x + iy is dJ/dx - i "
            "dJ/dy, and a cotangent u stands for Re sum u dy. Conjugate the result."
        )
        yield Claim.same("conjugate", paths, text)


def named_scale(mismatch: Mismatch) -> Iterator[Claim]:
    """A factor that has a name: the batch size, the number of classes and the like."""
    for factor, name in named_factors(mismatch):
        if np.isfinite(factor):
            paths = mismatch.explained(lambda s, k=factor: k * s.truth)
            if paths:
                text = f"{factor:.6g} times the gradient: {name}."
                yield Claim.same("scale", paths, text)


def named_factors(mismatch: Mismatch) -> Iterator[tuple[float, str]]:
    """Factors that mistakes make, with a name; the likelier first."""
    if mismatch.check.product:
        yield from _lengths(mismatch)
    else:
        yield from _of_samples(mismatch)
    yield 2, "a factor 2, as of a square or of something added twice"
    yield 1 / 2, "a factor 1/2"


def _lengths(mismatch: Mismatch) -> Iterator[tuple[float, str]]:
    """The lengths of the axes of primals and outputs."""
    seen: set[int] = set()
    shapes = [(path, leaf.truth.shape) for path, leaf in mismatch.leaves.items()]
    shapes += [("the cotangent", np.shape(u)) for u in _arrays(mismatch)]
    for name, shape in shapes:
        sizes = [(n, f"axis {axis} of {name}") for axis, n in enumerate(shape)]
        if len(shape) > 1:
            sizes.append((int(np.prod(shape)), f"all entries of {name}"))
        for n, what in sizes:
            if n > 2 and n not in seen:
                seen.add(n)
                yield n, f"{n} is the length of {what}: a sum where a mean must be"
                yield 1 / n, f"1/{n}, the length of {what}: a mean where a sum must be"


def _arrays(mismatch: Mismatch) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(mismatch.check.point.args)]


def _of_samples(mismatch: Mismatch) -> Iterator[tuple[float, str]]:
    """The batch size, the sum of the weights, the number of classes."""
    m = mismatch.check.point.batch
    if m:
        yield m, "the batch size m, so a sum where the loss is a mean"
        yield 1 / m, "1/m, divided by the batch size m once too often"
        if m > 1:  # mutants: m is 1 or more
            yield m / (m - 1), "m/(m-1), divided by m-1 instead of the batch size m"
            yield (m - 1) / m, "(m-1)/m, divided by m where m-1 must stand"
    for total in weight_sums(mismatch):
        if total > 0 and m:
            yield total, "the sum of the weights, which it is not divided by"
            yield total / m, "divided by the batch size m, not the sum of the weights"
            yield m / total, "divided by the sum of the weights, not the batch size m"
            yield 1 / total, "divided by the sum of the weights once too often"
    for classes in class_counts(mismatch):
        yield classes, f"the number of classes, C = {classes}"
        yield 1 / classes, f"1/C, a mean over the C = {classes} classes for a sum"


def free_scale(mismatch: Mismatch) -> Iterator[Claim]:
    """Any factor."""
    found = fitted(mismatch, lambda s: s.truth)
    if any(np.iscomplexobj(leaf.truth) for leaf in mismatch.unexplained):
        found += fitted(mismatch, lambda s: s.truth, turned=True)
    for t, paths in found:
        text = f"{1 + t:.6g} times the gradient, everywhere in the leaf."
        yield Claim.same("scale", paths, text)


def weight_decay(mismatch: Mismatch) -> Iterator[Claim]:
    """A multiple of the parameter, or of its sign, added to the gradient."""
    if mismatch.check.product:  # which has no penalty
        return
    for t, paths in fitted(mismatch, lambda s: s.parameter):
        text = (
            f"The gradient plus {t:.4g} times the parameter: weight decay that is not "
            "in the loss. Leave it to the optimiser, or add it to the loss."
        )
        yield Claim.same("weight_decay", paths, text)
    for t, paths in fitted(mismatch, _signs):
        text = (
            f"The gradient plus {t:.4g} times the sign of the parameter: an L1 penalty "
            "that is not in the loss."
        )
        yield Claim.same("weight_decay", paths, text)


def _signs(leaf: Comparison) -> np.ndarray:
    """The signs of the parameter; 0 if all are alike, and no more than a constant."""
    signs = np.sign(np.real(leaf.parameter))
    # mutants: min is no more than max
    return signs if signs.min() < signs.max() else np.zeros_like(signs)
