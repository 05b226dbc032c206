"""The cause `kink`: right beside the point, and another convention at it."""

from collections.abc import Iterator

import jax

from handgrad.gradcheck.causes.claims import Claim, Mismatch
from handgrad.gradcheck.check import Check, move
from handgrad.gradcheck.comparison import Comparison, compare
from handgrad.gradcheck.reference.truth import reference_at
from handgrad.gradcheck.structure import evaluate

BESIDE = 2
"""Points beside a kink at which the gradient must be right."""


def kink(mismatch: Mismatch) -> Iterator[Claim]:
    """Right beside this point, wrong at it: a convention, if the loss has a kink here.

    Costs one evaluation of the gradient and four of autodiff for each of the points.
    """
    paths = set(mismatch.wrong)
    for seed in range(BESIDE):
        beside = compared(move(mismatch.check, jax.random.key(seed)))
        paths -= {path for path, leaf in beside.items() if leaf.wrong}
    if paths:
        text = (
            "The loss has a kink at this point, and the gradient is right beside it; "
            "at it, it is not that of jax.grad, and not between the one-sided "
            "derivatives either, or it is held to jax.grad by strict=True."
        )
        yield Claim.same("kink", [p for p in mismatch.wrong if p in paths], text)


def compared(check: Check) -> dict[str, Comparison]:
    """All leaves at the point of a check, by path."""
    _, aligned = evaluate(check.gradient, check.point)
    return compare(check.point, aligned, reference_at(check.point))
