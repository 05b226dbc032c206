"""Causes read off the places of entries: transposes, permutations, exchanges."""

from collections.abc import Iterator

import numpy as np

from handgrad.gradcheck.causes.claims import CONFIRMED, Claim, Mismatch
from handgrad.gradcheck.comparison import Comparison


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
            if elsewhere and s.explained_by(other.truth):
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
    order = _matching(candidate.reshape(lines, -1), truth.reshape(lines, -1))
    if not leaf.explained_by(np.moveaxis(truth[order], 0, axis)):
        return ""
    moved = [(i, int(j)) for i, j in enumerate(order) if i != j]
    shown = ", ".join(f"{i} holds {j}" for i, j in moved[:4])
    return shown + (f" and {len(moved) - 4} more" if len(moved) > 4 else "")


def _matching(candidate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The order for which truth[order] resembles the candidate, by a random projection.

    What did not move stays, although rounding may exchange lines that are nearly equal.
    """
    direction = np.random.default_rng(0).standard_normal(candidate.shape[1])
    a, b = candidate @ direction, truth @ direction
    order = np.empty(len(a), int)
    order[np.argsort(a, kind="stable")] = np.argsort(b, kind="stable")
    stays = np.isclose(a, b, rtol=1e-6, atol=0)
    kept = np.where(stays, np.arange(len(a)), order)
    return kept if len(set(kept.tolist())) == len(kept) else order


def _same_entries(leaf: Comparison) -> bool:
    """Whether sorting makes candidate and truth the same."""
    if leaf.truth.size < CONFIRMED:
        return False
    prediction = np.empty(leaf.truth.size)
    prediction[np.argsort(leaf.candidate, axis=None)] = np.sort(leaf.truth, axis=None)
    return leaf.explained_by(prediction.reshape(leaf.truth.shape))
