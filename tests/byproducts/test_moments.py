"""Second moment, variance, SNR and noise scale against the formed gradients."""

import byproduct_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import handgrad
from handgrad import byproducts
from handgrad.byproducts.moments import mean_gradient

EACH = pytest.mark.parametrize("variant", cases.VARIANTS)


def weighted_mean(case: cases.Case, tree: handgrad.Params) -> handgrad.Params:
    return jax.tree.map(lambda leaf: np.tensordot(case.s, leaf, 1), tree)


def of_formed(case: cases.Case, g: handgrad.Params) -> tuple[handgrad.Params, ...]:
    """Mean, second moment and variance of per-sample gradients."""
    mean = weighted_mean(case, g)
    moment = weighted_mean(case, jax.tree.map(np.square, g))
    away = jax.tree.map(lambda a, b: np.square(a - b[None]), g, mean)
    return mean, moment, weighted_mean(case, away)


@EACH
def test_second_moment_and_empirical_fisher_diagonal(variant: str) -> None:
    case = cases.make(**cases.VARIANTS[variant])
    _, moment, _ = of_formed(case, cases.judged(variant).gradients)
    assert cases.error(cases.found(variant)["second_moment"], moment) < 1e-10


@EACH
def test_variance(variant: str) -> None:
    case = cases.make(**cases.VARIANTS[variant])
    trees = (
        cases.found(variant)["variance"],
        *of_formed(case, cases.judged(variant).gradients)[1:],
    )
    for came, moment, expected in zip(*map(jax.tree.leaves, trees), strict=True):
        assert np.max(np.abs(came - expected)) / np.max(moment) < 1e-10
        assert came.min() >= 0


def test_snr_is_squared_mean_over_variance() -> None:
    case = cases.make(samples=9, weighted=True)
    mean, _, variance = of_formed(case, cases.sample_gradients(case))
    came = cases.compiled(byproducts.gradient_snr, *case.passes())
    expected = jax.tree.map(lambda g, v: g * g / v, mean, variance)
    assert cases.error(came, expected) < 1e-8  # the variance of 9 samples cancels


def test_snr_of_a_silent_parameter_is_zero() -> None:
    case = cases.make((2, 2), samples=3)
    case = case._replace(x=case.x.at[:, 0].set(0))
    came = cases.compiled(byproducts.gradient_snr, *case.passes())
    assert np.all(cases.numpy(came)[0].weight[0] == 0)
    assert np.all(cases.numpy(came)[0].weight[1] > 0)


@pytest.mark.parametrize("masked", [False, True])
def test_noise_scale_is_the_sample_variance(masked: bool) -> None:
    """tr(Sigma) is the unbiased variance, sum_i |g_i - gbar|^2 / (m - 1)."""
    case = cases.make(samples=9)
    if masked:
        case = case._replace(weights=jnp.ones(9).at[:3].set(0))
    kept = case.w > 0
    g = cases.rows(cases.sample_gradients(case))[kept]
    variance = np.sum(np.square(g - g.mean(axis=0))) / (len(g) - 1)
    squared = np.sum(np.square(g.mean(axis=0))) - variance / len(g)
    came = cases.compiled(byproducts.noise_scale, *case.passes())
    assert float(came.variance) == pytest.approx(float(variance), rel=1e-10)
    assert float(came.squared_norm) == pytest.approx(float(squared), rel=1e-9)


def test_noise_scale_is_unbiased() -> None:
    """Batches of 4 drawn from 64 samples: the mean estimate is the population's."""
    population = cases.make(samples=64)
    g = cases.rows(cases.sample_gradients(population))
    mean = g.mean(axis=0)
    variance = np.sum(np.square(g - mean)) / 64
    squared = np.sum(mean * mean)

    def estimate(key: jax.Array) -> byproducts.NoiseScale:
        rows = jax.random.randint(key, (4,), 0, 64)
        batch = population._replace(
            x=population.x[rows], targets=population.targets[rows]
        )
        return byproducts.noise_scale(*batch.passes())

    keys = jax.random.split(jax.random.key(0), 16_000)
    came = cases.numpy(cases.compiled(jax.vmap(estimate), keys))
    for name, exact in (("variance", variance), ("squared_norm", squared)):
        values = getattr(came, name)
        standard_error = values.std() / 16_000**0.5
        assert standard_error < 0.05 * exact  # fine enough to see the bias of tr/m
        assert abs(values.mean() - exact) < 4 * standard_error


def test_critical_batch_size_is_the_ratio_and_infinite_without_signal() -> None:
    seen = byproducts.NoiseScale(jnp.asarray(2.0), jnp.asarray(6.0))
    hidden = byproducts.NoiseScale(jnp.asarray(-0.1), jnp.asarray(6.0))
    assert float(seen.critical_batch_size) == 3
    assert float(hidden.critical_batch_size) == float("inf")


def test_no_samples_give_zero_and_not_nan() -> None:
    case = cases.make()._replace(weights=jnp.zeros(6))
    for function in (byproducts.second_moment, byproducts.variance):
        for leaf in jax.tree.leaves(cases.compiled(function, *case.passes())):
            assert not np.any(leaf)


def test_the_mean_gradient_is_that_of_the_network_in_float32_or_wider() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        case = cases.make(dtype=dtype, weighted=True)
        passes = case.passes()
        came = cases.compiled(mean_gradient, *passes)
        wide = "float64" if dtype == "float64" else "float32"
        assert {leaf.dtype.name for leaf in jax.tree.leaves(came)} == {wide}
        gradients = cases.compiled(handgrad.gradients, *passes)
        narrowed = jax.tree.map(lambda leaf, d=dtype: leaf.astype(d), came)
        expected = jax.tree.map(lambda leaf: leaf.astype(float), gradients)
        narrowed = jax.tree.map(lambda leaf: leaf.astype(float), narrowed)
        assert cases.error(narrowed, expected) <= float(jnp.finfo(dtype).eps)


def test_statistics_of_half_precision_are_float32() -> None:
    case = cases.make(dtype=jnp.float16)
    for function in (byproducts.variance, byproducts.gradient_snr):
        leaves = jax.tree.leaves(cases.compiled(function, *case.passes()))
        assert {leaf.dtype.name for leaf in leaves} == {"float32"}
