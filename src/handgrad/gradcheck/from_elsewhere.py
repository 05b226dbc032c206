"""Causes told by calling gradients: the one under test, or those of a catalogue."""

from collections.abc import Iterator

import jax
import numpy as np

from handgrad.gradcheck.bench import assemble
from handgrad.gradcheck.claims import Case, Claim
from handgrad.gradcheck.evidence import Evidence
from handgrad.gradcheck.judge import float64, widen
from handgrad.gradcheck.measure import measure
from handgrad.gradcheck.question import Question, Variant
from handgrad.gradcheck.structure import align, unpack
from handgrad.gradcheck.trees import split
from handgrad.gradcheck.trials import move

BESIDE = 2
"""Points beside a kink at which the gradient must be right."""


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

    Costs one evaluation in float64 for each entry of the catalogue.
    """
    matches = []
    for variant in case.question.catalogue:
        found = _evaluate(case.question, variant)
        fits = [
            leaf.path in found and leaf.explained_by(found[leaf.path])
            for leaf in case.evidence.values()
        ]
        if found and all(fits):
            distance = max(
                leaf.excess_of(leaf.candidate - found[leaf.path])
                for leaf in case.evidence.values()
            )
            matches.append((distance, variant))
    if matches:
        _, best = min(matches, key=lambda match: match[0])
        said = f"{best.explanation} (The gradient is that of {best.name!r}.)"
        yield Claim.same(best.cause, case.wrong, said)


def _evaluate(question: Question, variant: Variant) -> dict[str, np.ndarray]:
    """The variant's gradient in float64, by path; empty where it cannot be had."""
    try:
        with float64():
            params, args = widen(question.params), widen(list(question.args))
            _, tree = unpack(variant.gradient(params, *args), split(params))
            return align(split(params), tree).values
    except Exception:  # a variant for another kind of network
        return {}
