"""Causes told from the places of the entries: transposes, permutations, exchanges."""

from collections.abc import Iterator

import numpy as np

from handgrad.gradcheck.claims import PROOF, Case, Claim
from handgrad.gradcheck.evidence import Evidence


def transposed(case: Case) -> Iterator[Claim]:
    """The transpose, all axes reversed, also where it shows in the shape."""
    told = {}
    for path in case.wrong:
        leaf = case.evidence.get(path)
        if leaf is None or 1 in leaf.truth.shape:
            continue
        if leaf.candidate.shape == leaf.truth.shape[::-1] and _is_transpose(leaf):
            told[path] = (
                f"The transpose: shape {leaf.candidate.shape} where "
                f"{leaf.truth.shape} must be, and the entries agree when transposed."
            )
    if told:
        yield Claim("transposed", told)


def _is_transpose(leaf: Evidence) -> bool:
    residual = leaf.candidate.T - leaf.truth
    return leaf.excess_of(residual) <= 1


def exchanged(case: Case) -> Iterator[Claim]:
    """The gradient of another leaf of the same shape."""
    told = {}
    for s in case.suspects:
        for other in case.evidence.values():
            elsewhere = other.path != s.path and s.truth.size > 1
            if elsewhere and s.explained_by(other.truth):
                told[s.path] = f"This is the gradient of {other.path}."
                break
    if told:
        yield Claim("entries_swapped", told)


def permuted(case: Case) -> Iterator[Claim]:
    """The right rows or columns, or entries, in another order."""
    told = {}
    for s in case.suspects:
        for axis, name in enumerate(("rows", "columns")[: s.truth.ndim]):
            if s.path not in told and (moved := _moved_lines(s, axis)):
                named = "entries" if s.truth.ndim == 1 else name
                told[s.path] = f"The {named} are right but out of order: {moved}."
        if s.path not in told and _same_entries(s):
            told[s.path] = (
                "The entries are right but out of order; look for a reshape or a "
                "transpose before one."
            )
    if told:
        yield Claim("entries_swapped", told)


def _moved_lines(leaf: Evidence, axis: int) -> str:
    """Which lines moved, if the candidate is the truth with lines permuted."""
    truth, came = (np.moveaxis(a, axis, 0) for a in (leaf.truth, leaf.candidate))
    if leaf.truth.size < PROOF:
        return ""
    lines = len(truth)
    order = _matching(came.reshape(lines, -1), truth.reshape(lines, -1))
    if not leaf.explained_by(np.moveaxis(truth[order], 0, axis)):
        return ""
    moved = [(i, int(j)) for i, j in enumerate(order) if i != j]
    shown = ", ".join(f"{i} holds {j}" for i, j in moved[:4])
    return shown + (f" and {len(moved) - 4} more" if len(moved) > 4 else "")


def _matching(came: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The order for which truth[order] resembles came, by a random projection.

    What did not move stays, although rounding may exchange lines that are nearly equal.
    """
    direction = np.random.default_rng(0).standard_normal(came.shape[1])
    a, b = came @ direction, truth @ direction
    order = np.empty(len(a), int)
    order[np.argsort(a, kind="stable")] = np.argsort(b, kind="stable")
    stays = np.isclose(a, b, rtol=1e-6, atol=0)
    kept = np.where(stays, np.arange(len(a)), order)
    return kept if len(set(kept.tolist())) == len(kept) else order


def _same_entries(leaf: Evidence) -> bool:
    """Whether sorting makes candidate and truth the same."""
    if leaf.truth.size < PROOF:
        return False
    prediction = np.empty(leaf.truth.size)
    prediction[np.argsort(leaf.candidate, axis=None)] = np.sort(leaf.truth, axis=None)
    return leaf.explained_by(prediction.reshape(leaf.truth.shape))
