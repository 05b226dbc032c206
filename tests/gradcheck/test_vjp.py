"""A forward and a backward function, in the order of jax.custom_vjp."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from handgrad import check_vjp

X = jnp.linspace(0.5, 2.0, 12).reshape(4, 3)
W = jnp.linspace(-1.0, 1.0, 15).reshape(3, 5)


def product(x: Any, w: Any) -> Any:
    """tanh(x w)."""
    return jnp.tanh(x @ w)


def product_fwd(x: Any, w: Any) -> Any:
    out = product(x, w)
    return out, (x, w, out)


def product_bwd(residuals: Any, u: Any) -> Any:
    x, w, out = residuals
    d = u * (1 - out**2)
    return d @ w.T, x.T @ d


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_right_rule_is_right(dtype: str) -> None:
    primals = (X.astype(dtype), W.astype(dtype))
    report = check_vjp(product, product_fwd, product_bwd, *primals)
    assert report.ok, str(report)
    assert [leaf.path for leaf in report.leaves] == ["[0]", "[1]"]


def test_right_rule_in_float64_under_strict_promotion() -> None:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        primals = (X.astype(jnp.float64), W.astype(jnp.float64))
        report = check_vjp(product, product_fwd, product_bwd, *primals)
    assert report.ok, str(report)
    assert all(leaf.floor < 1e-13 for leaf in report.leaves)


def test_wrong_rule_names_primal_and_cause() -> None:
    def bwd(residuals: Any, u: Any) -> Any:
        dx, dw = product_bwd(residuals, u)
        return dx, -dw

    report = check_vjp(product, product_fwd, bwd, X, W)
    assert [leaf.ok for leaf in report.leaves] == [True, False]
    assert report.leaves[1].cause == "sign"


def test_rule_that_forgets_the_cotangent_is_wrong() -> None:
    def bwd(residuals: Any, u: Any) -> Any:
        return product_bwd(residuals, jnp.ones_like(u))

    assert not check_vjp(product, product_fwd, bwd, X, W).ok


def test_forward_that_computes_something_else_is_a_fault() -> None:
    def fwd(x: Any, w: Any) -> Any:
        out, residuals = product_fwd(x, w)
        return 1.01 * out, residuals

    report = check_vjp(product, fwd, product_bwd, X, W)
    assert not report.ok
    assert not report.wrong
    assert "value that came with the gradient" in report.faults[0]


def test_none_stands_for_zero_and_is_found_where_it_is_not() -> None:
    report = check_vjp(
        product, product_fwd, lambda r, u: (product_bwd(r, u)[0], None), X, W
    )
    assert [leaf.ok for leaf in report.leaves] == [True, False]
    assert report.leaves[1].cause == "zero"


def test_arguments_that_are_not_differentiated_come_first_in_bwd() -> None:
    def power(x: Any, n: int) -> Any:
        return x**n

    report = check_vjp(
        power,
        lambda x, n: (x**n, x),
        lambda n, x, u: (u * n * x ** (n - 1),),
        X,
        3,
        nondiff_argnums=(1,),
    )
    assert report.ok
    assert len(report.leaves) == 1


def test_output_may_be_a_tree_with_integers_in_it() -> None:
    def function(x: Any) -> Any:
        return {"y": x**2, "where": jnp.argmax(x)}

    report = check_vjp(
        function, lambda x: (function(x), x), lambda x, u: (2 * x * u["y"],), X[0]
    )
    assert report.ok


def test_key_chooses_the_cotangent_and_trials_move_the_primals() -> None:
    seen = []

    def bwd(residuals: Any, u: Any) -> Any:
        seen.append((residuals[0], u))
        return product_bwd(residuals, u)

    for seed in (0, 1):
        key = jax.random.key(seed)
        assert check_vjp(product, product_fwd, bwd, X, W, key=key, trials=2).ok
    (x0, u0), (x1, _), (_, u1), _ = seen
    assert not jnp.array_equal(u0, u1)
    assert not jnp.array_equal(x0, x1)


def test_wrong_number_of_cotangents() -> None:
    with pytest.raises(TypeError, match="`bwd` must return a tuple of 2"):
        check_vjp(product, product_fwd, lambda r, u: (u,), X, W)
