"""Verdicts on right gradients, what a check costs, and what it leaves behind."""

import subprocess
import sys
import warnings
from pathlib import Path
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

from handgrad import GradientMismatch, assert_gradients, check_gradients

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
    came = np.asarray(spoiled(weight=add)(params, x, y)["weight"], np.float64)
    with jax.enable_x64(True):
        wide = {name: value.astype(jnp.float64) for name, value in params.items()}
        truth = np.asarray(jax.grad(loss)(wide, x.astype(jnp.float64), y)["weight"])
    norm = np.linalg.norm
    error = norm(came - truth) / norm(truth)
    cosine = np.sum(came * truth) / norm(came) / norm(truth)
    assert leaf.relative_error == pytest.approx(error, rel=1e-12)
    assert leaf.cosine == pytest.approx(cosine, rel=1e-12)
    assert leaf.scale == pytest.approx(cosine * norm(came) / norm(truth), rel=1e-12)
    assert leaf.worst_index == (2, 1)
    assert (leaf.got, leaf.expected) == (came[2, 1], truth[2, 1])
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
        return jnp.sum((w + 1e6) * 1e6 - w * (1e6 - 1e-3))

    report = check_gradients(cancels, jnp.zeros_like, jnp.arange(1.0, 9.0))
    assert report.leaves[0].verdict == "untested"
    assert "rounding alone" in report.leaves[0].explanation


def test_assert_gradients_is_silent_on_a_right_gradient() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_gradients(loss, right, *point())


def test_assert_gradients_raises_the_report() -> None:
    with pytest.raises(GradientMismatch, match="NOT ok: 1 right, 1 wrong") as caught:
        assert_gradients(loss, spoiled(bias=lambda g: -g), *point())
    assert isinstance(caught.value, AssertionError)
    assert caught.value.report.wrong[0].cause == "sign"


def test_assert_gradients_warns_of_untested_leaves() -> None:
    params, x, y = point()
    with pytest.warns(UserWarning, match=r"untested at \['weight'\]"):
        assert_gradients(loss, right, params, jnp.zeros_like(x), y)


def test_assert_gradients_raises_where_nothing_was_tested() -> None:
    with pytest.raises(GradientMismatch, match="1 untested"):
        assert_gradients(lambda w: 0 * jnp.sum(w), jnp.zeros_like, jnp.ones(3))


def test_failing_test_shows_the_table(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import jax.numpy as jnp\n"
        "from handgrad import assert_gradients\n"
        "def test_one():\n"
        "    w = jnp.arange(1.0, 5.0)\n"
        "    assert_gradients(lambda w: jnp.sum(w**2), lambda w: -2 * w, w)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "gradient NOT ok: 1 wrong" in done.stdout
    assert "(params)  wrong" in done.stdout
    assert "sign" in done.stdout


class Counted:
    """How often loss and gradient were called; the loss under autodiff, or not."""

    def __init__(self) -> None:
        self.differentiated = self.losses = self.gradients = 0

    def loss(self, params: Any, *args: Any) -> jax.Array:
        traced = isinstance(params["bias"], jax.core.Tracer)
        self.differentiated += traced
        self.losses += not traced
        return loss(params, *args)

    def right(self, *args: Any) -> Any:
        self.gradients += 1
        return right(*args)

    def wrong(self, *args: Any) -> Any:
        return jax.tree.map(jnp.negative, self.right(*args))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_cost_is_six_gradients_and_eight_losses_at_most(dtype: str, kind: str) -> None:
    count = Counted()
    with jax.enable_x64(dtype == "float64"):
        check_gradients(count.loss, getattr(count, kind), *point(jnp.dtype(dtype)))
    assert count.gradients == 1
    assert count.gradients + count.differentiated == {"float32": 5, "float64": 6}[dtype]
    assert count.losses == 8


FLAGS = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_default_device")


@pytest.mark.parametrize("x64", [False, True])
def test_no_flag_is_left_changed(x64: bool) -> None:
    with jax.enable_x64(x64):
        before = [getattr(jax.config, flag) for flag in FLAGS]
        check(right)
        assert [getattr(jax.config, flag) for flag in FLAGS] == before
        assert jnp.zeros(1).dtype == (jnp.float64 if x64 else jnp.float32)


def test_no_flag_is_left_changed_by_a_loss_that_raises() -> None:
    def broken(w: jax.Array) -> jax.Array:
        if jax.config.jax_enable_x64:
            raise RuntimeError("no float64 here")
        return jnp.sum(w**2)

    before = [getattr(jax.config, flag) for flag in FLAGS]
    report = check_gradients(broken, lambda w: 2 * w, jnp.ones(3))
    assert [getattr(jax.config, flag) for flag in FLAGS] == before
    assert "no float64 here" in report.notes[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strict_promotion_of_the_caller_is_respected(dtype: str) -> None:
    with (
        jax.enable_x64(dtype == "float64"),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
    ):
        assert check(right, jnp.dtype(dtype)).ok


def test_the_point_is_left_as_it_was() -> None:
    params, x, y = point()
    kept = jax.tree.map(np.array, (params, x, y))
    check_gradients(loss, right, params, x, y, trials=2, key=jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, kept, (params, x, y))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "`trials` must be 1 or more, got 0"),
        ({"trials": 2}, "`key` must be given for trials > 1"),
    ],
)
def test_options_that_cannot_be_met(options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(right, **options)


def test_complex_parameters_are_refused() -> None:
    with pytest.raises(TypeError, match="`params` must be real"):
        check_gradients(jnp.abs, jnp.abs, jnp.array(1j))


@pytest.mark.parametrize("output", [lambda w: w, lambda w: jnp.sum(w) > 0])
def test_loss_must_be_a_real_scalar(output: Any) -> None:
    with pytest.raises(TypeError, match="`loss` must return a real scalar"):
        check_gradients(output, lambda w: w, jnp.ones(2))
