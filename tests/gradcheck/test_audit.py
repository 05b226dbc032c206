"""The judge is judged: faults of the loss, kinks, and losses that float64 changes."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from gradcheck.cases import BIAS, WEIGHT, check, leaf_of, loss, point, right

from handgrad import Report, check_gradients


def test_right_loss_has_neither_faults_nor_notes() -> None:
    report = check(right)
    assert (report.faults, report.notes) == ((), ())


def test_stop_gradient_is_a_fault_of_the_loss_and_names_the_leaf() -> None:
    def stopped(params: Any, *args: Any) -> jax.Array:
        weight = jax.lax.stop_gradient(params["weight"])
        return loss(params | {"weight": weight}, *args)

    report = check_gradients(stopped, jax.grad(stopped), *point())
    assert not report.ok
    assert WEIGHT in report.faults[0]
    assert BIAS not in report.faults[0]
    assert leaf_of(report, WEIGHT).verdict == "untested"
    assert leaf_of(report, BIAS).verdict == "right"


def test_wrong_custom_rule_is_a_fault_though_autodiff_agrees() -> None:
    @jax.custom_jvp
    def cube(x: jax.Array) -> jax.Array:
        return x**3

    cube.defjvps(lambda t, out, x: 3.003 * x**2 * t)

    def total(w: jax.Array) -> jax.Array:
        return jnp.sum(cube(w))

    report = check_gradients(total, jax.grad(total), jnp.arange(1.0, 5.0))
    assert not report.ok
    assert "jax.grad of the loss is not its derivative" in report.faults[0]


def _at_kink(gradient_at_zero: float) -> Report:
    def gradient(w: jax.Array) -> jax.Array:
        return jnp.where(w == 0, gradient_at_zero, (w > 0) * 1.0)

    w = jnp.array([1.5, 0.0, -2.25, 0.75, 0.0])
    return check_gradients(lambda w: jnp.sum(jax.nn.relu(w)), gradient, w)


def test_kink_is_a_note_and_no_fault() -> None:
    report = _at_kink(0.0)
    assert report.ok
    assert report.faults == ()
    assert "kink at this very point" in report.notes[0]


def test_other_convention_at_a_kink_is_told_as_such() -> None:
    report = _at_kink(0.5)
    assert report.wrong[0].cause == "kink"
    assert "only the convention" in report.wrong[0].explanation


def test_gradient_wrong_at_a_kink_and_beside_it_is_no_kink() -> None:
    w = jnp.array([1.5, 0.0, -2.25, 0.75, 0.0])
    report = check_gradients(
        lambda w: jnp.sum(jax.nn.relu(w)), lambda w: (w > 0.2) * (w + 1.0), w
    )
    assert report.wrong[0].cause == "unknown"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_a_fault(value: float) -> None:
    report = check_gradients(
        lambda w: jnp.sum(w) + value, lambda w: jnp.ones_like(w), jnp.ones(3)
    )
    assert not report.ok
    assert f"the loss is {value}" in report.faults[0]
    assert not report.wrong


def test_gradient_of_the_judge_that_is_not_finite_is_a_fault() -> None:
    report = check_gradients(
        lambda w: jnp.sum(jnp.sqrt(w)), lambda w: 0.5 / jnp.sqrt(w), jnp.zeros(3)
    )
    assert "jax.grad of the loss in float64 is not finite" in report.faults[0]


def test_loss_that_casts_inside_has_a_judge_of_that_precision() -> None:
    def casts(w: jax.Array) -> jax.Array:
        return jnp.sum(w.astype(jnp.float32) ** 3)

    w = jnp.linspace(1.0, 2.0, 7)
    report = check_gradients(casts, lambda w: 3 * w**2, w)
    assert report.ok
    assert report.judge == "float32"
    assert "casts to float32 inside" in report.notes[0]


def test_random_numbers_drawn_by_dtype_are_no_false_alarm() -> None:
    def noisy(w: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.sum(w**2 * jax.random.normal(key, w.shape, w.dtype))

    def gradient(w: jax.Array, key: jax.Array) -> jax.Array:
        return 2 * w * jax.random.normal(key, w.shape, w.dtype)

    point = (jnp.linspace(1.0, 2.0, 8), jax.random.key(3))
    report = check_gradients(noisy, gradient, *point)
    assert report.ok
    assert report.judge == "float32"
    assert "another function in float64" in report.notes[0]
