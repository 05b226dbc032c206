"""Causes told by calling gradients: the one under test, or those of a catalogue."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np

from handgrad.gradcheck.bench import assemble
from handgrad.gradcheck.claims import Case, Claim
from handgrad.gradcheck.evidence import Evidence, ratio
from handgrad.gradcheck.judge import float64, widen
from handgrad.gradcheck.measure import measure
from handgrad.gradcheck.question import Question, Variant
from handgrad.gradcheck.structure import align, unpack
from handgrad.gradcheck.tolerance import STRICT, rms
from handgrad.gradcheck.trees import split
from handgrad.gradcheck.trials import move

BESIDE = 2
"""Points beside a kink at which the gradient must be right."""

NEAR = 0.25
"""How far a variant may be, relative to the candidate, to be tried in its dtype too."""


def kink(case: Case) -> Iterator[Claim]:
    """Right beside this point, wrong at it: a convention, if the loss has a kink here.

    Costs one evaluation of the gradient and four of autodiff for each of the points.
    """
    paths = set(case.wrong)
    for seed in range(BESIDE):
        beside = move(case.question, jax.random.key(seed))
        paths -= {path for path, leaf in compare(beside).items() if leaf.wrong}
    if paths:
        said = (
            "The loss has a kink at this point, and the gradient is right beside it: "
            "only the convention at the kink differs. jax.nn takes relu'(0) = 0."
        )
        yield Claim.same("kink", [p for p in case.wrong if p in paths], said)


def compare(question: Question) -> dict[str, Evidence]:
    """The evidence at another point, by path."""
    candidate = question.gradient(question.params, *question.args)
    _, tree = unpack(candidate, question.split)
    return measure(question, align(question.split, tree), assemble(question))


def known_variant(case: Case) -> Iterator[Claim]:
    """A wrong gradient of the catalogue that agrees on every leaf, right ones as well.

    Costs one evaluation in float64 for each entry of the catalogue, and one in the
    working dtype for each that comes near.
    """
    matches = []
    for variant in case.question.catalogue:
        distance = _distance(case, variant)
        if distance <= 1:
            matches.append((distance, variant))
    if matches:
        _, best = min(matches, key=lambda match: match[0])
        said = f"{best.explanation} (The gradient is that of {best.name!r}.)"
        yield Claim.same(best.cause, case.wrong, said)


def _distance(case: Case, variant: Variant) -> float:
    """How far the candidate is from a variant, in units of what rounding may do.

    Rounding may do to a wrong gradient more than to the right one, where it cancels
    what the right one does not; so what it does to the variant is measured as well.
    """
    exact = _evaluate(case.question, variant, wide=True)
    leaves = case.evidence.values()
    if any(leaf.path not in exact for leaf in leaves):
        return np.inf
    left = [_left(leaf, exact[leaf.path]) for leaf in leaves]
    if max(left) <= 1:
        return max(left)
    if any(_far(leaf, exact[leaf.path]) for leaf in leaves):
        return np.inf
    rounded = _evaluate(case.question, variant, wide=False)
    return max(
        min(near, _left(leaf, exact[leaf.path], rounded.get(leaf.path)))
        for near, leaf in zip(left, leaves, strict=True)
    )


def _left(
    leaf: Evidence, exact: np.ndarray, rounded: np.ndarray | None = None
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


def _far(leaf: Evidence, exact: np.ndarray) -> bool:
    """Whether a prediction is off by more than rounding in any dtype makes it."""
    if exact.shape != leaf.candidate.shape:
        return True
    return not rms(leaf.candidate - exact) <= NEAR * rms(leaf.candidate)


def _evaluate(
    question: Question, variant: Variant, *, wide: bool
) -> dict[str, np.ndarray]:
    """The variant's gradient by path, in float64 or in the working dtype.

    Empty where it cannot be had.
    """
    try:
        with float64() if wide else contextlib.nullcontext():
            params, args = question.params, list(question.args)
            if wide:
                params, args = widen(params), widen(args)
            _, tree = unpack(variant.gradient(params, *args), split(params))
            return align(split(params), tree).values
    except Exception:  # a variant for another kind of network
        return {}
