"""A forward and a backward function, in the order of jax.custom_vjp."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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


class Asked(NamedTuple):
    """What `check_vjp` asks `check_gradients`."""

    loss: Callable[..., Any]
    gradient: Callable[..., Any]
    params: tuple[Any, ...]
    u: Any
    options: dict[str, Any]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """`check_vjp` that answers with its question."""

    def note(loss: Any, gradient: Any, params: Any, u: Any, **options: Any) -> Asked:
        return Asked(loss, gradient, params, u, options)

    monkeypatch.setattr("handgrad.gradcheck.vjp.check_gradients", note)
    return check_vjp  # pyright: ignore[reportReturnType]


def test_cotangent_is_drawn_from_the_key_and_the_default_key_is_0(
    ask: Callable[..., Asked],
) -> None:
    def cotangent(**options: Any) -> Any:
        asked = ask(product, product_fwd, product_bwd, X, W, trials=2, **options)
        key = options.get("key", jax.random.key(0))
        assert asked.options == {"key": key, "trials": 2}
        return asked.u

    def normal(*seed: int) -> Any:
        return np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)

    np.testing.assert_array_equal(cotangent(), normal(0, 0))
    np.testing.assert_array_equal(cotangent(key=jax.random.key(0)), normal(0, 0))
    np.testing.assert_array_equal(cotangent(key=jax.random.key(7)), normal(0, 7))


def mixed(x: Any) -> dict[str, Any]:
    """Leaves of three dtypes and three shapes, one of them without a cotangent."""
    return {
        "half": x[:2].astype(jnp.bfloat16),
        "index": jnp.array([4, 3, 2]),
        "whole": x[None],
    }


def test_bwd_receives_a_cotangent_like_the_output_and_float0_for_integers(
    ask: Callable[..., Asked],
) -> None:
    returned = []

    def bwd(residuals: Any, u: Any) -> Any:
        returned.append((residuals, u))
        return (residuals,)

    asked = ask(mixed, lambda x: (mixed(x), 2 * x), bwd, X[0])
    generator = np.random.default_rng([0, 0])
    assert asked.u["index"] is None
    for name, shape in {"half": (2,), "whole": (1, 3)}.items():
        assert asked.u[name].dtype == mixed(X[0])[name].dtype
        expected = jnp.asarray(generator.standard_normal(shape), asked.u[name].dtype)
        np.testing.assert_array_equal(asked.u[name], expected)
    asked.gradient((3 * X[0],), asked.u)
    ((residuals, u),) = returned
    np.testing.assert_array_equal(residuals, 6 * X[0])
    assert list(u) == ["half", "index", "whole"]
    assert u["half"] is asked.u["half"]
    assert u["whole"] is asked.u["whole"]
    assert u["index"].dtype == jax.dtypes.float0
    assert u["index"].shape == (3,)


@pytest.mark.parametrize(
    ("dtypes", "expected", "dtype"),
    [
        (("bfloat16", "bfloat16"), (1 + 2**-7) ** 2 - 6, "float32"),
        (("float16", "float32"), (1 + 2**-7) ** 2 - 6, "float32"),
        (("bfloat16", "float64"), (1 + 2**-7) ** 2 - 6 * (1 + 2**-40), "float64"),
    ],
)
def test_inner_product_is_in_the_wider_dtype(
    ask: Callable[..., Asked], dtypes: tuple[str, str], expected: float, dtype: str
) -> None:
    def function(x: Any) -> Any:
        second = jnp.array([1 + 2**-40, -3.0]).astype(dtypes[1])
        return (x.astype(dtypes[0]), jnp.arange(3), second)

    with jax.enable_x64("float64" in dtypes):
        x = jnp.array([1 + 2**-7, 0.0])
        asked = ask(function, lambda x: (function(x), None), lambda r, u: (x,), x)
        u = jnp.array([1 + 2**-7, 5.0]), None, jnp.array([-6.0, 0.0])
        given = u[0].astype(dtypes[0]), None, u[2].astype(dtypes[1])
        for total in (asked.loss((x,), given), asked.gradient((x,), given)[0]):
            assert total.dtype == dtype
            assert float(total) == expected


def test_inner_product_with_an_output_of_integers_is_0(
    ask: Callable[..., Asked],
) -> None:
    asked = ask(jnp.argmax, lambda x: (jnp.argmax(x), None), lambda r, u: (None,), X)
    assert asked.u is None
    total = asked.loss((X,), None)
    assert total.dtype == jnp.float32
    assert total.shape == ()
    assert float(total) == 0


def blend(a: Any, b: Any, c: Any) -> Any:
    """Of three arguments, each of which counts for something else."""
    return a + 10 * b + 100 * c


@pytest.mark.parametrize(
    ("nondiff_argnums", "fixed", "moving"),
    [
        ((), (), (0, 1, 2)),
        ((0,), (0,), (1, 2)),
        ((1,), (1,), (0, 2)),
        ((2,), (2,), (0, 1)),
        ((-1,), (2,), (0, 1)),
        ((-3,), (0,), (1, 2)),
        ((0, 1), (0, 1), (2,)),
        ((0, 2), (0, 2), (1,)),
        ((1, -1), (1, 2), (0,)),
        ((-1, 0), (0, 2), (1,)),
    ],
)
def test_arguments_that_are_not_differentiated_keep_their_values(
    ask: Callable[..., Asked],
    nondiff_argnums: tuple[int, ...],
    fixed: tuple[int, ...],
    moving: tuple[int, ...],
) -> None:
    returned = []

    def fwd(*primals: Any) -> Any:
        return blend(*primals), primals

    def bwd(*received: Any) -> Any:
        returned.append(received)
        return tuple(jnp.full((), 7.0 + i) for i in moving)

    primals = [jnp.float32(1), jnp.float32(2), jnp.float32(3)]
    asked = ask(blend, fwd, bwd, *primals, nondiff_argnums=nondiff_argnums)
    assert asked.params == tuple(primals[i] for i in moving)
    params, u = tuple(4 * value for value in asked.params), jnp.float32(2)
    put = [4 * p if i in moving else p for i, p in enumerate(primals)]
    value, cotangents = asked.gradient(params, u)
    assert cotangents == tuple(7.0 + i for i in moving)
    assert value == asked.loss(params, u) == 2 * blend(*put)
    assert returned == [(*(primals[i] for i in fixed), tuple(put), u)]


def test_bwd_receives_fixed_arguments_as_from_jax(ask: Callable[..., Asked]) -> None:
    received = []

    def fwd(a: Any, b: Any, c: Any) -> Any:
        return blend(a, b, c), None

    def bwd(*given: Any) -> Any:
        received.append(given[:-2])
        return (10 * given[-1],)

    primals = [jnp.float32(1), jnp.float32(2), jnp.float32(3)]
    rule = jax.custom_vjp(blend, nondiff_argnums=(2, 0))
    rule.defvjp(fwd, bwd)
    assert jax.grad(rule, argnums=1)(*primals) == 10
    asked = ask(blend, fwd, bwd, *primals, nondiff_argnums=(2, 0))
    asked.gradient(asked.params, asked.u)
    assert received == [(1, 3), (1, 3)]


@pytest.mark.parametrize("form", [tuple, list])
def test_none_stands_for_the_zeros_of_a_whole_tree(
    ask: Callable[..., Asked], form: Callable[..., Any]
) -> None:
    steps = jnp.array([3, 4])
    tree = {"a": X, "b": 0.5, "c": steps, "d": 3, "e": "relu", "f": np.float64(2)}
    given = {"scale": jnp.ones((4, 3))}

    def function(tree: Any, x: Any) -> Any:
        return x["scale"]

    def bwd(residuals: Any, u: Any) -> Any:
        return form([None, given])

    asked = ask(function, lambda *primals: (function(*primals), None), bwd, tree, given)
    _, (zeros, other) = asked.gradient(asked.params, asked.u)
    assert other is given
    assert list(zeros) == list(tree)
    np.testing.assert_array_equal(zeros["a"], np.zeros((4, 3)))
    np.testing.assert_array_equal(zeros["c"], [0, 0])
    assert (zeros["d"], zeros["e"]) == (3, "relu")
    for name in ("b", "f"):
        assert isinstance(zeros[name], jax.Array)
        assert zeros[name].shape == ()
        assert zeros[name] == 0
    assert [zeros[name].dtype for name in "abcf"] == [
        X.dtype,
        "float32",
        "int32",
        "float32",
    ]


@pytest.mark.parametrize(
    ("returned", "size"),
    [
        ((), "0"),
        ((X,), "1"),
        ([X], "1"),
        ((X, W, X), "3"),
        (None, "NoneType"),
        ({"x": X, "w": W}, "dict"),
        (np.zeros(2), "ndarray"),
    ],
)
def test_cotangents_that_are_no_tuple_of_the_primals(
    ask: Callable[..., Asked], returned: Any, size: str
) -> None:
    asked = ask(product, product_fwd, lambda r, u: returned, X, W)
    with pytest.raises(TypeError) as caught:
        asked.gradient(asked.params, asked.u)
    assert str(caught.value) == (
        "`bwd` must return a tuple of 2, one cotangent per differentiable primal, "
        f"got {size}. Return None where it is zero."
    )


@pytest.mark.parametrize(
    ("forward", "got"),
    [
        (lambda x: (x, x), "((4, 3), (4, 3))"),
        (lambda x: x, "(4, 3)"),
        (lambda x: (x[0],), "((3,),)"),
    ],
)
def test_forward_whose_output_has_another_form_is_refused(
    forward: Callable[..., Any], got: str
) -> None:
    text = (
        "`fwd` must return (output, residuals) with the output of the function, whose "
        f"shapes are ((4, 3),), got {got}."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
        check_vjp(lambda x: (x,), lambda x: (forward(x), None), lambda r, u: u, X)


def test_python_floats_are_primals_and_outputs() -> None:
    report = check_vjp(
        lambda x, y: x * y,
        lambda x, y: (x * y, (x, y)),
        lambda r, u: (u * r[1], 0.0),
        2.0,
        3.0,
    )
    assert [leaf.verdict for leaf in report.leaves] == ["right", "wrong"]
