"""The cause `low_precision`: right, but computed in a narrower dtype than its own."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.causes.arguments import weight_sums
from handgrad.gradcheck.causes.claims import CONFIRMED, Claim, Mismatch
from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.tolerance import rms

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

STRONGEST = 8.0
"""The share of r^2, in units of 1 / min(rows, columns), that the strongest direction of
noise may hold; it holds 4 of a large square matrix of independent entries."""


def low_precision(mismatch: Mismatch) -> Iterator[Claim]:
    """Values that a narrower dtype holds exactly, or noise of the size it makes."""
    texts = {}
    for s in mismatch.unexplained:
        text = _representable(s, _divisors(mismatch)) or _noise(s)
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
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype).astype(np.float64)
    return np.abs(rounded - values) <= 2 * float(jnp.finfo(leaf.dtype).eps) * np.abs(
        values
    )


def _noise(leaf: Comparison) -> str:
    """Noise: without a component along truth or parameter, and of no low rank."""
    size = rms(leaf.truth)
    if leaf.truth.size < NOISE or size == 0:
        return ""
    relative = rms(leaf.residual) / size
    for dtype in _narrower(leaf):
        unit = float(jnp.finfo(dtype).eps) / 2
        if unit / SPREAD <= relative <= SPREAD * unit and _incoherent(leaf):
            return (
                f"What is left looks like noise, {relative:.1g} of the gradient, the "
                f"size that rounding in {dtype} makes."
            )
    return ""


def _incoherent(leaf: Comparison) -> bool:
    """Whether the residual points nowhere: not along g, theta or 1, nor of low rank."""
    r = leaf.residual
    for p in (leaf.truth, leaf.parameter, np.ones_like(r)):
        if p.any():
            cosine = abs(float(np.sum(r * p))) / np.linalg.norm(r) / np.linalg.norm(p)
            if cosine > COHERENT / np.sqrt(r.size):  # mutants: equal to the last bit
                return False
    if r.ndim != 2:
        return True
    # mutants: equal to the last bit
    return bool(_strongest(r) < STRONGEST / min(r.shape) * np.sum(r * r))


def _strongest(matrix: np.ndarray) -> float:
    """The square of the largest singular value, nearly: a few power iterations."""
    v = stream("strongest").standard_normal(matrix.shape[1])
    for _ in range(20):  # mutants: it has converged by then
        v = matrix.T @ (matrix @ (v / np.linalg.norm(v)))
    return float(np.linalg.norm(v))
