"""`assert_gradients` in a test: silent, a warning, or the report as the failure."""

import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from gradcheck.cases import loss, point, right, spoiled

from handgrad import GradientMismatch, Report, assert_gradients
from handgrad.gradcheck import Leaf


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


def product(w: dict[str, jax.Array]) -> jax.Array:
    return jnp.sum(w["a"] * w["b"] * w["c"])


def test_warning_is_of_the_line_that_called_and_names_every_untested_leaf() -> None:
    zero = jnp.zeros(2)
    params = {"a": zero, "b": jnp.array([1.5, 2.5]), "c": jnp.array([0.5, 4.5])}
    with pytest.warns(UserWarning, match="untested") as caught:
        assert_gradients(
            product,
            lambda w: {"a": w["b"] * w["c"], "b": w["a"], "c": w["a"]},
            params,
        )
    (warning,) = caught
    assert warning.filename == __file__
    assert str(warning.message) == (
        "gradient untested at ['b'], ['c']: the true gradient is zero or below "
        "rounding there. Check at another point, or with trials=3, key=..."
    )


def test_mismatch_has_the_report_as_its_message_on_a_line_of_its_own() -> None:
    report = Report((Leaf("a", "wrong", cause="sign", explanation="It is -1 times."),))
    mismatch = GradientMismatch(report)
    assert mismatch.report is report
    assert str(mismatch) == f"\n{report}"
    assert isinstance(mismatch, AssertionError)


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
