"""Causes found by a catalogue of wrong gradients: which of them is this one?"""

import contextlib
from collections.abc import Iterator

import numpy as np

from handgrad.gradcheck.causes.claims import Claim, Mismatch
from handgrad.gradcheck.check import Variant
from handgrad.gradcheck.comparison import Comparison, ratio
from handgrad.gradcheck.reference.float64 import Point, float64
from handgrad.gradcheck.reference.norms import rms
from handgrad.gradcheck.reference.tolerance import STRICT
from handgrad.gradcheck.structure import evaluate

NEAR = 0.25
"""How far a variant may be, relative to the candidate, to be tried in its dtype too."""


def known_variant(mismatch: Mismatch) -> Iterator[Claim]:
    """A wrong gradient of the catalogue that agrees on every leaf, right ones as well.

    Costs one evaluation in float64 for each entry of the catalogue, and one in the
    working dtype for each that comes near.
    """
    matches = []
    for variant in mismatch.check.catalogue:
        distance = _distance(mismatch, variant)
        if distance <= 1:
            matches.append((distance, variant))
    if matches:
        _, best = min(matches, key=lambda match: match[0])
        text = f"{best.explanation} (The gradient is that of {best.name!r}.)"
        yield Claim.same(best.cause, mismatch.wrong, text)


def _distance(mismatch: Mismatch, variant: Variant) -> float:
    """How far the candidate is from a variant, in units of what rounding may do.

    Rounding may do to a wrong gradient more than to the right one, where it cancels
    what the right one does not; so what it does to the variant is measured as well.
    """
    point, leaves = mismatch.check.point, mismatch.leaves.values()
    exact = _evaluate(point, variant, wide=True)
    if any(leaf.path not in exact for leaf in leaves):
        return np.inf
    left = [_left(leaf, exact[leaf.path]) for leaf in leaves]
    if max(left) <= 1:
        return max(left)
    if any(_far(leaf, exact[leaf.path]) for leaf in leaves):
        return np.inf
    rounded = _evaluate(point, variant, wide=False)
    return max(
        min(near, _left(leaf, exact[leaf.path], rounded.get(leaf.path)))
        for near, leaf in zip(left, leaves, strict=True)
    )


def _left(
    leaf: Comparison, exact: np.ndarray, rounded: np.ndarray | None = None
) -> float:
    """What a prediction leaves, in units of what rounding may do to it."""
    if exact.shape != leaf.candidate.shape:
        return np.inf
    if not np.isfinite(leaf.candidate).all():
        return np.inf
    limit = STRICT * leaf.stretch(exact)
    if rounded is None:
        return leaf.excess_of(leaf.candidate - exact, limit)
    lost = rms(rounded - exact)
    return ratio(rms(leaf.candidate - rounded), max(lost, limit * leaf.floor.rms))


def _far(leaf: Comparison, exact: np.ndarray) -> bool:
    """Whether a prediction is off by more than rounding in any dtype makes it."""
    if exact.shape != leaf.candidate.shape:
        return True
    return not rms(leaf.candidate - exact) <= NEAR * rms(leaf.candidate)


def _evaluate(point: Point, variant: Variant, *, wide: bool) -> dict[str, np.ndarray]:
    """The variant's gradient by path, in float64 or in the working dtype.

    Empty where it cannot be had.
    """
    try:
        with float64() if wide else contextlib.nullcontext():
            at = point.widened() if wide else point
            return evaluate(variant.gradient, at)[1].values
    except Exception:  # a variant for another kind of network
        return {}
