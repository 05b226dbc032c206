"""A forward rule, in the order of jax.custom_jvp."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_jvp

X = jnp.linspace(0.5, 2.0, 6).reshape(2, 3)
W = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)


def product(x: Any, w: Any) -> Any:
    return jnp.tanh(x @ w)


def product_jvp(primals: Any, tangents: Any, sign: int = 1) -> Any:
    (x, w), (dx, dw) = primals, tangents
    y = product(x, w)
    return y, (dx @ w + sign * x @ dw) * (1 - y * y)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_right_rule_is_right(dtype: str) -> None:
    report = check_jvp(product, product_jvp, X.astype(dtype), W.astype(dtype))
    assert report.ok, str(report)
    paths = [leaf.path for leaf in report.leaves]
    assert paths == ["value", "along [0]", "along [1]", "along all"]


def test_right_rule_in_float64() -> None:
    with jax.enable_x64(True):
        x, w = X.astype(jnp.float64), W.astype(jnp.float64)
        report = check_jvp(product, product_jvp, x, w)
    assert report.ok, str(report)
    assert all(leaf.floor < 1e-13 for leaf in report.leaves)


def test_wrong_rule_names_argument_and_cause() -> None:
    report = check_jvp(product, lambda p, t: product_jvp(p, t, -1), X, W)
    causes = {leaf.path: leaf.cause for leaf in report.leaves}
    assert causes["along [1]"] == "sign"
    assert causes["value"] is None
    assert causes["along [0]"] is None
    assert "The tangent has the opposite sign" in str(report)


def test_small_part_of_a_tangent_does_not_hide() -> None:
    """The second argument moves the output by 1e-9 of what the first does."""

    def function(x: Any, w: Any) -> Any:
        return 1e9 * x + w

    report = check_jvp(function, lambda p, t: (function(*p), 1e9 * t[0]), X[0], W[:, 0])
    assert report.leaves[2].cause == "zero", str(report)


def test_value_of_the_rule_is_checked() -> None:
    report = check_jvp(
        jnp.sin, lambda p, t: (2 * jnp.sin(p[0]), t[0] * jnp.cos(p[0])), X
    )
    assert [leaf.cause for leaf in report.leaves] == ["scale", None]


def test_complex_outputs_integers_and_fixed_arguments() -> None:
    def function(n: int, x: Any, i: Any) -> Any:
        return {"f": jnp.fft.rfft(x)[i] * n, "i": i}

    def rule(n: int, primals: Any, tangents: Any, conjugate: bool = False) -> Any:
        (x, i), (dx, di) = primals, tangents
        assert di.dtype == jax.dtypes.float0
        moved = n * jnp.fft.rfft(dx)[i]
        moved = jnp.conj(moved) if conjugate else moved
        return function(n, x, i), {"f": moved, "i": di}

    x, i = jnp.linspace(0.1, 1.0, 8) ** 2, jnp.array([1, 2])
    report = check_jvp(function, rule, 3, x, i, nondiff_argnums=(0,))
    assert report.ok, str(report)
    report = check_jvp(
        function, lambda n, p, t: rule(n, p, t, True), 3, x, i, nondiff_argnums=(0,)
    )
    assert [leaf.path for leaf in report.wrong] == ["along [1]['f'].imag"]
    assert report.wrong[0].cause == "sign"


def test_function_at_fault_leaves_its_tangents_untested() -> None:
    report = check_jvp(jax.lax.stop_gradient, lambda p, t: (p[0], t[0]), X)
    assert [leaf.verdict for leaf in report.leaves] == ["right", "untested"]
    assert "is not its derivative" in report.faults[0]


def test_function_without_reverse_mode_is_compared_with_differences() -> None:
    def loop(x: Any, inner: Any = lambda x: x) -> Any:
        def step(state: Any) -> Any:
            return jnp.sin(inner(state[0])), state[1] + 1

        return jax.lax.while_loop(lambda state: state[1] < 2, step, (x, 0))[0]

    def rule(p: Any, t: Any) -> Any:
        return jax.jvp(lambda x: jnp.sin(jnp.sin(x)), p, t)

    report = check_jvp(loop, rule, X)
    assert report.ok, str(report)
    stopped = check_jvp(lambda x: loop(x, jax.lax.stop_gradient), rule, X)
    assert "not its derivative" in stopped.faults[0], str(stopped)


@pytest.mark.parametrize(("factor", "cause"), [(1.0, None), (-1.0, "sign")])
def test_function_without_forward_mode_is_compared_with_its_differences(
    factor: float, cause: str | None
) -> None:
    def outside(x: Any) -> Any:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(np.sin, shape, x, vmap_method="expand_dims")

    def rule(p: Any, t: Any) -> Any:
        return outside(p[0]), factor * jnp.cos(p[0]) * t[0]

    report = check_jvp(outside, rule, X)
    leaf = next(leaf for leaf in report.leaves if leaf.path == "along [0]")
    assert leaf.cause == cause, str(report)
    assert leaf.floor < 1e-2
    assert any("differences of the function" in note for note in report.notes)


@pytest.mark.parametrize("nondiff_argnums", [1, -1, (1,), [-1]])
def test_positions_are_those_of_check_vjp(nondiff_argnums: Any) -> None:
    def rule(n: int, primals: Any, tangents: Any) -> Any:
        (x,), (dx,) = primals, tangents
        return x**n, n * x ** (n - 1) * dx

    report = check_jvp(lambda x, n: x**n, rule, X, 3, nondiff_argnums=nondiff_argnums)
    assert report.ok, str(report)
    assert [leaf.path for leaf in report.leaves] == ["value", "along [0]"]
    with pytest.raises(ValueError, match="`nondiff_argnums` must lie in the 2 primals"):
        check_jvp(lambda x, n: x**n, rule, X, 3, nondiff_argnums=2)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"^`jvp` must return a pair"):
        check_jvp(jnp.sin, lambda p, t: jnp.sin(p[0]), X)
    with pytest.raises(ValueError, match=r"^`primals` must hold a floating array"):
        check_jvp(jnp.sum, lambda p, t: (p[0], t[0]), jnp.arange(3))
