"""The cause `samples_dropped`: how often does the gradient count each sample?

The loss is taken apart by giving it one sample at a time. With g_i the gradient of
sample i alone, the true gradient is sum_i a_i g_i, and a candidate that leaves samples
out, or counts them twice, is

    S1  s sum_i omega_i a_i g_i,    omega_i in {0, 1, 2}

with one factor s, for a mean that was taken over the samples left. The a_i, and then
s omega_i a_i, are found by least squares from a few hundred entries of the wrong
leaves; S1 with the rounded omega must then reproduce those entries.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from handgrad.gradcheck.causes.claims import Claim, Mismatch, listed
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.float64 import float64, scalar, widen
from handgrad.gradcheck.reference.norms import largest, rms
from handgrad.gradcheck.reference.tolerance import STRICT

MOST_SAMPLES = 512
"""The largest batch that is taken apart."""

MOST_NUMBERS = 50_000_000  # mutants: a bound on memory, and no sharp one
"""How many numbers the gradients of a chunk of samples may hold together."""

SPARE = 16
"""Entries beyond one per sample that least squares must have to confirm anything."""

PRESENT = 0.05
"""The share in the candidate from which a sample counts as present."""

EXACT = 1e-6
"""How far the samples may be from the truth together, relative to its largest entry."""

MOST_CHANGED = 0.9
"""The share of the batch that may be left out or counted twice."""


class Apart(NamedTuple):
    """The gradient of each sample, at a few entries of each wrong leaf.

    Attributes:
      entries: path -> flat indices of the entries looked at.
      columns: path -> (entries, m), the gradient of each sample there.
    """

    entries: Mapping[str, np.ndarray]
    columns: Mapping[str, np.ndarray]


def samples_dropped(mismatch: Mismatch) -> Iterator[Claim]:
    """Samples left out or counted twice, and which."""
    m, leaves = mismatch.check.point.batch, mismatch.unexplained
    if m is None or not 2 <= m <= MOST_SAMPLES or not leaves:
        return
    try:
        apart = _take_apart(mismatch, m)
    except Exception:  # a loss that cannot be had one sample at a time
        return
    known: set[str] = set()
    for leaf in sorted(leaves, key=lambda s: -s.truth.size):  # mutants: ~n orders as -n
        if leaf.path in known:
            continue
        for counts, factor in _counts(leaf, apart):
            paths = [s.path for s in leaves if _holds(s, apart, counts, factor)]
            if leaf.path in paths:
                known |= set(paths)
                yield Claim.same("samples_dropped", paths, _sentence(counts, factor))
                break


def _take_apart(mismatch: Mismatch, m: int) -> Apart:
    generator = stream("entries")
    enough = 4 * (m + SPARE)  # mutants: more than enough
    entries = {
        s.path: np.sort(generator.permutation(s.truth.size)[:enough])
        for s in mismatch.unexplained
    }
    with float64():
        rows = _gradients_apart(mismatch, m, entries)
    columns = {path: rows[k].T for k, path in enumerate(entries)}
    return Apart(entries, columns)


def _gradients_apart(
    mismatch: Mismatch, m: int, entries: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """(m, entries) for each path: vmap over batches of one sample, in chunks."""
    point, split = mismatch.check.point, mismatch.check.point.split
    leaves, structure = jax.tree.flatten(widen(point.args))
    cut = [np.shape(leaf)[:1] == (m,) for leaf in leaves]
    values = widen(split.values)

    def few(samples: list[jax.Array]) -> list[jax.Array]:
        args = jax.tree.unflatten(structure, _put(leaves, cut, samples))

        def objective(values: list[jax.Array]) -> jax.Array:
            return scalar(point.loss(split.merge(values), *args))

        found = jax.grad(objective)(values)
        gradient = dict(zip(split.floating_paths, found, strict=True))
        return [gradient[path].ravel()[index] for path, index in entries.items()]

    samples = [jnp.asarray(x)[:, None] for x, c in zip(leaves, cut, strict=True) if c]
    chunk = max(1, MOST_NUMBERS // sum(np.size(v) for v in values))
    parts = [
        jax.vmap(few)([x[start : start + chunk] for x in samples])
        for start in range(0, m, chunk)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _put(leaves: list[Any], cut: list[bool], new: list[Any]) -> list[Any]:
    """``leaves`` with those that are cut replaced, in order, by ``new``."""
    replacements = iter(new)
    return [
        next(replacements) if c else leaf for leaf, c in zip(leaves, cut, strict=True)
    ]


def _solve(columns: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """The factors of the columns that give ``values``; None if they are not unique.

    A column of zeros (a sample without weight) has the factor 0.
    """
    lengths, live = np.linalg.norm(columns, axis=0), _live(columns)
    if live.sum() + SPARE > len(columns):
        return None
    unit = columns[:, live] / lengths[live]
    found, _, rank, _ = np.linalg.lstsq(unit, values, rcond=1e-9)
    if rank < live.sum():  # mutants: it is no more
        return None
    factors = np.zeros(columns.shape[1])
    factors[live] = found / lengths[live]
    return factors


def _live(columns: np.ndarray) -> np.ndarray:
    """Which samples have a gradient at all."""
    lengths = np.linalg.norm(columns, axis=0)
    return lengths > 1e-12 * largest(lengths)


def _weights(leaf: Comparison, apart: Apart) -> np.ndarray | None:
    """a_i of the loss: those of a mean or a sum if they fit, else by least squares.

    None where no a_i make the truth: the loss is no sum over the samples.
    """
    columns = apart.columns[leaf.path]
    truth = leaf.truth.ravel()[apart.entries[leaf.path]]
    m = columns.shape[1]
    for same in (1 / m, 1.0):
        whole = same * columns.sum(axis=1)
        if np.allclose(whole, truth, atol=1e-9 * largest(truth)):
            return np.full(m, same)
    found = _solve(columns, truth)
    if found is None or largest(columns @ found - truth) > EXACT * largest(truth):
        return None
    return found


def _counts(leaf: Comparison, apart: Apart) -> Iterator[tuple[np.ndarray, float]]:
    """Candidates for (omega, s): from one sample alone, then from least squares."""
    weights = _weights(leaf, apart)
    if weights is None:
        return
    columns = apart.columns[leaf.path] * weights
    candidate = leaf.candidate.ravel()[apart.entries[leaf.path]]
    m = columns.shape[1]
    for factor in (1.0, m / (m - 1)):
        yield from _single(columns, candidate / factor, factor)
    shares = _solve(columns, candidate)
    if shares is None:
        return
    live = _live(columns)
    kept = np.round(shares[live], 6)  # mutants: shares are whole to nine digits
    # mutants: equal to the last bit
    values, often = np.unique(kept[kept > PRESENT], return_counts=True)
    for factor in {1.0, *([float(values[np.argmax(often)])] if len(values) else [])}:
        counts = np.where(live, np.clip(np.round(shares / factor), 0, 2), 1)
        if 0 < np.sum(counts != 1) <= MOST_CHANGED * m:  # mutants: counts are 0 or more
            yield counts, factor


def _single(
    columns: np.ndarray, candidate: np.ndarray, factor: float
) -> Iterator[tuple[np.ndarray, float]]:
    """omega with the one sample that fits best left out, or counted twice."""
    residual = candidate - columns.sum(axis=1)
    for change in (-1, 1):
        left = np.linalg.norm(residual[:, None] - change * columns, axis=0)
        counts = np.ones(columns.shape[1])
        counts[int(np.argmin(left))] += change
        yield counts, factor


def _holds(leaf: Comparison, apart: Apart, counts: np.ndarray, factor: float) -> bool:
    """S1, at the entries looked at, within the floor of the leaf."""
    weights = _weights(leaf, apart)
    if weights is None:
        return False
    columns, index = apart.columns[leaf.path] * weights, apart.entries[leaf.path]
    prediction = factor * columns @ counts
    left = leaf.candidate.ravel()[index] - prediction
    limit = STRICT * leaf.stretch(prediction)
    enough = rms(left) <= leaf.floor.rms * limit
    return enough and largest(left) <= leaf.floor.worst * limit


def _sentence(counts: np.ndarray, factor: float) -> str:
    parts = []
    for count, what in ((0, "left out"), (2, "counted twice")):
        which = np.flatnonzero(counts == count)
        if len(which):
            parts.append(f"{listed('sample', which)} {what}")
    mean = f", and all else multiplied by {factor:.6g}" if factor != 1 else ""
    return f"Of the {len(counts)} samples, {' and '.join(parts)}{mean}."
