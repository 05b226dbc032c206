"""A right gradient computed in a narrower dtype than its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradcheck.cases import comparison, mismatch

from handgrad import check_gradients, check_vjp
from handgrad.gradcheck.causes.precision import (
    follows,
    low_precision,
    of_low_rank,
    points_along,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((24, 30))
W = RANDOM.standard_normal((30, 12)) / 6


def loss(w: Any, x: Any) -> jax.Array:
    return jnp.sum(jnp.tanh(x @ w)) / len(x)


def summed_in(dtype: Any) -> Any:
    """The gradient whose contraction over the samples is in ``dtype``."""

    def gradient(w: Any, x: Any) -> Any:
        delta = 1 - jnp.tanh(x @ w) ** 2
        return (x.astype(dtype).T @ delta.astype(dtype)).astype(w.dtype) / len(x)

    return gradient


def rounded_to(dtype: Any) -> Any:
    return lambda w, x: jax.grad(loss)(w, x).astype(dtype).astype(w.dtype)


@pytest.mark.parametrize(
    ("dtype", "gradient", "text"),
    [
        ("float32", summed_in("bfloat16"), "bfloat16"),
        ("float32", rounded_to("bfloat16"), "Every entry is a bfloat16 number"),
        ("float32", rounded_to("float16"), "Every entry is a float16 number"),
        ("float64", summed_in("float32"), "float32"),
        ("float64", rounded_to("float32"), "Every entry is a float32 number"),
    ],
)
def test_narrow_arithmetic_is_told(dtype: str, gradient: Any, text: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        w, x = jnp.asarray(W, dtype), jnp.asarray(X, dtype)
        report = check_gradients(loss, gradient, w, x)
    assert [leaf.cause for leaf in report.leaves] == ["low_precision"]
    assert text in report.leaves[0].explanation


def test_noise_that_no_dtype_makes_is_unknown() -> None:
    noise = jnp.asarray(RANDOM.standard_normal(W.shape), jnp.float32)

    def gradient(w: Any, x: Any) -> Any:
        found = jax.grad(loss)(w, x)
        return found + 0.3 * jnp.sqrt(jnp.mean(found**2)) * noise

    report = check_gradients(
        loss, gradient, jnp.asarray(W, jnp.float32), jnp.asarray(X, jnp.float32)
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


@pytest.mark.parametrize(
    "pattern",
    [
        lambda w: jnp.ones_like(w),
        lambda w: jnp.ones_like(w) * jnp.cos(jnp.arange(12.0))[None, :],
        lambda w: jnp.cos(jnp.arange(30.0))[:, None] * jnp.sin(jnp.arange(12.0)),
    ],
    ids=["constant", "one row", "rank 1"],
)
def test_pattern_as_small_as_rounding_in_bfloat16_is_unknown(pattern: Any) -> None:
    w, x = jnp.asarray(W, jnp.float32), jnp.asarray(X, jnp.float32)

    def gradient(w: Any, x: Any) -> Any:
        found = jax.grad(loss)(w, x)
        return found + 2**-8 * jnp.sqrt(jnp.mean(found**2)) * pattern(w)

    report = check_gradients(loss, gradient, w, x)
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


def test_constant_as_small_as_rounding_is_unknown_in_a_vector_too() -> None:
    w = jnp.linspace(1.0, 2.0, 80)
    report = check_gradients(
        lambda w: jnp.sum(jnp.sin(7 * w)),
        lambda w: 7 * jnp.cos(7 * w) + 0.01,
        w,
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


def test_simple_numbers_are_no_sign_of_narrow_arithmetic() -> None:
    """Where the truth is made of bfloat16 numbers, so is much that is wrong."""
    w = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])
    report = check_gradients(
        lambda w: jnp.sum(w * jnp.array([1.0, 2.0, 3.0, 4.0, 6.0])),
        lambda w: jnp.array([1.0, 2.0, 3.5, 4.0, 6.5]),
        w,
    )
    assert [leaf.cause for leaf in report.leaves] == ["unknown"]


def test_what_cannot_be_told_apart_at_this_precision_passes_with_its_floor() -> None:
    w, x = jnp.asarray(W, jnp.bfloat16), jnp.asarray(X, jnp.bfloat16)
    report = check_gradients(loss, lambda w, x: 1.001 * jax.grad(loss)(w, x), w, x)
    assert report.ok
    assert report.leaves[0].floor > 0.005


NOISE, KNOWN = np.random.default_rng(1).standard_normal((2, 48, 64))
"""A residual without any structure, and what one might follow."""


def test_noise_is_noise_by_every_measure() -> None:
    assert not points_along(NOISE, KNOWN)
    assert not follows(NOISE, KNOWN)
    assert not of_low_rank(NOISE)


def test_noise_seldom_points_along_what_is_known_by_chance() -> None:
    random = np.random.default_rng(0)
    pairs = random.standard_normal((2000, 2, 16, 16))
    assert sum(points_along(*pair) for pair in pairs) <= 5


def test_a_share_of_a_direction_in_noise_is_seen() -> None:
    assert points_along(NOISE + 0.15 * KNOWN, KNOWN)
    signs = np.where(np.arange(48) % 2, 1.0, -1.0)[:, None]
    by_rows, by_columns = NOISE + 0.6 * signs * KNOWN, NOISE.T + 0.6 * signs.T * KNOWN.T
    assert abs(np.vdot(signs * KNOWN, KNOWN)) < 0.04 * np.vdot(KNOWN, KNOWN)
    assert points_along(by_rows, KNOWN)
    assert points_along(by_columns, KNOWN.T)


@pytest.mark.parametrize("of", [np.cos, np.square, lambda p: p * np.cos(p)])
def test_a_function_of_what_is_known_follows_it(of: Any) -> None:
    assert follows(of(KNOWN), KNOWN)
    assert follows(of(KNOWN) + 0.1 * NOISE, KNOWN)


def test_what_has_no_order_is_followed_by_nothing() -> None:
    steps = np.repeat([0.0, 1.0], NOISE.size // 2).reshape(NOISE.shape)
    assert not follows(np.sort(NOISE, axis=None).reshape(NOISE.shape), steps)


def test_a_few_directions_are_of_low_rank_in_any_fold() -> None:
    thin = np.outer(NOISE[:, 0], KNOWN[0])
    assert of_low_rank(thin)
    assert of_low_rank(thin + 0.1 * NOISE)
    assert of_low_rank((NOISE[:, :4, None] * KNOWN[0]).reshape(48, 4, 64)[:4])
    assert of_low_rank(np.einsum("i,jk->ijk", NOISE[0], KNOWN))
    assert not of_low_rank(NOISE[0])


FEW = np.array([1.1, -0.9, 1.3, 2.1])
"""Four numbers, which is as few as confirm anything."""

MEND = "Compute and accumulate in the dtype of the leaf."


def explained(candidate: Any, truth: Any, *args: Any, **options: Any) -> str | None:
    """The sentence on a leaf, if there is one."""
    leaf = comparison("['w']", candidate, np.asarray(truth), 1e-13, **options)
    claims = list(low_precision(mismatch(leaf, args=args)))
    assert len(claims) <= 1
    return claims[0].explanations["['w']"] if claims else None


def narrowed(values: np.ndarray, dtype: str) -> np.ndarray:
    return values.astype(jnp.dtype(dtype)).astype(np.float64)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_numbers_of_a_narrower_dtype_are_told(dtype: str) -> None:
    text = f"Every entry is a {dtype} number: it was rounded to {dtype}. {MEND}"
    assert explained(narrowed(FEW, dtype), FEW) == text
    assert explained(narrowed(FEW[:3], dtype), FEW[:3]) is None
    assert explained(np.append(narrowed(FEW, dtype), 1.7), np.append(FEW, 1.2)) is None


@pytest.mark.parametrize(
    ("own", "received", "known"),
    [
        ("float32", "float32", False),
        ("float32", "float16", True),
        ("float16", "float16", False),
        ("float16", "float32", False),
        ("float16", "bfloat16", True),
        ("bfloat16", "bfloat16", False),
        ("bfloat16", "float16", False),
    ],
)
def test_dtype_as_wide_as_that_of_the_leaf_is_not_tried(
    own: str, received: str, known: bool
) -> None:
    found = explained(narrowed(FEW, received), FEW, dtype=own)
    assert (found is not None) == known


def test_truth_that_the_dtype_holds_as_well_shows_nothing() -> None:
    truth = np.array([1.0, 1.5, 2.0, 2.5, 3.0])
    assert explained(truth * 1.25, truth) is None
    truth[4] = 3.1
    assert explained(narrowed(truth * 1.25, "bfloat16"), truth) is not None


def test_entries_may_be_two_roundings_of_the_leaf_from_narrow_numbers() -> None:
    eps = np.finfo(np.float64).eps
    truth = np.array([1.1, 0.9, -1.3, 2.1, 0.4])
    for off, known in ((1 - eps, True), (1 + 2 * eps, True), (1 + 3 * eps, False)):
        for sign in (1, -1):
            received = sign * np.array([off, 1.0, -1.25, 2.0, 0.0])
            assert (explained(received, sign * truth) is not None) == known


def test_rounding_to_bfloat16_loses_no_more_than_half() -> None:
    assert explained(narrowed(0.504 * FEW, "bfloat16"), FEW) is not None
    assert explained(narrowed(0.496 * FEW, "bfloat16"), FEW) is None


def test_dtype_that_overflows_does_not_hold_the_number() -> None:
    truth = 1e5 * np.pi * FEW
    assert explained(narrowed(truth, "float32"), truth) == (
        f"Every entry is a float32 number: it was rounded to float32. {MEND}"
    )


@pytest.mark.parametrize("divisor", ["batch", "weights"])
def test_sum_may_be_divided_after_it_was_rounded(divisor: str) -> None:
    weights = np.array([0.25, 3.0, 0.3, 1.0, 2.0, 1.7, 0.53])
    by = {"batch": 7, "weights": weights.sum()}[divisor]
    given = {"batch": np.ones((7, 2)), "weights": weights}[divisor]
    received = narrowed(FEW * by, "bfloat16") / by
    assert explained(received, FEW) is None
    assert "Every entry is a bfloat16 number" in str(explained(received, FEW, given))


def test_sum_of_narrow_numbers_shows_nothing_where_the_truth_is_one() -> None:
    truth = np.array([1.0, 1.5, 2.0, 2.5]) / 7
    assert explained(1.25 * truth, truth, np.ones((7, 2))) is None


ALONE = np.linalg.qr(
    np.column_stack([np.ones(64), np.random.default_rng(3).standard_normal((64, 3))])
)[0].T * np.sqrt(64)
"""Four vectors at right angles with an rms of 1, of which the first is constant."""


def noise(relative: float, entries: int = 64, **options: Any) -> str | None:
    """The sentence on noise as large, where a number is not a narrow one."""
    rng = np.random.default_rng(7)
    truth = 4 * rng.choice([-1.0, 1.0], entries)
    received = truth + 4 * relative * rng.choice([-1.0, 1.0], entries)
    return explained(received, truth, **options)


@pytest.mark.parametrize(
    ("relative", "dtype"),
    [
        (0.99 * 2**-28, None),
        (2**-28, "float32"),
        (2**-20, "float32"),
        (1.01 * 2**-20, None),
        (0.99 * 2**-15, None),
        (2**-15, "float16"),
        (0.99 * 2**-12, "float16"),
        (2**-12, "bfloat16"),
        (2**-4, "bfloat16"),
        (1.01 * 2**-4, None),
    ],
)
def test_noise_is_told_by_its_size(relative: float, dtype: str | None) -> None:
    text = (
        f"What is left looks like noise, {relative:.1g} of the gradient, the size that "
        f"rounding in {dtype} makes. {MEND}"
    )
    assert noise(relative) == (text if dtype else None)


@pytest.mark.parametrize(
    ("own", "relative"),
    [("float32", 2**-24), ("float16", 2**-24), ("bfloat16", 2**-11)],
)
def test_noise_of_the_leaf_s_own_dtype_or_a_wider_one_is_none(
    own: str, relative: float
) -> None:
    assert noise(relative) is not None
    assert noise(relative, dtype=own) is None


def test_fewer_than_64_entries_are_no_noise() -> None:
    assert noise(2**-9, 64) is not None
    assert noise(2**-9, 63) is None
    assert explained(np.zeros(64) + 1e-3 * ALONE[1], np.zeros(64)) is None


@pytest.mark.parametrize("along", ["truth", "parameter", "one"])
@pytest.mark.parametrize("sign", [1, -1])
def test_noise_points_nowhere(along: str, sign: int) -> None:
    """A cosine of 4 / sqrt(64) = 1/2 with a direction is where it ends."""
    one, truth, parameter, rest = ALONE
    direction = {"truth": truth, "parameter": 3 * parameter, "one": one}[along]
    direction = direction / np.sqrt(np.mean(direction**2))
    for cosine, known in ((0.49, True), (0.51, False)):
        r = sign * cosine * direction + np.sqrt(1 - cosine**2) * rest
        found = explained(truth + 2**-9 * r, truth, parameter=3 * parameter)
        assert (found is not None) == known


def test_noise_beside_a_parameter_of_zeros_is_noise() -> None:
    _, truth, _, rest = ALONE
    assert explained(truth + 2**-9 * rest, truth, parameter=np.zeros(64)) is not None


@pytest.mark.parametrize("shape", [(16, 16), (40, 16), (16, 40)])
def test_noise_has_no_low_rank(shape: tuple[int, int]) -> None:
    """Half of r^2 in one direction is 8 / 16."""
    rng = np.random.default_rng(12)
    truth = rng.standard_normal(shape)
    u, _, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    for share, known in ((0.48, True), (0.52, False)):
        squares = np.full(16, (1 - share) / 15)
        squares[4] = share
        r = u @ np.diag(np.sqrt(squares)) @ vt
        r *= 2**-9 * np.sqrt(np.mean(truth**2) / np.mean(r**2))
        assert (explained(truth + r, truth) is not None) == known


@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (9, 10, 11), (64,)])
def test_noise_of_few_lines_or_of_three_axes_is_noise(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    truth, r = rng.standard_normal((2, *shape))
    assert explained(truth + 2**-9 * r, truth) is not None


def test_only_the_leaves_that_are_narrow_are_told() -> None:
    wide = comparison("a", 1.7 * FEW, FEW, 1e-13)
    narrow = comparison("b", narrowed(FEW, "float32"), FEW, 1e-13)
    (claim,) = low_precision(mismatch(wide, narrow))
    assert list(claim.explanations) == ["b"]
    assert claim.cause == "low_precision"


ERRORS = {
    "flipped": lambda x, u: jnp.flip(u),
    "rolled": lambda x, u: jnp.roll(u * x, 1, -1),
    "summed": lambda x, u: jnp.cumsum(u, -1) / 3,
    "in turns": lambda x, u: u * (1 - 2 * (jnp.arange(x.shape[-1]) % 2)),
}
"""Algebra that no known array shows."""


@pytest.mark.parametrize("name", ERRORS)
def test_small_error_that_stays_beside_the_point_is_no_rounding(name: str) -> None:
    x = jnp.asarray(np.random.default_rng(2).standard_normal((12, 16)), jnp.float32)
    report = check_vjp(
        jnp.sin,
        lambda x: (jnp.sin(x), x),
        lambda x, u: (u * jnp.cos(x) + 0.002 * ERRORS[name](x, u),),
        x,
    )
    assert report.leaves[0].cause == "unknown", str(report)


def test_noise_of_a_gradient_that_runs_nowhere_else_is_noise() -> None:
    w = jnp.asarray(W, jnp.float32)
    noise = 2**-9 * np.random.default_rng(3).standard_normal(W.shape)
    seen = jnp.cos(w) * (1 + jnp.asarray(noise, jnp.float32))

    def gradient(given: Any) -> Any:
        assert (given == w).all()
        return seen

    report = check_gradients(lambda w: jnp.sum(jnp.sin(w)), gradient, w)
    assert report.leaves[0].cause == "low_precision", str(report)
    report = check_gradients(lambda w: jnp.sum(jnp.sin(w)), lambda _: seen, w)
    assert report.leaves[0].cause == "unknown", str(report)
