"""DP-SGD: sampling, sensitivity, noise, and what it is with privacy turned off."""

import functools
import math
import statistics
from typing import Any

import byproduct_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handgrad
from handgrad import byproducts


def private(case: cases.Case, **options: Any) -> handgrad.Params:
    return cases.compiled(
        byproducts.private_gradient, jax.random.key(3), *case.passes(), **options
    )


def test_without_clipping_and_noise_it_is_the_gradient() -> None:
    case = cases.make()
    came = private(case, clip_norm=jnp.inf, noise_multiplier=0.0, expected_batch_size=6)
    expected = cases.compiled(handgrad.gradients, *case.passes())
    assert cases.error(came, expected) < 1e-15


def test_clipped_mean_is_that_of_optax_fed_per_sample_gradients() -> None:
    case = cases.make(samples=8)
    aggregate = optax.contrib.differentially_private_aggregate(0.7, 0.0, key=0)

    def by_optax() -> Any:
        g = byproducts.per_sample_gradients(*case.passes())
        return aggregate.update(g, aggregate.init(case.params))[0]

    came = private(case, clip_norm=0.7, noise_multiplier=0.0, expected_batch_size=8)
    assert cases.error(came, cases.compiled(by_optax)) < 1e-12


def test_noise_has_the_scale_of_the_sum_over_the_expected_size() -> None:
    case = cases.make((40, 30, 10), samples=2)
    loud, quiet = (
        private(case, noise_multiplier=sigma, clip_norm=0.5, expected_batch_size=20.0)
        for sigma in (4.0, 0.0)
    )
    noise = (cases.flat(loud) - cases.flat(quiet)) / (4.0 * 0.5 / 20)
    n = noise.size
    assert abs(noise.mean()) < 4 / n**0.5
    assert abs(noise.var() - 1) < 4 * (2 / n) ** 0.5
    within = np.mean(np.abs(noise) < 1)  # 0.6827 of a normal distribution
    assert abs(within - 0.6827) < 4 * (0.22 / n) ** 0.5


def test_noise_differs_between_leaves() -> None:
    case = cases.make((3, 3, 3), samples=2)
    came = private(case, clip_norm=1e-6, noise_multiplier=1e6, expected_batch_size=1)
    assert np.abs(np.subtract(came[0].weight, came[1].weight)).max() > 0.1


def test_half_precision_is_clipped_and_summed_in_float32() -> None:
    """In bfloat16, 300 norms of 1 would not sum to 300 within a single clip norm."""
    a = np.full((301, 1), 0.1)
    narrow, one = cases.one_layer(
        a.astype(jnp.bfloat16), np.full((301, 1), 1 / 301, jnp.bfloat16)
    )
    came = byproducts.private_gradient(
        jax.random.key(0),
        narrow,
        one,
        clip_norm=1.0,
        noise_multiplier=0.0,
        expected_batch_size=301,
    )
    norm = np.linalg.norm(cases.flat(came).astype(float))
    assert came[0].weight.dtype.name == "bfloat16"
    assert norm == pytest.approx(1, abs=2**-9)


@functools.partial(jax.jit, static_argnames=("per_layer", "automatic"))
def clipped_sum(arrays: Any, clip_norm: float, **options: bool) -> handgrad.Params:
    case = cases.Case(*arrays, activation="tanh")
    return byproducts.clipped_gradient(
        *case.passes(),
        clip_norm=clip_norm,
        divide_by=1,
        **options,
    )


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    row=st.integers(0, 5),
    clip_norm=st.floats(1e-3, 3),
    per_layer=st.booleans(),
    automatic=st.booleans(),
)
def test_neighbours_differ_by_at_most_the_clip_norm(
    row: int, clip_norm: float, per_layer: bool, automatic: bool
) -> None:
    case = cases.make()
    everyone = np.ones(6)
    sums = [
        cases.flat(
            clipped_sum(
                case._replace(weights=jnp.asarray(weights))[:-1],
                clip_norm,
                per_layer=per_layer,
                automatic=automatic,
            )
        )
        for weights in (everyone, everyone - np.eye(6)[row])
    ]
    assert 0 < np.linalg.norm(sums[0] - sums[1]) <= clip_norm * (1 + 1e-9)


def test_poisson_batch_draws_every_sample_at_the_rate() -> None:
    draw = jax.vmap(lambda key: byproducts.poisson_batch(key, 50, 0.1, 20))
    keys = jax.random.split(jax.random.key(0), 4000)
    batches = cases.numpy(cases.compiled(draw, keys))
    assert batches.indices.shape == batches.weights.shape == (4000, 20)
    assert int(batches.dropped.max()) == 0
    sizes = batches.weights.sum(axis=1)
    assert abs(float(sizes.mean()) - 5) < 4 * (4.5 / 4000) ** 0.5
    assert float(sizes.var()) == pytest.approx(4.5, rel=0.1)  # binomial, not fixed
    counts = np.bincount(batches.indices.ravel(), batches.weights.ravel(), 50)
    assert np.abs(counts / 4000 - 0.1).max() < 5 * (0.09 / 4000) ** 0.5


def test_poisson_batch_says_what_it_dropped() -> None:
    batch = byproducts.poisson_batch(jax.random.key(0), 30, 1.0, 20)
    assert int(batch.dropped) == 10
    assert batch.indices.tolist() == list(range(20))


def test_poisson_capacity_bounds_the_tail() -> None:
    """Against the exact binomial: P(X > capacity) for n = 200, q = 0.1, by its sum."""
    capacity = byproducts.poisson_capacity(200, 0.1, tail=1e-6)
    beyond = range(capacity + 1, 201)
    exact = sum(math.comb(200, k) * 0.1**k * 0.9 ** (200 - k) for k in beyond)
    assert exact <= 1e-6
    assert capacity < 60


def test_bad_rates_and_capacities_are_refused() -> None:
    with pytest.raises(ValueError, match="^`rate` must be a number at least 0 and at"):
        byproducts.poisson_batch(jax.random.key(0), 10, 1.5, 5)
    with pytest.raises(ValueError, match="^`capacity` must be in 1 ... 10"):
        byproducts.poisson_batch(jax.random.key(0), 10, 0.5, 11)


def test_budget_is_that_of_the_gaussian_mechanism_without_sampling() -> None:
    """q = 1, one step: delta(eps) = Phi(1/2s - eps s) - e^eps Phi(-1/2s - eps s)."""
    pytest.importorskip("dp_accounting", reason="needs dp-accounting")
    phi, sigma = statistics.NormalDist().cdf, 2.0
    kept: dict[str, Any] = {"sampling_rate": 1.0, "steps": 1}
    epsilon = byproducts.privacy_spent(noise_multiplier=sigma, delta=1e-5, **kept)
    a = 1 / (2 * sigma)
    delta = phi(a - epsilon * sigma) - math.exp(epsilon) * phi(-a - epsilon * sigma)
    assert delta == pytest.approx(1e-5, rel=1e-2)
    noise = byproducts.noise_for(epsilon, delta=1e-5, **kept)
    assert noise == pytest.approx(sigma, abs=5e-3)
    assert byproducts.privacy_spent(noise_multiplier=0.0, delta=1e-5, **kept) == np.inf
