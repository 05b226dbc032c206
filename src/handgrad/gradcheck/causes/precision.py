"""The cause `low_precision`: right, but computed in a narrower dtype than its own.

Either the dtype holds every entry, or what is left is noise. Much algebra looks like
noise. But a mistake stays what it is where all numbers are a little different, and
rounding does not: the residual beside the point decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.causes.arguments import weight_sums
from handgrad.gradcheck.causes.claims import CONFIRMED, Claim, Mismatch
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.devices import like
from handgrad.gradcheck.reference.float64 import true_gradient
from handgrad.gradcheck.reference.norms import rms
from handgrad.gradcheck.reference.tolerance import line_lengths
from handgrad.gradcheck.structure import evaluate
from handgrad.gradcheck.trees import map_differentiable, to_numpy

NARROW = (jnp.bfloat16, jnp.float16, jnp.float32)
"""The dtypes to try, the coarsest first."""

ROUNDINGS = 64.0
"""How many epsilons of a narrower dtype a gradient that is rounded to it may be off."""

NOISE = 64
"""Entries needed to tell noise from algebra."""

SPREAD = 16.0
"""How many times more or less than one rounding noise may be, root mean square."""

COHERENT = 4.0
"""Standard deviations that the cosine of noise with a fixed direction may have."""

STEP = 0.03
"""How far all numbers are moved, relative to themselves: by many roundings, or few."""

LASTING = 0.5
"""The cosine from which a residual is the same beside the point."""

STRONGEST = 8.0
"""The share of r^2, in units of 1 / min(rows, columns), that the strongest direction of
noise may hold; it holds 4 of a large square matrix of independent entries."""


def low_precision(mismatch: Mismatch) -> Iterator[Claim]:
    """Values that a narrower dtype holds exactly, or noise of the size it makes."""
    texts, arrays = {}, list(mismatch.others.values())

    def others(leaf: Comparison) -> list[np.ndarray]:
        return [
            a for a in arrays if a.shape == leaf.truth.shape and a.dtype.kind in "fc"
        ]

    @cache
    def beside() -> Mapping[str, np.ndarray]:
        return _residuals_beside(mismatch)

    for s in mismatch.unexplained:
        text = _representable(s, _divisors(mismatch))
        if not text and (noise := _noise(s, others(s))):
            text = "" if _lasts(s.residual, beside().get(s.path)) else noise
        if text:
            texts[s.path] = text + " Compute and accumulate in the dtype of the leaf."
    if texts:
        yield Claim("low_precision", texts)


def _narrower(leaf: Comparison) -> list[np.dtype]:
    eps = jnp.finfo(leaf.dtype).eps
    return [np.dtype(d) for d in NARROW if jnp.finfo(d).eps > eps]


def _divisors(mismatch: Mismatch) -> list[float]:
    """What a sum may have been divided by after it was rounded."""
    m = mismatch.check.point.batch
    # mutants: a factor 2 changes no digit
    return [1.0, *([float(m)] if m else []), *weight_sums(mismatch)]


def _representable(leaf: Comparison, divisors: list[float]) -> str:
    if leaf.truth.size < CONFIRMED:
        return ""
    for dtype in _narrower(leaf):
        most = ROUNDINGS * float(jnp.finfo(dtype).eps) * rms(leaf.truth)
        if rms(leaf.residual) > most:  # mutants: equal to the last bit
            continue  # mutants: the dtypes after it allow less
        for divisor in divisors:
            held = _holds(dtype, leaf.candidate * divisor, leaf)
            if held.all() and not _holds(dtype, leaf.truth * divisor, leaf).all():
                return f"Every entry is a {dtype} number: it was rounded to {dtype}."
    return ""


def _holds(dtype: np.dtype, values: np.ndarray, leaf: Comparison) -> np.ndarray:
    """Where a dtype holds the values, up to a rounding in the dtype of the leaf."""
    if np.iscomplexobj(values):
        parts = np.real(values), np.imag(values)
        return np.logical_and(*(_holds(dtype, part, leaf) for part in parts))
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype).astype(np.float64)
    return np.abs(rounded - values) <= 2 * float(jnp.finfo(leaf.dtype).eps) * np.abs(
        values
    )


def _noise(leaf: Comparison, others: Sequence[np.ndarray]) -> str:
    """Noise: without a component along truth or parameter, and of no low rank."""
    size = rms(leaf.truth)
    if leaf.truth.size < NOISE or size == 0:
        return ""
    relative = rms(leaf.residual) / size
    for dtype in _narrower(leaf):
        unit = float(jnp.finfo(dtype).eps) / 2
        if unit / SPREAD <= relative <= SPREAD * unit and _incoherent(leaf, others):
            return (
                f"What is left looks like noise, {relative:.1g} of the gradient, the "
                f"size that rounding in {dtype} makes."
            )
    return ""


def _residuals_beside(mismatch: Mismatch) -> dict[str, np.ndarray]:
    """What is wrong by path where all numbers are moved; {} where it does not run."""
    point, generator = mismatch.check.point, stream("beside")

    def moved(leaf: Any) -> Any:
        exact = to_numpy(leaf)
        return like(exact * (1 + STEP * generator.standard_normal(exact.shape)), leaf)

    values = [moved(value) for value in point.split.values]
    try:
        beside = point.at(values, map_differentiable(moved, point.args))
        found = evaluate(mismatch.check.gradient, beside)[1].values
        truth = true_gradient(beside)
    except Exception:  # whatever the gradient or the loss of a user raises there
        return {}
    return {path: leaf - truth[path] for path, leaf in found.items()}


def _lasts(here: np.ndarray, beside: np.ndarray | None) -> bool:
    """Whether a residual is much the same beside the point."""
    if beside is None or beside.shape != here.shape or not beside.any():
        return False
    length = np.linalg.norm(here) * np.linalg.norm(beside)
    return bool(abs(np.vdot(here, beside)) > LASTING * length)


def _incoherent(leaf: Comparison, others: Sequence[np.ndarray]) -> bool:
    """Whether the residual points nowhere: along nothing known, line by line either."""
    r = leaf.residual
    known = [leaf.truth, leaf.parameter, np.ones_like(r), *others]
    return not (
        any(points_along(r, p) or follows(r, p) for p in known if p.any())
        or of_low_rank(r)
    )


def points_along(r: np.ndarray, p: np.ndarray) -> bool:
    """Whether the cosine of r and p is more than chance makes it, or that of lines.

    The squares of the cosines of k lines of n entries sum up to k / n by chance, with
    a standard deviation of sqrt(2 k) / n.
    """
    cosine = abs(np.vdot(p, r)) / np.linalg.norm(r) / np.linalg.norm(p)
    if cosine > COHERENT / np.sqrt(r.size):  # mutants: equal to the last bit
        return True
    for n, axis in zip(line_lengths(r.shape), (-1, 0), strict=False):
        norms = np.linalg.norm(r, axis=axis) * np.linalg.norm(p, axis=axis)
        inner = np.abs(np.sum(np.conj(p) * r, axis=axis))
        squares = np.divide(inner, norms, np.zeros_like(norms), where=norms > 0) ** 2
        k = squares.size
        if n > 1 and np.sum(squares) > (k + COHERENT * np.sqrt(2 * k)) / n:
            return True
    return False


def follows(r: np.ndarray, p: np.ndarray) -> bool:
    """Whether r, or r / p, is a function of p: neighbours in p are neighbours in r."""
    order = np.argsort(np.abs(p) if np.iscomplexobj(p) else p, axis=None)
    ratio = np.divide(r, p, np.zeros_like(r * p), where=p != 0)
    for values in (np.real(r).ravel()[order], np.real(ratio).ravel()[order]):
        ranks = np.argsort(np.argsort(values)) - (values.size - 1) / 2
        together = np.sum(ranks[1:] * ranks[:-1]) / max(np.sum(ranks**2), 1.0)
        if abs(together) > COHERENT / np.sqrt(values.size) and _distinct(p):
            return True
    return False


def _distinct(p: np.ndarray) -> bool:
    """Whether p has an order: most of its entries differ."""
    return len(np.unique(p)) > p.size / 2


def of_low_rank(r: np.ndarray) -> bool:
    """Whether a few directions hold more of a matrix than they do of noise."""
    if r.ndim < 2:  # mutants: the strongest of one row holds all of it
        return False
    for matrix in {
        r.reshape(len(r), -1).shape: r.reshape(len(r), -1),
        # mutants: -2 stands for the rest as well
        r.reshape(-1, r.shape[-1]).shape: r.reshape(-1, r.shape[-1]),
    }.values():
        whole = float(np.sum(np.abs(matrix) ** 2))
        # mutants: equal to the last bit
        if not _strongest(matrix) < STRONGEST / min(matrix.shape) * whole:
            return True
    return False


def _strongest(matrix: np.ndarray) -> float:
    """The square of the largest singular value, nearly: a few power iterations."""
    v = stream("strongest").standard_normal(matrix.shape[1])
    for _ in range(20):  # mutants: it has converged by then
        v = np.conj(matrix.T) @ (matrix @ (v / np.linalg.norm(v)))
    return float(np.linalg.norm(v))
