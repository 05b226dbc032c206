"""Hypotheses are asked in stages, and what none explains is said to be unknown."""

from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from gradcheck.cases import comparison

from handgrad.gradcheck.causes.claims import Claim, Finding, Mismatch
from handgrad.gradcheck.causes.diagnose import Hypothesis, diagnose, explain
from handgrad.gradcheck.check import Check, Variant
from handgrad.gradcheck.comparison import Comparison
from handgrad.gradcheck.reference.float64 import Point
from handgrad.gradcheck.structure import Aligned

A, B, C, D = PATHS = [f"[{i}]" for i in range(4)]
TRUTH = np.arange(1.0, 10.0)
WRONG = TRUTH + np.random.default_rng(0).standard_normal(9)
Leaves = dict[str, Comparison]


def leaves(*candidates: np.ndarray) -> Leaves:
    """[0], [1], ..., compared."""
    pairs = zip(PATHS, candidates, strict=False)
    return {path: comparison(path, candidate, TRUTH) for path, candidate in pairs}


def wrong_square(number: int, catalogue: Sequence[Variant] = ()) -> Check:
    """J = sum of w^2 / 2 over the leaves: its gradient w is the truth above."""

    def loss(params: Iterable[jax.Array]) -> jax.Array:
        return sum((jnp.sum(w * w) / 2 for w in params), jnp.zeros(()))

    point = (jnp.asarray(TRUTH),) * number
    return Check(Point(loss, point, ()), jax.grad(loss), {}, catalogue)


def diagnosed(
    found: Leaves, findings: dict[str, str] | None = None
) -> tuple[dict[str, Finding], list[str]]:
    aligned = Aligned(findings=findings or {})
    return diagnose(wrong_square(len(found)), aligned, found, kinks=False)


def test_stages_end_where_every_leaf_is_explained() -> None:
    asked = []

    def saying(name: str, paths: Sequence[str]) -> Hypothesis:
        def hypothesis(mismatch: Mismatch) -> Iterator[Claim]:
            asked.append(name)
            yield Claim.same(name, paths, name)

        return hypothesis

    mismatch = Mismatch(wrong_square(2), leaves(WRONG, WRONG), [A, B])
    stages = [[saying("sign", [A])], [saying("zero", [B])], [saying("stale", [A, B])]]
    found = explain(mismatch, stages)
    assert {path: finding.cause for path, finding in found.items()} == {
        A: "sign",
        B: "zero",
    }
    assert asked == ["sign", "zero"]


def test_nothing_wrong_is_nothing_to_say() -> None:
    assert diagnosed(leaves(TRUTH, TRUTH)) == ({}, [])
    assert diagnosed(leaves(TRUTH), {B: "Nothing came."}) == (
        {B: Finding("structure", "Nothing came.")},
        [],
    )


def test_what_no_hypothesis_explains_is_unknown_and_where() -> None:
    found, _ = diagnosed(leaves(WRONG, TRUTH))
    where = int(np.argmax(np.abs(WRONG - TRUTH)))
    text = f"The numbers do not tell the cause. The largest difference is at [{where}]."
    assert list(found) == [A]
    assert found[A].cause == "unknown"
    assert found[A].explanation.startswith(text)


def test_note_says_where_the_error_enters() -> None:
    _, (note,) = diagnosed(leaves(WRONG, WRONG, TRUTH, TRUTH))
    assert note.startswith(f"every leaf up to {B} is wrong and every one from {C} on")
    assert note.endswith(f"goes from {C} to {B}.")
    assert diagnosed(leaves(WRONG, TRUTH))[1] == []
    assert diagnosed(leaves(WRONG, WRONG))[1] == []
    assert diagnosed(leaves(TRUTH, WRONG, WRONG, TRUTH))[1] == []
    apart = leaves(WRONG, TRUTH, WRONG, TRUTH)
    shuffled = {path: apart[path] for path in (B, A, C, D)}
    assert diagnosed(shuffled)[1] == []


def test_wrong_form_is_structure() -> None:
    flat = leaves(np.ones((1, 9)), TRUTH)
    off = {A: "The shape is off."}
    assert diagnosed(flat, off)[0] == {A: Finding("structure", "The shape is off.")}
    assert diagnosed(flat)[0] == {A: Finding("unknown", "The shape is wrong.")}


def test_wrong_dtype_hides_no_wrong_sign() -> None:
    found, _ = diagnosed(leaves(-TRUTH, TRUTH), {A: "The dtype is off."})
    assert found[A].cause == "sign"
    assert found[A].explanation.endswith(" forgotten. The dtype is off.")


def test_wrong_dtype_is_all_there_is_to_say_of_right_or_unknown_numbers() -> None:
    for candidate in (TRUTH, WRONG):
        found, _ = diagnosed(leaves(candidate, TRUTH), {A: "The dtype is off."})
        assert found == {A: Finding("structure", "The dtype is off.")}


def test_leaf_of_a_wrong_dtype_beside_one_that_is_wrong() -> None:
    found, _ = diagnosed(leaves(-TRUTH, TRUTH), {C: "Nothing came."})
    assert {p: f.cause for p, f in found.items()} == {A: "sign", C: "structure"}


def test_catalogue_tells_what_the_numbers_do_not() -> None:
    variant = Variant("cubed", "scale", "The cube.", lambda ps: tuple(w**3 for w in ps))
    cubes = leaves(TRUTH**3, TRUTH**3)
    asked = wrong_square(2, [variant])
    assert {f.cause for f in diagnosed(cubes)[0].values()} == {"unknown"}
    found, _ = diagnose(asked, Aligned(), cubes, kinks=False)
    assert {f.cause for f in found.values()} == {"scale"}
    assert "The cube." in found[A].explanation
