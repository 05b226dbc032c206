"""Inputs of every kind to every by-product: padding, weights of any size, bounds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import GRADIENT, assert_close, assert_equal, batch, network

import handgrad as hg
from handgrad import byproducts, transport

SIZES = (4, 6, 3)
EVERYTHING = {
    name: {} for name in ("per_sample_gradients", "per_sample_norms", "second_moment")
} | {
    **{name: {} for name in ("variance", "gradient_snr", "noise_scale", "health")},
    "kronecker_factors": {},
}


@jax.jit
def everything(params: Any, x: Any, labels: Any, weights: Any) -> dict[str, Any]:
    """Every by-product, each by `collect`, and sampled and private gradients."""
    trace = hg.forward(params, x, activation="tanh")
    errors = hg.deltas(params, trace, labels, weights=weights)
    vector = jax.tree.map(jnp.ones_like, params)
    what: dict[str, Any] = dict(EVERYTHING)
    what["clipped_gradient"] = {"clip_norm": 0.3}
    what["ggn_diagonal"] = {"params": params}
    what["ggn_vector_product"] = {"params": params, "vector": vector}
    what["hessian_vector_product"] = {"params": params, "vector": vector}
    private = byproducts.private_gradient(
        *(jax.random.key(0), trace, errors),
        clip_norm=0.3,
        noise_multiplier=0.5,
        expected_batch_size=3.0,
    )
    return byproducts.collect(trace, errors, what) | {"private": private}


@pytest.mark.parametrize("anything", [np.nan, np.inf, -np.inf])
def test_a_row_of_weight_0_may_hold_anything_in_every_by_product(
    anything: float,
) -> None:
    params, data = network(SIZES), batch(SIZES, 5)
    weights, kept = data.weights.at[jnp.array([1, 4])].set(0), np.array([0, 2, 3])
    expected = everything(params, data.x[kept], data.labels[kept], weights[kept])
    x = data.x.at[1].set(anything).at[4, 2].set(anything)
    came = everything(params, x, data.labels.at[1].set(-1).at[4].set(9), weights)
    for name in ("per_sample_gradients", "per_sample_norms"):
        assert all(
            np.all(leaf[jnp.array([1, 4])] == 0) for leaf in jax.tree.leaves(came[name])
        )
        came[name] = jax.tree.map(lambda leaf: leaf[kept], came[name])
    for name in expected:
        assert_close(came[name], expected[name], 100 * GRADIENT)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *[("float16", scale) for scale in (1e-30, 1e-9, 1e6, 1e30)],
        *[("bfloat16", scale) for scale in (1e-37, 1e9, 3e38)],
        *[("float32", scale) for scale in (1e-37, 1e9, 3e38)],
    ],
)
def test_the_size_of_weights_does_not_matter_to_any_by_product(
    dtype: str, scale: float
) -> None:
    scale = 2.0 ** int(np.floor(np.log2(scale)))
    params, data = network(SIZES, dtype=dtype), batch(SIZES, 5, dtype=dtype)
    weights = jnp.asarray([1, 0.5, 0, 0.25, 1], "float32")
    expected = everything(params, data.x, data.labels, weights)
    came = everything(params, data.x, data.labels, weights * scale)
    for name in expected.keys() - {"private"}:  # of 0 and 1 alone
        assert_equal(came[name], expected[name])


def passes(samples: int = 5, weights: Any = None) -> tuple[hg.Trace, hg.Deltas]:
    params, data = network(SIZES), batch(SIZES, samples)
    trace = hg.forward(params, data.x)
    return trace, hg.deltas(params, trace, data.labels, weights=weights)


BOUNDS = {
    "clip_norm": [-1.0, np.nan],
    "gamma": [0.0, -1.0, np.nan],
    "divide_by": [0.0, -2.0, np.nan],
}


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name in BOUNDS for wrong in BOUNDS[name]]
)
def test_what_clipping_refuses_is_nan_where_it_is_traced(
    name: str, wrong: float
) -> None:
    trace, errors = passes()

    def clipped(value: Any) -> Any:
        options = {"clip_norm": 0.5, "automatic": name == "gamma", name: value}
        return byproducts.clipped_gradient(trace, errors, **options)

    with pytest.raises(ValueError, match=rf"^`{name}` must be a number at least|above"):
        clipped(wrong)
    assert all(
        np.isnan(leaf).all() for leaf in jax.tree.leaves(jax.jit(clipped)(wrong))
    )


@pytest.mark.parametrize("per_layer", [False, True])
def test_clip_norms_at_their_bounds(per_layer: bool) -> None:
    trace, errors = passes(weights=jnp.array([1.0, 2, 0, 1, 1]))

    def clipped(clip_norm: Any) -> Any:
        return byproducts.clipped_gradient(
            trace, errors, clip_norm=clip_norm, per_layer=per_layer
        )

    zero = jax.tree.map(jnp.zeros_like, hg.gradients(trace, errors))
    for way in (clipped, jax.jit(clipped)):
        assert_equal(way(0.0), zero)
        assert_close(way(jnp.inf), hg.gradients(trace, errors), GRADIENT)
    with pytest.raises(ValueError, match="`clip_norm` must be a number at least 0 and"):
        byproducts.clipped_gradient(trace, errors, clip_norm=jnp.inf, automatic=True)


def test_a_sample_without_a_gradient_is_not_divided_by() -> None:
    """Its norm is 0, and so may C be."""
    params = (hg.Layer(jnp.zeros((2, 2)), jnp.array([0.0, -jnp.inf])),)
    trace = hg.forward(params, jnp.ones((3, 2)))
    errors = hg.deltas(params, trace, jnp.zeros(3, int))
    for clip_norm in (0.0, 1.0, jnp.inf):
        came = byproducts.clipped_gradient(trace, errors, clip_norm=clip_norm)
        assert_equal(came, jax.tree.map(jnp.zeros_like, params))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("noise_multiplier", wrong) for wrong in (-1.0, np.inf, np.nan)],
        *[("expected_batch_size", wrong) for wrong in (0.0, -1.0, np.nan)],
        ("clip_norm", np.inf),
    ],
)
def test_what_private_training_refuses_is_nan_where_it_is_traced(
    name: str, wrong: float
) -> None:
    trace, errors = passes()

    def private(value: Any) -> Any:
        options = {"clip_norm": 1.0, "noise_multiplier": 1.0, "expected_batch_size": 5}
        return byproducts.private_gradient(
            *(jax.random.key(0), trace, errors), **{**options, name: value}
        )

    with pytest.raises(ValueError, match=f"^`{name}` must be a number"):
        private(wrong)
    assert all(
        np.isnan(leaf).all() for leaf in jax.tree.leaves(jax.jit(private)(wrong))
    )


@pytest.mark.parametrize(
    "weights",
    [
        *([1.0, 0, 0, 0, 0], [0.3, 0, 0, 0, 0], [1, 1e-9, 0, 0, 0], [0.0] * 5),
        [3e38, 0, 0, 0, 0],
    ],
)
def test_the_noise_of_one_sample_is_nan(weights: list[float]) -> None:
    found = byproducts.noise_scale(*passes(weights=jnp.array(weights)))
    assert np.isnan(found.squared_norm)
    assert np.isnan(found.variance)
    assert np.isnan(found.critical_batch_size)
    alone = byproducts.noise_scale(*passes(samples=1))
    assert np.isnan([alone.squared_norm, alone.variance]).all()


def test_the_noise_of_two_samples_among_many_is_that_of_the_two() -> None:
    trace, errors = passes(weights=jnp.array([0.0, 7, 0, 7, 0]))
    params, data = network(SIZES), batch(SIZES, 5)
    kept = np.array([1, 3])
    alone = hg.forward(params, data.x[kept])
    two = byproducts.noise_scale(alone, hg.deltas(params, alone, data.labels[kept]))
    assert_close(byproducts.noise_scale(trace, errors), two, GRADIENT)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_labels_are_drawn_with_the_probabilities_of_the_model(dtype: Any) -> None:
    """Gumbel noise in half precision never draws a class of probability 3e-4."""
    logits = jnp.asarray([0.0, -8.0], dtype)
    params = (hg.Layer(jnp.zeros((1, 2), dtype), logits),)
    trace = hg.forward(params, jnp.zeros((200_000, 1), dtype))
    errors = byproducts.sampled_deltas(jax.random.key(0), params, trace)
    drawn = float(np.mean(np.asarray(errors.layers[0][:, 1] < 0)))
    expected = float(jax.nn.softmax(jnp.float32([0.0, -8.0]))[1])
    assert abs(drawn - expected) < 5 * (expected / 200_000) ** 0.5


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e-12, 1.0, 1e12, 1e25, 1e38])
def test_an_angle_does_not_depend_on_the_size_of_gradients(scale: float) -> None:
    def layer(*weight: float) -> hg.Params:
        return (hg.Layer(jnp.float32(weight)[:, None], jnp.zeros(1, jnp.float32)),)

    scaled = layer(0.6 * scale, 0.8 * scale)
    assert_equal(transport.angles(scaled, scaled), jnp.zeros(1, jnp.float32))
    turned = transport.angles(scaled, layer(-0.8, 0.6))
    assert_close(turned, jnp.float32([90]), 1e-6)


def test_collect_names_its_by_products_in_its_errors() -> None:
    trace, errors = passes()
    with pytest.raises(TypeError, match=r"clipped_gradient.*clip_norm is missing"):
        byproducts.collect(trace, errors, "clipped_gradient")
    with pytest.raises(TypeError, match=r"ggn_diagonal.*'params'.*params is missing"):
        byproducts.collect(trace, errors, ["ggn_diagonal"])
    for name in [*EVERYTHING, "gradient"]:
        with pytest.raises(TypeError, match=rf"must give {name} .*weights is none of"):
            byproducts.collect(trace, errors, {name: {"weights": 1}})
    with pytest.raises(ValueError, match=r"`what` must name by-products.*\['fisher'\]"):
        byproducts.collect(trace, errors, ["fisher"])


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.nan])
def test_capacities_and_rates_outside_their_bounds(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^`tail` must be a number at least 0 and"):
        byproducts.poisson_capacity(100, 0.1, tail=wrong)
    with pytest.raises(ValueError, match=r"^`rate` must be a number at least 0 and"):
        byproducts.poisson_capacity(100, wrong)
    with pytest.raises(ValueError, match=r"^`rate` must be a number at least 0 and"):
        byproducts.poisson_batch(jax.random.key(0), 100, wrong, 10)


def test_capacities_at_their_bounds() -> None:
    assert byproducts.poisson_capacity(100, 0.1, tail=0) == 100
    assert byproducts.poisson_capacity(100, 0.1, tail=1) == 10
    assert byproducts.poisson_capacity(100, 0) >= 1
    assert byproducts.poisson_capacity(100, 1) == 100


def test_privacy_at_its_bounds() -> None:
    rest: dict[str, Any] = {"sampling_rate": 0.1, "delta": 1e-5}
    spent = byproducts.privacy_spent
    assert spent(noise_multiplier=1.0, steps=0, **rest) == 0
    assert spent(noise_multiplier=0.0, steps=3, **rest) == np.inf
    assert spent(noise_multiplier=1.0, steps=3, **rest | {"sampling_rate": 0.0}) == 0
    assert byproducts.noise_for(np.inf, steps=3, **rest) == 0
    assert byproducts.noise_for(1.0, steps=0, **rest) == 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("noise_multiplier", -1.0), ("steps", -1), ("delta", 0.0), ("delta", 1.0)],
        *[("sampling_rate", 1.5), ("sampling_rate", -0.5), ("delta", np.nan)],
    ],
)
def test_privacy_outside_its_bounds(name: str, wrong: float) -> None:
    known: dict[str, Any] = {"noise_multiplier": 1.0, "steps": 3}
    known |= {"sampling_rate": 0.1, "delta": 1e-5, name: wrong}
    with pytest.raises(ValueError, match=f"^`{name}` must be a number"):
        byproducts.privacy_spent(**known)
    for epsilon in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="^`epsilon` must be a number above 0"):
            byproducts.noise_for(epsilon, steps=3, sampling_rate=0.1, delta=1e-5)


def test_the_hessian_and_the_ggn_know_what_rows_of_targets_sum_to() -> None:
    """t_i scales the curvature of sample i; with labels it is 1."""
    params, data = network(SIZES), batch(SIZES, 5)
    soft = data.distribution * jnp.arange(5.0)[:, None]
    trace = hg.forward(params, data.x, activation="tanh")
    errors = hg.deltas(params, trace, soft, weights=data.weights)
    vector = jax.tree.map(jnp.sin, params)

    def gradient(params: Any) -> Any:
        options: dict[str, Any] = {"activation": "tanh", "weights": data.weights}
        return jax.grad(hg.loss)(params, data.x, soft, **options)

    _, expected = jax.jvp(gradient, (params,), (vector,))
    came = byproducts.hessian_vector_product(params, trace, errors, vector)
    assert_close(came, expected, 10 * GRADIENT)
    alone = byproducts.ggn_vector_product(
        params, trace, vector, targets=soft, weights=data.weights
    )
    # t_i may as well be part of the weights, but for what divides them.
    weights = data.weights * jnp.sum(soft, axis=1)
    moved = byproducts.ggn_vector_product(params, trace, vector, weights=weights)
    share = weights.sum() / data.weights.sum()
    assert_close(alone, jax.tree.map(lambda g: g * share, moved), GRADIENT)
    options = {"params": params, "vector": vector}
    what = {"ggn_vector_product": options, "ggn_diagonal": {"params": params}}
    found = byproducts.collect(trace, errors, what)
    assert_equal(found["ggn_vector_product"], alone)
    diagonal = byproducts.ggn_diagonal(
        params, trace, targets=soft, weights=data.weights
    )
    assert_equal(found["ggn_diagonal"], diagonal)
