"""The cause `kink`: right beside the point, and another convention at it."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import comparison

from handgrad.gradcheck.causes.claims import Claim, Mismatch
from handgrad.gradcheck.causes.kink import compared, kink
from handgrad.gradcheck.check import Check
from handgrad.gradcheck.reference.float64 import Point

A, B, C = "['a']", "['b']", "['c']"

Leaves = dict[str, Any]

BENT = (
    "The loss has a kink at this point, and the gradient is right beside it; at it, it "
    "is not that of jax.grad, and not between the one-sided derivatives either, or it "
    "is held to jax.grad by strict=True."
)


def bent(params: Leaves) -> jax.Array:
    """J = sum of relu(w)^2 / 2 + relu(w): it has a kink at 0."""
    parts = (jax.nn.relu(w) * (1 + jax.nn.relu(w) / 2) for w in params.values())
    return sum((jnp.sum(part) for part in parts), jnp.zeros(()))


def slope(w: jax.Array) -> jax.Array:
    """The other convention: relu'(0) = 1."""
    return jnp.where(w >= 0, 1 + w, 0)


class Spoiled:
    """A gradient of the other convention, times factors: one for each call and leaf."""

    def __init__(self, *factors: Sequence[float]) -> None:
        self.factors, self.calls = factors, 0

    def __call__(self, params: Leaves) -> Leaves:
        factors = self.factors[min(self.calls, len(self.factors) - 1)]
        self.calls += 1
        pairs = zip(params.items(), factors, strict=True)
        return {name: factor * slope(w) for (name, w), factor in pairs}


def at_the_kink(gradient: Callable[..., Any], *wrong: str) -> list[list[str]]:
    """The leaves that are said to differ at the kink alone."""
    params = {name: jnp.zeros(3) for name in "abc"}
    found = {path: comparison(path, np.ones(3), np.zeros(3)) for path in (A, B, C)}
    claims = list(
        kink(Mismatch(Check(Point(bent, params, ()), gradient), found, wrong))
    )
    assert all(
        claim == Claim.same("kink", claim.explanations, BENT) for claim in claims
    )
    return [list(claim.explanations) for claim in claims]


def test_convention_at_a_kink() -> None:
    gradient = Spoiled([1, 1, 1])
    assert at_the_kink(gradient, A, B, C) == [[A, B, C]]
    assert gradient.calls == 2


def test_convention_at_a_kink_of_some_leaves() -> None:
    assert at_the_kink(Spoiled([1, 2, 1]), C, B, A) == [[C, A]]
    assert at_the_kink(Spoiled([1, 2, 1]), A) == [[A]]
    assert at_the_kink(Spoiled([2, 2, 1]), A, B) == []


@pytest.mark.parametrize(
    ("factors", "found"),
    [
        ([[2, 1, 1], [1, 1, 1]], [[B]]),
        ([[1, 1, 1], [2, 1, 1]], [[B]]),
        ([[2, 1, 1], [1, 2, 1]], []),
        ([[1, 1, 1], [1, 1, 1], [2, 2, 2]], [[A, B]]),
    ],
)
def test_gradient_must_be_right_at_two_points_beside(
    factors: list[list[float]], found: list[list[str]]
) -> None:
    assert at_the_kink(Spoiled(*factors), A, B) == found


@pytest.mark.parametrize("pair", [False, True])
def test_leaves_of_a_gradient_or_of_a_pair_are_compared(pair: bool) -> None:
    def gradient(params: Leaves, k: Any) -> Any:
        found = {"a": k * params["a"], "b": 3 * k * params["b"]}
        return (jnp.zeros(()), found) if pair else found

    def loss(params: Leaves, k: Any) -> jax.Array:
        return k * (jnp.sum(params["a"] ** 2) + jnp.sum(params["b"] ** 2)) / 2

    params = {"a": jnp.arange(3.0), "b": jnp.arange(1.0, 5)}
    found = compared(Check(Point(loss, params, (2.0,)), gradient))
    assert {path: leaf.wrong for path, leaf in found.items()} == {A: False, B: True}
    assert found[A].candidate.tolist() == found[A].truth.tolist() == [0, 2, 4]
    assert found[B].candidate.tolist() == [6, 12, 18, 24]
    assert found[B].truth.tolist() == [2, 4, 6, 8]
