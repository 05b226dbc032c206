"""Causes read off the entries and their places.

NaN and infinity, zeros, a single wrong entry; transposes, exchanges, permutations.
"""

from collections.abc import Iterator

import numpy as np

from handgrad.gradcheck.causes.claims import CONFIRMED, Claim, Mismatch, listed
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.randomness import stream
from handgrad.gradcheck.reference.norms import rms

DISTANT = 0.5
"""How far entries in wrong places are off, at least, relative to their size."""

CHANCE = 0.05
"""Or how many entries may stand where they do by chance."""


def nonfinite(mismatch: Mismatch) -> Iterator[Claim]:
    """NaN or infinity; the other entries may be right or not."""
    bad = {s.path: ~np.isfinite(s.candidate) for s in mismatch.unexplained}
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


def _count(where: np.ndarray) -> str:
    n = int(where.sum())
    # mutants: n is 1 or more
    return f"{n} of {where.size} entries {'is' if n == 1 else 'are'}"


def _index(where: np.ndarray) -> list[int]:
    return [int(i) for i in np.argwhere(where)[0]]


def zero(mismatch: Mismatch) -> Iterator[Claim]:
    """Zero where the gradient is not: the whole leaf, or some rows or columns."""
    leaves = mismatch.unexplained
    whole = [s.path for s in leaves if not s.candidate.any() and s.truth.any()]
    if whole:
        text = "The leaf is zero: nothing is carried back to it, or it is forgotten."
        yield Claim.same("zero", whole, text)
    for axis, name in ((0, "row"), (1, "column")):
        texts = {s.path: _zero_lines(s, axis, name) for s in leaves}
        texts = {path: text for path, text in texts.items() if text}
        if texts:
            yield Claim("zero", texts)


def _zero_lines(leaf: Comparison, axis: int, name: str) -> str:
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


def one_entry(mismatch: Mismatch) -> Iterator[Claim]:
    """All entries right but one."""
    texts = {}
    for s in mismatch.unexplained:
        if s.truth.size < 2:
            continue
        prediction = s.truth.copy()
        prediction[s.worst_index] = s.candidate[s.worst_index]
        if s.explained_by(prediction):
            given, must = s.candidate[s.worst_index], s.truth[s.worst_index]
            texts[s.path] = (
                f"Only entry {list(s.worst_index)} is wrong: {apart(given, must)} must "
                "be."
            )
    if texts:
        yield Claim("one_entry", texts)


def apart(given: complex, must: complex) -> str:
    """Both numbers, to as many digits as tell them apart."""
    pairs = ((f"{given:.{n}g}", f"{must:.{n}g}") for n in range(6, 18))
    first, second = next((a, b) for a, b in pairs if a != b)
    return f"{first} where {second}"


def transposed(mismatch: Mismatch) -> Iterator[Claim]:
    """The transpose, all axes reversed, also where it shows in the shape."""
    texts = {}
    for path in mismatch.wrong:
        leaf = mismatch.leaves.get(path)
        if leaf is None or 1 in leaf.truth.shape:
            continue
        if leaf.candidate.shape == leaf.truth.shape[::-1] and _is_transpose(leaf):
            texts[path] = (
                f"The transpose: shape {leaf.candidate.shape} where "
                f"{leaf.truth.shape} must be, and the entries agree when transposed."
            )
    if texts:
        yield Claim("transposed", texts)


def _is_transpose(leaf: Comparison) -> bool:
    residual = leaf.candidate.T - leaf.truth
    return leaf.excess_of(residual) <= 1


def exchanged(mismatch: Mismatch) -> Iterator[Claim]:
    """The gradient of another leaf of the same shape."""
    texts = {}
    for s in mismatch.unexplained:
        for other in mismatch.leaves.values():
            elsewhere = other.path != s.path and s.truth.size > 1
            if elsewhere and s.explained_by(other.truth) and _far(s, other.truth):
                texts[s.path] = f"This is the gradient of {other.path}."
                break
    if texts:
        yield Claim("entries_swapped", texts)


def permuted(mismatch: Mismatch) -> Iterator[Claim]:
    """The right rows or columns, or entries, in another order."""
    texts = {}
    for s in mismatch.unexplained:
        for axis, name in enumerate(("rows", "columns")[: s.truth.ndim]):
            if s.path not in texts and (moved := _moved_lines(s, axis)):
                # mutants: a scalar has no lines
                named = "entries" if s.truth.ndim == 1 else name
                texts[s.path] = f"The {named} are right but out of order: {moved}."
        if s.path not in texts and _same_entries(s):
            texts[s.path] = (
                "The entries are right but out of order; look for a reshape or a "
                "transpose before one."
            )
    if texts:
        yield Claim("entries_swapped", texts)


def _moved_lines(leaf: Comparison, axis: int) -> str:
    """Which lines moved, if the candidate is the truth with lines permuted."""
    truth, candidate = (np.moveaxis(a, axis, 0) for a in (leaf.truth, leaf.candidate))
    if leaf.truth.size < CONFIRMED:
        return ""
    lines = len(truth)
    # mutants: numpy takes any size below 0 for -1
    order = _matching(candidate.reshape(lines, -1), truth.reshape(lines, -1))
    prediction = np.moveaxis(truth[order], 0, axis)
    if not leaf.explained_by(prediction) or not _far(leaf, prediction):
        return ""
    moved = [(i, int(j)) for i, j in enumerate(order) if i != j]
    shown = ", ".join(f"{i} holds {j}" for i, j in moved[:4])
    return shown + (f" and {len(moved) - 4} more" if len(moved) > 4 else "")


def _matching(candidate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The order for which truth[order] resembles the candidate, by a random projection.

    What did not move stays, although rounding may exchange lines that are nearly equal.
    """
    direction = stream("order").standard_normal(candidate.shape[1])
    a, b = candidate @ direction, truth @ direction
    order = np.empty(len(a), int)
    order[np.argsort(a, kind="stable")] = np.argsort(b, kind="stable")
    stays = np.isclose(a, b, rtol=1e-6, atol=0)
    kept = np.where(stays, np.arange(len(a)), order)
    # mutants: a set is no longer
    return kept if len(set(kept.tolist())) == len(kept) else order


def _same_entries(leaf: Comparison) -> bool:
    """Whether sorting makes candidate and truth the same."""
    if leaf.truth.size < CONFIRMED:
        return False
    prediction = np.empty_like(leaf.truth.ravel())
    prediction[np.argsort(leaf.candidate, axis=None)] = np.sort(leaf.truth, axis=None)
    prediction = prediction.reshape(leaf.truth.shape)
    return leaf.explained_by(prediction) and _far(leaf, prediction)


def _far(leaf: Comparison, prediction: np.ndarray) -> bool:
    """Whether entries moved as far as entries in other places do, or not by chance.

    Any small error looks like an exchange of neighbours in size where these are dense.
    """
    if prediction.shape != leaf.truth.shape:
        return False
    moved = np.abs(prediction - leaf.truth) > leaf.floor.worst
    if not moved.any():
        return False
    far, size = (prediction - leaf.truth)[moved], leaf.truth[moved]
    return rms(far) >= DISTANT * rms(size) or _matches(leaf, far, size) <= CHANCE


def _matches(leaf: Comparison, far: np.ndarray, size: np.ndarray) -> float:
    """How many entries an error as large as ``far`` meets by chance, up to rounding.

    Those in reach of ``size``, times the share of the reach that rounding covers.
    """
    if np.iscomplexobj(far):
        return np.inf
    ordered, reach = np.sort(leaf.truth, axis=None), np.abs(far)
    first = np.searchsorted(ordered, size - reach, "left")
    last = np.searchsorted(ordered, size + reach, "right")
    return float(np.mean((last - first - 1) * leaf.floor.worst / reach))


def where_wrong(leaf: Comparison) -> str:
    """The entry furthest off, and the lines that hold all that is wrong."""
    off = np.abs(leaf.residual) > leaf.floor.worst
    text = f"The largest difference is at {list(leaf.worst_index)}."
    if leaf.truth.ndim != 2 or not off.any():
        return text
    for axis, name in ((0, "row"), (1, "column")):
        lines = np.flatnonzero(off.any(axis=1 - axis))
        if len(lines) <= leaf.truth.shape[axis] / 2:  # mutants: len(lines) is whole
            return f"{text} All that is wrong lies in {listed(name, lines)}."
    return text
