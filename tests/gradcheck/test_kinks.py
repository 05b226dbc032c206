"""Where autodiff is no judge: kinks, NaN, losses that it has no gradient of."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from handgrad import Report, check_gradients, check_vjp


def absolute(v: jax.Array) -> jax.Array:
    return jnp.sum(jnp.abs(v))


@pytest.mark.parametrize(
    ("at_zero", "verdict"),
    [(0.0, "convention"), (-1.0, "convention"), (1.0, "right"), (0.3, "convention")],
)
def test_number_between_the_one_sided_derivatives_is_a_convention(
    at_zero: float, verdict: str
) -> None:
    def gradient(v: jax.Array) -> jax.Array:
        return jnp.where(v == 0, at_zero, jnp.sign(v))

    report = check_gradients(absolute, gradient, jnp.array([1.0, 0.0, -2.0, 0.5]))
    assert report.ok
    assert report.leaves[0].verdict == verdict
    assert report.leaves[0].ok


@pytest.mark.parametrize("at_zero", [5.0, -1.01])
@pytest.mark.parametrize("zeros", [1, 2])
def test_number_outside_of_them_is_wrong(at_zero: float, zeros: int) -> None:
    v = jnp.array([1.0, 0.0, -2.0, 0.0, 0.5]).at[3].set(0.0 if zeros == 2 else 1.0)
    report = check_gradients(
        absolute, lambda v: jnp.where(v == 0, at_zero, jnp.sign(v)), v
    )
    assert not report.ok
    assert report.leaves[0].verdict == "wrong"


def test_strict_holds_a_gradient_to_the_convention_of_autodiff() -> None:
    v = jnp.array([1.0, 0.0, -2.0, 0.5])
    assert check_gradients(absolute, jnp.sign, v).ok
    report = check_gradients(absolute, jnp.sign, v, strict=True)
    assert [leaf.cause for leaf in report.wrong] == ["kink"]
    assert "1 of 4 entries stand at a kink" in report.wrong[0].explanation
    report = check_gradients(absolute, lambda v: -jnp.sign(v), v, strict=True)
    assert [leaf.cause for leaf in report.wrong] != ["kink"]


def product_over_itself(c: jax.Array) -> jax.Array:
    """d prod(c) / dc as prod / c, which is wrong where one factor is 0."""
    whole = jnp.prod(c, 1, keepdims=True)
    return jnp.where(c == 0, 0.0, whole / jnp.where(c == 0, 1, c))


@pytest.mark.parametrize("middle", [0.0, 0.5])
def test_kink_in_one_leaf_excuses_no_other(middle: float) -> None:
    def loss(p: Any) -> jax.Array:
        return jnp.sum(jax.nn.relu(p["a"])) + jnp.sum(jnp.prod(p["c"], 1))

    def gradient(p: Any) -> Any:
        return {"a": (p["a"] > 0) * 1.0, "c": product_over_itself(p["c"])}

    c = jnp.array([[2.0, 0.0, 3.0], [0.0, 4.0, 5.0], [1.0, 2.0, 3.0]])
    point = {"a": jnp.array([1.0, middle, -1.0]), "c": c}
    report = check_gradients(loss, gradient, point)
    verdicts = {leaf.path: leaf.verdict for leaf in report.leaves}
    assert verdicts == {"['a']": "right", "['c']": "wrong"}


def test_wrong_entry_beside_one_at_a_kink_is_wrong() -> None:
    def gradient(v: jax.Array) -> jax.Array:
        return jnp.sign(v).at[2].set(1.0)

    assert not check_gradients(absolute, gradient, jnp.array([1.0, 0.0, -2.0])).ok


def test_border_of_an_interpolation_is_a_kink() -> None:
    table = jnp.array([0.0, 1.0, 4.0, 9.0, 16.0])

    def read(x: jax.Array) -> jax.Array:
        low = jnp.clip(jnp.floor(x), 0, 3)
        i = low.astype(jnp.int32)
        return jnp.sum(table[i] + (x - low) * (table[i + 1] - table[i]))

    def from_the_left(x: jax.Array) -> jax.Array:
        i = jnp.clip(jnp.ceil(x) - 1, 0, 3).astype(jnp.int32)
        return table[i + 1] - table[i]

    x = jnp.array([0.5, 2.0, 3.25, 1.0])
    report = check_gradients(read, from_the_left, x)
    assert report.leaves[0].verdict == "convention"
    assert not check_gradients(read, lambda x: from_the_left(x) + (x == 2) * 3, x).ok


def test_convention_of_a_complex_leaf() -> None:
    z = jnp.array([0j, 3 + 4j], jnp.complex64)

    def gradient(at_zero: complex) -> Any:
        def rule(z: jax.Array) -> jax.Array:
            size = jnp.where(z == 0, 1, jnp.abs(z))
            return jnp.where(z == 0, at_zero, jnp.conj(z) / size).astype(z.dtype)

        return rule

    assert check_gradients(absolute, gradient(0.3 + 0.2j), z).ok
    assert not check_gradients(absolute, gradient(0.3 + 2j), z).ok


def norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(x**2))


def test_rule_that_is_finite_where_autodiff_is_not() -> None:
    zero = jnp.zeros(4)
    right = check_gradients(norm, jnp.zeros_like, zero)
    assert right.ok
    assert right.leaves[0].verdict == "convention"
    assert "not finite" in right.faults[0]
    assert not check_gradients(norm, lambda x: x + 5, zero).ok
    assert not check_gradients(norm, jax.grad(norm), zero).ok


def rebuilt(x: jax.Array) -> jax.Array:
    u, s, v = jnp.linalg.svd(x, full_matrices=False)
    return jnp.sum((u * s) @ v * jnp.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize(("factor", "cause"), [(1, None), (-1, "sign")])
def test_equal_singular_values(factor: int, cause: str | None) -> None:
    slopes = factor * jnp.arange(9.0).reshape(3, 3)
    report = check_gradients(rebuilt, lambda x: slopes, jnp.eye(3))
    assert report.leaves[0].cause == cause
    assert report.ok == (cause is None)


def looped(x: jax.Array) -> jax.Array:
    """sin sin x, by a loop that reverse mode cannot run backwards."""
    return jax.lax.while_loop(
        lambda c: c[1] < 2, lambda c: (jnp.sin(c[0]), c[1] + 1), (x, 0)
    )[0]


def called(x: jax.Array) -> jax.Array:
    """The same, in NumPy."""
    form = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(
        lambda x: np.sin(np.sin(np.asarray(x))), form, x, vmap_method="sequential"
    )


def rule(function: Any, factor: float) -> Report:
    def bwd(x: jax.Array, u: jax.Array) -> tuple[jax.Array]:
        return (factor * u * jnp.cos(jnp.sin(x)) * jnp.cos(x),)

    return check_vjp(function, lambda x: (function(x), x), bwd, jnp.linspace(0.2, 2, 6))


@pytest.mark.parametrize(
    ("function", "judge"), [(looped, "forward mode"), (called, "differences")]
)
def test_function_that_autodiff_has_no_gradient_of(function: Any, judge: str) -> None:
    right = rule(function, 1.0)
    assert right.ok, str(right)
    assert judge in right.notes[0]
    assert rule(function, -1.0).leaves[0].cause == "sign"
    assert not rule(function, 1.5).ok


def test_right_rule_of_a_function_whose_autodiff_is_wrong() -> None:
    @jax.custom_jvp
    def cube(x: jax.Array) -> jax.Array:
        return x**3

    cube.defjvps(lambda t, out, x: 3.003 * x**2 * t)

    def checked(factor: float) -> Report:
        def bwd(x: jax.Array, u: jax.Array) -> tuple[jax.Array]:
            return (factor * 3 * x**2 * u,)

        return check_vjp(cube, lambda x: (x**3, x), bwd, jnp.arange(1.0, 5.0))

    right, wrong, same = checked(1.0), checked(-1.0), checked(1.001)
    assert right.ok
    assert right.leaves[0].verdict == "right"
    assert "jax.grad of the loss is not its derivative" in right.faults[0]
    assert right.excused == right.faults
    assert wrong.leaves[0].cause == "sign"
    assert same.leaves[0].verdict == "untested"
    assert not same.ok


@pytest.mark.parametrize("off", [0.5e-3, -0.5e-3])
def test_rule_that_is_off_by_design(off: float) -> None:
    def checked(gradient: Any, **options: Any) -> Report:
        x = jnp.linspace(0.5, 2.0, 12).reshape(3, 4)
        return check_gradients(lambda x: jnp.sum(x**3), gradient, x, **options)

    def approximate(x: jax.Array) -> jax.Array:
        return 3 * x**2 * (1 + off)

    assert not checked(approximate).ok
    assert checked(approximate, accuracy=1e-3).ok
    assert not checked(approximate, accuracy=1e-4).ok
    negative = checked(lambda x: -approximate(x), accuracy=1e-3)
    assert negative.leaves[0].cause == "sign"
