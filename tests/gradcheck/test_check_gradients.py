"""Verdicts on right gradients, what a check costs, and what it leaves behind."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import (
    BIAS,
    WEIGHT,
    check,
    leaf_of,
    loss,
    point,
    right,
    sample_weights,
    spoiled,
)

from handgrad import check_gradients
from handgrad.gradcheck.check import Check, move
from handgrad.gradcheck.reference.float64 import Point

DTYPES = ("float32", "float64", "bfloat16", "float16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_gradient_is_right_in_every_dtype(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        report = check(right, jnp.dtype(dtype))
    assert report.ok
    assert [leaf.verdict for leaf in report.leaves] == ["right", "right"]
    assert {leaf.dtype for leaf in report.leaves} == {dtype}
    assert report.judge == "float64"


@pytest.mark.parametrize("dtype", DTYPES)
def test_floor_is_some_roundings_of_the_dtype(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        leaves = check(right, jnp.dtype(dtype)).leaves
    unit = float(jnp.finfo(dtype).eps) / 2
    assert all(unit < leaf.floor < 100 * unit for leaf in leaves)


@pytest.mark.parametrize("dtype", DTYPES)
def test_wrong_gradient_is_wrong_in_every_dtype(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        report = check(spoiled(weight=lambda g: g * 1.1), jnp.dtype(dtype))
    assert not report.ok
    assert [leaf.ok for leaf in report.leaves] == [True, False]
    assert report.wrong[0].scale == pytest.approx(1.1, rel=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factor_1_001_is_caught_where_the_dtype_can_tell(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        report = check(spoiled(bias=lambda g: g * 1.001), jnp.dtype(dtype))
    assert [leaf.path for leaf in report.wrong] == [BIAS]
    assert "1.001 times" in report.wrong[0].explanation


def test_figures_of_a_leaf_are_those_of_its_definition() -> None:
    def add(g: jax.Array) -> jax.Array:
        return g.at[2, 1].add(0.5)

    leaf = leaf_of(check(spoiled(weight=add)), WEIGHT)
    params, x, y = point()
    compiled = jax.jit(spoiled(weight=add))
    given = np.asarray(compiled(params, x, y)["weight"], np.float64)
    with jax.enable_x64(True):
        wide = {name: value.astype(jnp.float64) for name, value in params.items()}
        truth = np.asarray(jax.grad(loss)(wide, x.astype(jnp.float64), y)["weight"])
    norm = np.linalg.norm
    error = norm(given - truth) / norm(truth)
    cosine = np.sum(given * truth) / norm(given) / norm(truth)
    assert leaf.relative_error == pytest.approx(error, rel=1e-12)
    assert leaf.cosine == pytest.approx(cosine, rel=1e-12)
    assert leaf.scale == pytest.approx(cosine * norm(given) / norm(truth), rel=1e-12)
    assert leaf.worst_index == (2, 1)
    assert (leaf.got, leaf.expected) == (given[2, 1], truth[2, 1])
    assert leaf.shape == (6, 4)


def test_pair_with_its_value_is_understood() -> None:
    report = check(lambda *args: (loss(*args), right(*args)))
    assert report.ok
    assert not report.faults


def test_pair_with_value_and_auxiliary_output_is_understood() -> None:
    report = check_gradients(
        lambda *args: (loss(*args), "aux"),
        lambda *args: ((loss(*args), "aux"), right(*args)),
        *point(),
    )
    assert report.ok
    assert not report.faults


def test_wrong_value_beside_a_right_gradient_is_a_fault() -> None:
    report = check(lambda *args: (1.001 * loss(*args), right(*args)))
    assert not report.ok
    assert not report.wrong
    assert "value that came with the gradient" in report.faults[0]


def test_weights_and_a_jitted_gradient() -> None:
    report = check_gradients(loss, jax.jit(right), *point(), sample_weights())
    assert report.ok


class Static(NamedTuple):
    """A pytree with leaves that have no gradient."""

    scale: Any
    steps: Any
    ready: Any


def test_leaves_without_a_gradient_are_told_and_not_failed() -> None:
    params = Static(jnp.array([1.0, 2.0, 4.0]), jnp.array([1, 2]), True)
    report = check_gradients(
        lambda p: jnp.sum(p.scale**2) * p.steps[0],
        lambda p: p._replace(scale=2 * p.scale),
        params,
    )
    verdicts = {leaf.path: leaf.verdict for leaf in report.leaves}
    assert verdicts == {
        ".scale": "right",
        ".steps": "not differentiable",
        ".ready": "not differentiable",
    }
    assert report.ok


def test_zero_gradient_is_untested_and_no_pass() -> None:
    report = check_gradients(
        lambda w, x: jnp.sum(w * x),
        lambda w, x: jnp.zeros_like(w),
        jnp.ones(4),
        jnp.zeros(4),
    )
    assert report.leaves[0].verdict == "untested"
    assert report.leaves[0].ok is None
    assert not report.ok
    assert "true gradient is zero" in report.leaves[0].explanation


def test_untested_leaf_does_not_fail_the_others() -> None:
    params, x, y = point()
    report = check_gradients(loss, right, params, jnp.zeros_like(x), y)
    assert [leaf.verdict for leaf in report.leaves] == ["right", "untested"]
    assert report.ok


def test_cancelled_gradient_below_rounding_is_untested() -> None:
    def cancels(w: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(w) ** 2 + jnp.cos(w) ** 2 + 1e-8 * w)

    report = check_gradients(cancels, jnp.zeros_like, jnp.arange(1.0, 9.0))
    assert report.leaves[0].verdict == "untested"
    assert "rounding alone" in report.leaves[0].explanation


NEEDS_A_KEY = (
    "`key` must be given for trials > 1, which draw points at random. Pass "
    "key=jax.random.key(0)."
)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trials": 0}, "`trials` must be 1 or more, got 0."),
        ({"trials": -1}, "`trials` must be 1 or more, got -1."),
        ({"trials": 0, "key": jax.random.key(0)}, "`trials` must be 1 or more, got 0."),
        ({"trials": 2}, NEEDS_A_KEY),
        ({"trials": 3}, NEEDS_A_KEY),
    ],
)
def test_options_that_cannot_be_met(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        check(never, **options)
    assert str(caught.value) == text


def never(*args: Any) -> Any:
    """A function that must not be called."""
    raise AssertionError


@pytest.mark.parametrize("turn", [jnp.conj, lambda v: v])
def test_complex_parameters_are_checked_in_the_convention_of_jax(turn: Any) -> None:
    def loss(p: Any) -> jax.Array:
        return jnp.sum(jnp.arange(1.0, 5.0) * jnp.abs(p["z"]) ** 2) * p["a"]

    def gradient(p: Any) -> Any:
        right = jax.grad(loss)(p)
        return right | {"z": 2 * jnp.arange(1.0, 5.0) * turn(p["z"]) * p["a"]}

    params = {"z": jnp.array([1 + 2j, 3 - 1j, 0.5j, 1.25]), "a": 1.5}
    report = check_gradients(loss, gradient, params)
    cause = None if turn is jnp.conj else "conjugate"
    assert [leaf.cause for leaf in report.leaves] == [None, cause]
    assert report.ok == (cause is None)
    assert report.to_dict()["leaves"][1]["got"][0] == pytest.approx(
        report.leaves[1].got.real
    )


@pytest.mark.parametrize("accuracy", [-1e-3, 1.0, 2.0])
def test_accuracy_must_be_a_share(accuracy: float) -> None:
    with pytest.raises(ValueError, match="`accuracy` must be a share"):
        check_gradients(jnp.sum, jnp.ones_like, jnp.ones(3), accuracy=accuracy)


def points_of(**options: Any) -> list[np.ndarray]:
    """Where the gradient of a constant is asked for."""
    seen = []

    def gradient(w: jax.Array) -> jax.Array:
        seen.append(np.asarray(w))
        return jnp.zeros_like(w)

    check_gradients(lambda w: 0 * jnp.sum(w), gradient, START, **options)
    return seen


START = jnp.array([1.5, -2.5])


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 1),
        ({"key": jax.random.key(5)}, 1),
        ({"trials": 1}, 1),
        ({"trials": 2, "key": jax.random.key(5)}, 2),
        ({"trials": 4, "key": jax.random.key(5)}, 4),
    ],
)
def test_points_are_the_given_one_and_one_for_each_later_key(
    options: dict[str, Any], count: int
) -> None:
    expected = [START]
    for key in jax.random.split(jax.random.key(5), count)[1:]:
        expected.append(move(Check(Point(loss, START, ()), right), key).point.params)
    np.testing.assert_array_equal(points_of(**options), expected)


@pytest.mark.parametrize("output", [lambda w: w, lambda w: jnp.sum(w) > 0])
def test_loss_must_be_a_real_scalar(output: Any) -> None:
    with pytest.raises(TypeError, match="`loss` must return a real scalar"):
        check_gradients(output, lambda w: w, jnp.ones(2))
