"""A forward and a backward function, in the order of jax.custom_vjp."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import check_vjp
from handgrad.gradcheck.cotangents import Cotangent

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
    assert report.faults[0].startswith("`fwd` must return the output of the function: ")
    assert "came with the gradient" not in str(report)


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


def seen_by(bwd: Any, **options: Any) -> list[Any]:
    """(residuals, cotangent) of every call, with the numbers that came."""
    seen: list[Any] = []

    def looks(residuals: Any, u: Any) -> Any:
        seen.append((np.asarray(residuals[0]), np.asarray(u)))  # so it is not compiled
        return bwd(residuals, u)

    assert check_vjp(product, product_fwd, looks, X, W, **options).ok
    return seen


def test_each_trial_has_a_cotangent_and_primals_of_its_own() -> None:
    (x0, u0), (x1, u1), (x2, u2) = seen_by(product_bwd, key=jax.random.key(3), trials=3)
    for one, two in ((u0, u1), (u1, u2), (u0, u2), (x0, x1), (x1, x2)):
        assert not np.array_equal(one, two)


def test_key_chooses_the_cotangent_and_the_default_key_is_0() -> None:
    def cotangent(**options: Any) -> Any:
        ((_, u),) = seen_by(product_bwd, **options)
        return u

    first = cotangent()
    np.testing.assert_array_equal(first, cotangent(key=jax.random.key(0)))
    np.testing.assert_array_equal(first, cotangent(key=jax.random.PRNGKey(0)))
    assert not np.array_equal(first, cotangent(key=jax.random.key(1)))


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4)])
def test_data_of_any_seed_are_no_cotangent(seed: int, shape: tuple[int, ...]) -> None:
    """A rule that takes its input for the cotangent, at data that a seed has drawn."""
    data = [
        np.random.default_rng(seed).standard_normal(shape),
        np.random.default_rng([0, seed]).standard_normal(shape),
        np.random.RandomState(seed).standard_normal(shape),
        jax.random.normal(jax.random.key(seed), shape),
    ]
    for x in data:
        report = check_vjp(
            jnp.tanh,
            lambda x: (jnp.tanh(x), x),
            lambda x, u: (x * (1 - jnp.tanh(x) ** 2),),
            jnp.asarray(x, jnp.float32),
            key=jax.random.key(seed),
        )
        assert not report.ok


def test_wrong_number_of_cotangents() -> None:
    with pytest.raises(TypeError, match="`bwd` must return a tuple of 2"):
        check_vjp(product, product_fwd, lambda r, u: (u,), X, W)


def mixed(x: Any) -> dict[str, Any]:
    """Leaves of four dtypes and shapes, one without a cotangent, and nothing."""
    return {
        "half": x[:2].astype(jnp.bfloat16),
        "index": jnp.array([4, 3, 2]),
        "none": None,
        "turned": jnp.fft.rfft(x),
        "whole": x[None],
    }


def test_bwd_receives_a_cotangent_like_the_output_and_float0_for_integers() -> None:
    form = Cotangent.of(jax.eval_shape(mixed, X[0]))
    drawn = form.draw(3)
    u = form.match(drawn)
    assert list(u) == ["half", "index", "none", "turned", "whole"]
    for name in ("half", "turned", "whole"):
        assert (u[name].shape, u[name].dtype) == (
            mixed(X[0])[name].shape,
            mixed(X[0])[name].dtype,
        )
    assert u["none"] is None
    assert u["index"].dtype == jax.dtypes.float0
    assert u["index"].shape == (3,)
    assert np.iscomplexobj(u["turned"])
    assert np.imag(u["turned"]).all()


@pytest.mark.parametrize(
    ("dtypes", "expected", "dtype"),
    [
        (("bfloat16", "bfloat16"), (1 + 2**-7) ** 2 - 6, "float32"),
        (("float16", "float32"), (1 + 2**-7) ** 2 - 6, "float32"),
        (("bfloat16", "float64"), (1 + 2**-7) ** 2 - 6 * (1 + 2**-40), "float64"),
    ],
)
def test_inner_product_is_in_the_wider_dtype(
    dtypes: tuple[str, str], expected: float, dtype: str
) -> None:
    with jax.enable_x64("float64" in dtypes):
        first = jnp.array([1 + 2**-7, 0.0]).astype(dtypes[0])
        second = jnp.array([1 + 2**-40, -3.0]).astype(dtypes[1])
        output = (first, jnp.arange(3), second)
        u = jnp.array([1 + 2**-7, 5.0]), jnp.array([-6.0, 0.0])
        given = [u[0].astype(dtypes[0]), u[1].astype(dtypes[1])]
        total = Cotangent.of(output).inner(given, output)
        assert total.dtype == dtype
        assert float(total) == expected


def test_inner_product_of_complex_numbers_has_no_conjugate() -> None:
    output = jnp.array([1 + 2j, 3 - 1j], jnp.complex64)
    u = [jnp.array([2 - 1j, 1j], jnp.complex64)]
    assert float(Cotangent.of(output).inner(u, output)) == 4 + 1


def test_inner_product_with_an_output_of_integers_is_0() -> None:
    form = Cotangent.of(jnp.arange(3))
    assert form.draw(0) == []
    total = form.inner([], jnp.arange(3))
    assert (total.dtype, total.shape, float(total)) == (jnp.float32, (), 0)


def test_complex_outputs_count() -> None:
    """Half of the gradient is in the transform, and forgotten."""

    def function(x: Any) -> Any:
        return jnp.sin(x), jnp.fft.rfft(x)

    def bwd(x: Any, u: Any) -> Any:
        return (jax.vjp(function, x)[1](u)[0],)

    x = jnp.arange(12.0) / 5
    right = check_vjp(function, lambda x: (function(x), x), bwd, x)
    half = check_vjp(
        function, lambda x: (function(x), x), lambda x, u: (u[0] * jnp.cos(x),), x
    )
    assert right.ok
    assert not half.ok


@pytest.mark.parametrize(
    ("turn", "cause"), [(lambda v: v, None), (jnp.conj, "conjugate")]
)
def test_complex_primals_are_checked_in_the_convention_of_jax(
    turn: Any, cause: str | None
) -> None:
    z = X + 1j * jnp.cos(3 * X)
    report = check_vjp(
        lambda z: z**2, lambda z: (z**2, z), lambda z, u: (turn(2 * z * u),), z
    )
    assert report.leaves[0].cause == cause


def blend(a: Any, b: Any, c: Any) -> Any:
    """Of three arguments, each of which counts for something else."""
    return a * a + 10 * b * b + 100 * c * c


@pytest.mark.parametrize(
    ("nondiff_argnums", "fixed", "moving"),
    [
        ((), (), (0, 1, 2)),
        (1, (1,), (0, 2)),
        (-1, (2,), (0, 1)),
        ((0,), (0,), (1, 2)),
        ((2,), (2,), (0, 1)),
        ((-3,), (0,), (1, 2)),
        ((0, 2), (0, 2), (1,)),
        ((-1, 0), (0, 2), (1,)),
    ],
)
def test_arguments_that_are_not_differentiated_keep_their_values(
    nondiff_argnums: Any, fixed: tuple[int, ...], moving: tuple[int, ...]
) -> None:
    primals = [jnp.arange(1.0, 4.0), jnp.arange(2.0, 5.0), jnp.arange(3.0, 6.0)]
    factors = (2, 20, 200)

    def bwd(*received: Any) -> Any:
        *given, residuals, u = received
        assert len(given) == len(fixed)
        for i, value in zip(fixed, given, strict=True):
            np.testing.assert_array_equal(value, primals[i])
        return tuple(factors[i] * residuals[i] * u for i in moving)

    def fwd(*primals: Any) -> Any:
        return blend(*primals), primals

    report = check_vjp(blend, fwd, bwd, *primals, nondiff_argnums=nondiff_argnums)
    assert report.ok
    assert len(report.leaves) == len(moving)


@pytest.mark.parametrize("position", [3, -4])
def test_position_without_a_primal_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match="`nondiff_argnums` must lie in the 3 primals"):
        check_vjp(blend, blend, blend, 1.0, 2.0, 3.0, nondiff_argnums=position)


def test_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="`tries` must be an option"):
        check_vjp(product, product_fwd, product_bwd, X, W, tries=3)


@pytest.mark.parametrize("part", ["whole", "a", "b"])
def test_none_stands_for_the_zeros_of_a_part_of_a_tree(part: str) -> None:
    tree = {"a": X, "b": [X, jnp.arange(3)], "c": X}

    def function(tree: Any, x: Any) -> Any:
        return tree["c"] * (part != "whole") + x["scale"]

    def bwd(_: Any, u: Any) -> Any:
        zeros = [jnp.zeros_like(X), np.zeros(3, jax.dtypes.float0)]
        given = {"a": jnp.zeros_like(X), "b": zeros, "c": u}
        if part == "whole":
            return None, {"scale": u}
        return given | {part: None}, {"scale": u}

    def fwd(*primals: Any) -> Any:
        return function(*primals), None

    report = check_vjp(function, fwd, bwd, tree, {"scale": X})
    assert report.ok, str(report)
    assert not report.faults


@pytest.mark.parametrize(
    ("returned", "size"),
    [
        ((), "0"),
        ([X], "1"),
        ((X, W, X), "3"),
        (None, "NoneType"),
        ({"x": X, "w": W}, "dict"),
    ],
)
def test_cotangents_that_are_no_tuple_of_the_primals(returned: Any, size: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_vjp(product, product_fwd, lambda r, u: returned, X, W)
    assert str(caught.value) == (
        "`bwd` must return a tuple of 2, one cotangent per differentiable primal, "
        f"got {size}. Return None where it is zero."
    )


def test_forward_of_another_dtype_is_a_fault() -> None:
    report = check_vjp(
        jnp.sin,
        lambda x: (jnp.sin(x).astype(jnp.bfloat16), x),
        lambda x, u: ((u * jnp.cos(x)).astype(jnp.float32),),
        X,
    )
    assert not report.ok
    assert "float32, got bfloat16" in report.faults[-1]


def test_output_may_hold_none() -> None:
    def function(x: Any) -> Any:
        return jnp.sin(x), None

    report = check_vjp(
        function, lambda x: (function(x), x), lambda x, u: (u[0] * jnp.cos(x),), X
    )
    assert report.ok


def test_names_are_those_of_axes_not_of_samples() -> None:
    x = jnp.sin(jnp.arange(16.0))
    report = check_vjp(
        jnp.cumsum,
        lambda x: (jnp.cumsum(x), None),
        lambda _, u: (jnp.cumsum(u[::-1])[::-1] / 16,),
        x,
    )
    (leaf,) = report.leaves
    assert leaf.cause == "scale"
    assert "1/16, the length of axis 0 of [0]" in leaf.explanation
    assert "batch" not in str(report)


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
