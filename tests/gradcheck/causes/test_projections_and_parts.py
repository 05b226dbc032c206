"""Causes that concern a part of a leaf: projections, factors, sums, indices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import comparison, explained

from handgrad import check_gradients, check_vjp
from handgrad.gradcheck.causes.entries import apart
from handgrad.gradcheck.causes.parts import (
    averaged,
    overwritten,
    reduced,
    scale_of_part,
    straight_through,
    zero_part,
)
from handgrad.gradcheck.causes.projections import (
    projection_left,
    sentence,
)

TRUTH = np.random.default_rng(5).standard_normal((6, 6))


@pytest.mark.parametrize("entries", [2, 3, 4, 5])
def test_a_part_along_something_takes_entries_that_confirm_it(entries: int) -> None:
    """One fits the factor, three confirm it."""
    random = np.random.default_rng(2)
    theta, truth = random.standard_normal((2, entries))
    truth -= theta * (theta @ truth) / (theta @ theta)
    leaf = comparison("w", truth + 0.7 * theta, truth)
    found = explained(projection_left, leaf, args=(theta,))
    assert bool(found) is (entries >= 4)


@pytest.mark.parametrize(
    ("axis", "ndim", "text"),
    [
        (None, 2, "lies along x:"),
        (-1, 2, "lies in every row along x:"),
        (0, 2, "lies in every column along x:"),
        (None, 3, "lies along x:"),
        (-1, 3, "lies along axis 2 along x:"),
        (0, 3, "lies along axis 0 along x:"),
    ],
)
def test_lines_of_what_is_wrong_are_named(
    axis: int | None, ndim: int, text: str
) -> None:
    leaf = comparison("w", np.ones((2,) * ndim), np.ones((2,) * ndim))
    assert text in sentence(axis, leaf, "x")


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (np.eye(6, dtype=bool), "on the diagonal"),
        (~np.eye(6, dtype=bool), "everywhere but on the diagonal"),
        (np.arange(6)[:, None] == 2, "in row 2"),
        (np.arange(6)[None] == 4, "in column 4"),
        (np.arange(6)[:, None] < 2, "in rows 0, 1"),
    ],
)
@pytest.mark.parametrize("factor", [0.5, -1.0, 3.0])
def test_factor_on_a_part(where: np.ndarray, text: str, factor: float) -> None:
    where = np.broadcast_to(where, TRUTH.shape)
    leaf = comparison("w", np.where(where, factor * TRUTH, TRUTH), TRUTH)
    found = explained(scale_of_part, leaf)
    assert found == {"w": f"{factor:.6g} times the gradient {text}, the rest right."}


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (np.triu(np.ones((6, 6), bool), 1), "above the diagonal"),
        (np.tril(np.ones((6, 6), bool), -1), "below the diagonal"),
        (np.eye(6, dtype=bool), "on the diagonal"),
        (~np.eye(6, dtype=bool), "off the diagonal"),
    ],
)
@pytest.mark.parametrize("truth", [TRUTH, np.stack([TRUTH, TRUTH.T])])
def test_part_that_is_zero(where: np.ndarray, text: str, truth: np.ndarray) -> None:
    leaf = comparison("w", np.where(where, 0, truth), truth)
    assert explained(zero_part, leaf) == {"w": f"Zero {text}, the rest right."}
    doubled = comparison("w", np.where(where, 0, 2 * truth), truth)
    assert explained(zero_part, doubled) == {}
    wide = comparison("w", np.zeros((2, 3)), np.ones((2, 3)))
    assert explained(zero_part, wide) == {}


def test_part_that_is_wrong_in_another_way_has_no_factor() -> None:
    candidate = TRUTH.copy()
    candidate[2] += np.arange(6)
    assert explained(scale_of_part, comparison("w", candidate, TRUTH)) == {}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("keep", ["spread", "one", "gone"])
@pytest.mark.parametrize(("how", "of"), [("Summed", np.sum), ("Averaged", np.mean)])
def test_axis_too_many(axis: int, keep: str, how: str, of: Any) -> None:
    whole = of(TRUTH, axis=axis, keepdims=True)
    given = {
        "spread": np.broadcast_to(whole, TRUTH.shape),
        "one": whole,
        "gone": whole.squeeze(axis),
    }[keep]
    (text,) = explained(reduced, comparison("w", given, TRUTH)).values()
    assert text.startswith(f"{how} over axis {axis}, of 6")
    assert ("The shape must be" in text) == (keep != "spread")


@pytest.mark.parametrize("of", [np.sum, np.mean])
def test_small_error_beside_a_wide_floor_is_no_axis_too_many(of: Any) -> None:
    """Rows that are nearly alike, as far as the floor shows."""
    truth = np.random.default_rng(3).standard_normal((8, 400))
    whole = np.broadcast_to(of(truth, axis=0, keepdims=True), truth.shape)
    error = 0.011 * np.random.default_rng(4).standard_normal(truth.shape)
    leaf = comparison("w", truth + error, truth, 0.01)
    assert leaf.wrong
    assert explained(reduced, leaf) == {}
    assert list(explained(reduced, comparison("w", whole, truth, 0.01))) == ["w"]


def test_axis_that_should_have_gone() -> None:
    given = np.random.default_rng(6).standard_normal((4, 6, 6))
    (text,) = explained(reduced, comparison("w", given, given.sum(0))).values()
    assert text.startswith("Not summed over axis 0")


@pytest.mark.parametrize("index", [[3, 1, 4, 1, 5], [0, 0, 2, 2, 5]])
def test_rows_that_are_written_twice(index: list[int]) -> None:
    share = np.random.default_rng(7).standard_normal((5, 3))
    truth, last = np.zeros((7, 3)), np.zeros((7, 3))
    np.add.at(truth, index, share)
    last[index] = share
    leaf = comparison("w", last, truth)
    args = (jnp.asarray(index),)
    (text,) = explained(overwritten, leaf, args=args).values()
    assert "named more than once" in text
    assert explained(overwritten, comparison("w", 2 * truth, truth), args=args) == {}


INDEX = jnp.asarray([3, 1, 4, 1, 5, 1])
OFTEN = np.bincount(INDEX, minlength=7)


def test_rows_that_are_divided_by_how_often_they_are_named() -> None:
    truth = np.random.default_rng(8).standard_normal((7, 3)) * (OFTEN > 0)[:, None]
    leaf = comparison("w", truth / np.maximum(OFTEN, 1)[:, None], truth)
    (text,) = explained(averaged, leaf, args=(INDEX,)).values()
    assert "divided by how often" in text
    assert explained(overwritten, leaf, args=(INDEX,)) == {}
    halved = comparison("w", np.where(OFTEN[:, None] > 1, truth / 2, truth), truth)
    assert explained(averaged, halved, args=(INDEX,)) == {}
    assert explained(overwritten, halved, args=(INDEX,)) == {}
    vector = comparison("v", truth[:, 0] / np.maximum(OFTEN, 1), truth[:, 0])
    assert list(explained(averaged, vector, args=(INDEX,))) == ["v"]
    assert explained(averaged, comparison("s", 1.0, np.array(2.0)), args=(INDEX,)) == {}


def test_leaf_without_repeated_rows_is_neither_averaged_nor_overwritten() -> None:
    truth = np.random.default_rng(9).standard_normal((7, 3))
    once, other = jnp.arange(5), comparison("w", truth + np.eye(7, 3), truth)
    assert explained(overwritten, other, args=(once,)) == {}
    assert explained(averaged, other, args=(once,)) == {}


def test_gradient_where_the_true_one_is_zero() -> None:
    leaf = comparison("w", np.ones(4), np.zeros(4))
    assert "straight-through" in explained(straight_through, leaf)["w"]


def layer_norm(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    centred = x - jnp.mean(x, -1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)
    return centred * scale, scale


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("forgotten", ["mean", "projection"])
def test_forgotten_part_of_a_norm_is_a_projection(dtype: str, forgotten: str) -> None:
    """What is small and points along the ones, or the output, in every row."""

    def fwd(x: jax.Array) -> Any:
        return layer_norm(x)[0], layer_norm(x)

    def bwd(residuals: Any, u: jax.Array) -> Any:
        y, scale = residuals
        kept = u
        if forgotten != "mean":
            kept = kept - jnp.mean(u, -1, keepdims=True)
        if forgotten != "projection":
            kept = kept - y * jnp.mean(u * y, -1, keepdims=True)
        return (scale * kept,)

    for seed, shape in ((0, (8, 64)), (1, (16, 1024))):
        x = jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)
        report = check_vjp(lambda x: layer_norm(x)[0], fwd, bwd, x)
        assert report.leaves[0].cause == "projection", str(report)


def rows_of(rule: str, u: jax.Array, y: jax.Array) -> jax.Array:
    """What a wrong rule has too much in every row."""
    return {
        "ones": jnp.sum(u, -1, keepdims=True) * jnp.ones_like(y),
        "constant": jnp.full_like(y, 0.3),
        "output": jnp.sum(u, -1, keepdims=True) * y,
        "other": jnp.sum(u, -1, keepdims=True) * y**3,
    }[rule]


@pytest.mark.parametrize(
    ("rule", "along"),
    [("ones", "the ones"), ("constant", ""), ("output", "the output"), ("other", "")],
)
def test_part_along_the_rows_of_a_softmax(rule: str, along: str) -> None:
    """The truth has no part along the ones; yet a constant is no projection."""
    x = jnp.asarray(np.random.default_rng(2).standard_normal((6, 9)), jnp.float32)

    def bwd(y: jax.Array, u: jax.Array) -> tuple[jax.Array]:
        right = y * (u - jnp.sum(y * u, -1, keepdims=True))
        return (right + rows_of(rule, u, y),)

    report = check_vjp(jax.nn.softmax, lambda x: (jax.nn.softmax(x),) * 2, bwd, x)
    (leaf,) = report.leaves
    assert leaf.cause == ("projection" if along else "unknown"), str(report)
    assert f"in every row along {along}" in leaf.explanation or not along


def test_part_along_the_ones_of_what_has_one_is_no_projection() -> None:
    x = jnp.asarray(np.random.default_rng(2).standard_normal((6, 9)), jnp.float32)

    def bwd(x: jax.Array, u: jax.Array) -> tuple[jax.Array]:
        return (u * jnp.cos(x) + jnp.sum(u, -1, keepdims=True),)

    report = check_vjp(jnp.sin, lambda x: (jnp.sin(x), x), bwd, x)
    assert report.leaves[0].cause == "unknown", str(report)


@pytest.mark.parametrize("trials", [1, 3])
def test_part_along_the_mean_of_a_vector(trials: int) -> None:
    x = jnp.asarray(np.random.default_rng(2).standard_normal(9), jnp.float32)
    report = check_vjp(
        lambda x: x - jnp.mean(x),
        lambda x: (x - jnp.mean(x), None),
        lambda _, u: (u,),
        x,
        trials=trials,
    )
    assert report.leaves[0].cause == "projection", str(report)
    assert "along the ones" in report.leaves[0].explanation


def test_output_is_that_of_the_point() -> None:
    """The rule fails at the second of two points, which lies beside the first."""
    x = jnp.asarray(np.random.default_rng(2).standard_normal((6, 9)), jnp.float32)
    first = jnp.asarray(x)

    def bwd(residuals: Any, u: jax.Array) -> tuple[jax.Array]:
        x, y = residuals
        right = y * (u - jnp.sum(y * u, -1, keepdims=True))
        return (right + jnp.any(x != first) * rows_of("output", u, y),)

    def fwd(x: jax.Array) -> Any:
        return jax.nn.softmax(x), (x, jax.nn.softmax(x))

    report = check_vjp(jax.nn.softmax, fwd, bwd, x, trials=2)
    assert report.leaves[0].cause == "projection", str(report)


def test_part_along_an_argument_of_the_loss() -> None:
    rng = np.random.default_rng(4)
    w, anchor = (jnp.asarray(rng.standard_normal((5, 4)), jnp.float32) for _ in "wa")
    report = check_gradients(
        lambda w, anchor: jnp.sum(jnp.sin(w)) + 0 * jnp.sum(anchor),
        lambda w, anchor: jnp.cos(w) - 0.1 * anchor,
        *(w, anchor),
    )
    assert report.leaves[0].cause == "projection"
    assert "lies along argument leaf 0" in report.leaves[0].explanation


def test_product_has_no_weight_decay() -> None:
    q = jnp.asarray(np.random.default_rng(3).standard_normal(5), jnp.float32)
    q = q / jnp.linalg.norm(q)
    report = check_vjp(
        lambda q: q / jnp.linalg.norm(q),
        lambda q: (q / jnp.linalg.norm(q), q),
        lambda q, u: (u / jnp.linalg.norm(q),),
        q,
    )
    assert report.leaves[0].cause == "projection"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_small_error_of_algebra_is_neither_an_exchange_nor_rounding(dtype: str) -> None:
    w = jnp.asarray(np.random.default_rng(0).standard_normal((32, 48)), dtype)
    report = check_gradients(
        lambda w: jnp.sum(jnp.sin(w)), lambda w: jnp.cos(w) + 0.03 * w * w, w
    )
    assert report.leaves[0].cause not in ("entries_swapped", "low_precision", None)


@pytest.mark.parametrize(
    ("given", "must"), [(-0.132499, -0.1324991), (1.0, 1 + 1e-12), (7.0, -0.035086)]
)
def test_numbers_are_told_apart(given: float, must: float) -> None:
    first, second = apart(given, must).split(" where ")
    assert first != second
