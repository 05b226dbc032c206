"""The whole gradient against `jax.value_and_grad`, and what must hold of it."""

import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPClassifier

import handgrad
from handgrad import ACTIVATIONS, Layer, Params

SIZES = [(3, 2), (3, 1, 10), (4, 5, 6, 2), (3, 4, 1, 5, 4, 6, 10)]  # depths 0 1 2 5


def problem(
    seed: int, sizes: tuple[int, ...], m: int, activation: str = "tanh"
) -> tuple[Params, jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.key(seed), 4)
    params = handgrad.init(keys[0], sizes, activation=activation, dtype=jnp.float64)
    biases = jax.random.normal(keys[1], (len(params), max(sizes)), jnp.float64)
    params = tuple(
        Layer(layer.weight, 0.1 * bias[: layer.bias.shape[0]])
        for layer, bias in zip(params, biases, strict=True)
    )
    x = jax.random.normal(keys[2], (m, sizes[0]), jnp.float64)
    return params, x, jax.random.randint(keys[3], (m,), 0, sizes[-1])


def assert_gradients_close(got: Params, expected: Params, tolerance: float) -> None:
    chex.assert_trees_all_equal_shapes_and_dtypes(got, expected)
    for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.abs(e).max()) or 1.0
        np.testing.assert_allclose(g, e, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("m", [1, 7])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_grad_is_that_of_autodiff(
    name: str, sizes: tuple[int, ...], m: int
) -> None:
    params, x, y = problem(0, sizes, m, name)
    keys = jax.random.split(jax.random.key(1), 3)
    soft = jax.nn.softmax(jax.random.normal(keys[0], (m, sizes[-1]), jnp.float64))
    weights = jax.random.uniform(keys[1], (m,), jnp.float64)
    masks = handgrad.dropout_masks(keys[2], params, m, inputs=0.2, hidden=0.5)
    for t, w, r in itertools.product((y, soft), (None, weights), (None, masks)):
        options = {"activation": name, "weights": w, "masks": r}
        value, grads = handgrad.value_and_grad(params, x, t, **options)
        expected = jax.value_and_grad(handgrad.loss)(params, x, t, **options)
        assert value == expected[0]
        assert_gradients_close(grads, expected[1], 1e-11)


def plain_loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """An independent network: jax.nn and Optax, nothing of handgrad."""
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias[None])
    logits = x @ params[-1].weight + params[-1].bias[None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@settings(deadline=None, derandomize=True, max_examples=20, database=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    m=st.integers(1, 8),
    seed=st.integers(0, 2**16),
    scale=st.floats(0.01, 30),
)
def test_any_shape_and_scale_agrees_with_an_independent_network(
    sizes: list[int], m: int, seed: int, scale: float
) -> None:
    params, x, y = problem(seed, tuple(sizes), m, "relu")
    value, grads = jax.jit(handgrad.value_and_grad)(params, scale * x, y)
    expected = jax.jit(jax.value_and_grad(plain_loss))(params, scale * x, y)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12, atol=1e-14)
    for g, e in zip(jax.tree.leaves(grads), jax.tree.leaves(expected[1]), strict=True):
        # Where a probability is close to 1, a_L - e(y) cancels: the error is that of 1.
        np.testing.assert_allclose(g, e, rtol=1e-11, atol=1e-13 * max(1.0, scale))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("relu", "relu"),
        ("tanh", "tanh"),
        ("sigmoid", "logistic"),
        ("identity", "identity"),
    ],
)
def test_gradient_is_that_of_scikit_learns_backpropagation(
    ours: str, theirs: str, seed: int
) -> None:
    sizes, m = [(5, 4, 3), (6, 7, 4, 3), (2, 9, 8, 7, 5), (4, 1, 3)][seed], 9 + seed
    params, x, y = problem(seed, sizes, m, ours)
    y = jnp.arange(m) % sizes[-1]
    network = MLPClassifier(sizes[1:-1], activation=theirs, alpha=0.0)
    one_hot = np.eye(sizes[-1])[np.asarray(y)]
    network.n_outputs_, network.n_layers_ = sizes[-1], len(sizes)
    network.out_activation_ = "softmax"
    network.coefs_ = [np.asarray(layer.weight) for layer in params]
    network.intercepts_ = [np.asarray(layer.bias) for layer in params]
    activations = [np.asarray(x)] + [np.empty((m, n)) for n in sizes[1:]]
    weights, biases, deltas = ([np.empty(0)] * len(params) for _ in range(3))
    network.loss = "log_loss"
    value, weights, biases = network._backprop(
        np.asarray(x), one_hot, None, activations, deltas, weights, biases
    )
    expected = tuple(map(Layer, map(jnp.asarray, weights), map(jnp.asarray, biases)))
    got_value, got = handgrad.value_and_grad(params, x, y, activation=ours)
    np.testing.assert_allclose(got_value, value, rtol=1e-13)
    assert_gradients_close(got, expected, 1e-13)


def test_cs231n_toy_network_has_the_published_loss() -> None:
    np.random.seed(0)  # noqa: NPY002  the published numbers come from this generator
    shapes = [(4, 10), (10, 3)]
    weights = [1e-1 * np.random.randn(*shape) for shape in shapes]  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    x, y = jnp.asarray(10 * np.random.randn(5, 4)), jnp.array([0, 1, 2, 2, 1])  # noqa: NPY002
    params = tuple(Layer(jnp.asarray(w), jnp.zeros(w.shape[1])) for w in weights)
    regularisation = 0.05 * sum((w**2).sum() for w in weights)
    published = 1.30378789133
    assert abs(handgrad.loss(params, x, y) + regularisation - published) < 1e-11


def test_gradient_is_the_mean_of_per_sample_gradients() -> None:
    params, x, y = problem(2, (4, 5, 3), 6)
    singles = [
        handgrad.value_and_grad(params, x[i : i + 1], y[i : i + 1])[1] for i in range(6)
    ]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / 6, *singles)
    assert_gradients_close(handgrad.value_and_grad(params, x, y)[1], mean, 1e-13)


def test_a_batch_twice_has_the_gradient_of_the_batch() -> None:
    params, x, y = problem(3, (4, 5, 3), 6)
    once = handgrad.value_and_grad(params, x, y)[1]
    twice = handgrad.value_and_grad(params, jnp.tile(x, (2, 1)), jnp.tile(y, 2))[1]
    assert_gradients_close(twice, once, 1e-13)


def test_permuted_hidden_units_permute_the_gradient() -> None:
    params, x, y = problem(4, (4, 5, 3), 6)
    order = jnp.array([3, 1, 4, 0, 2])

    def permute(p: Params) -> Params:
        first = Layer(p[0].weight[:, order], p[0].bias[order])
        return first, Layer(p[1].weight[order], p[1].bias)

    got = handgrad.value_and_grad(permute(params), x, y)[1]
    assert_gradients_close(
        got, permute(handgrad.value_and_grad(params, x, y)[1]), 1e-13
    )


def test_a_sample_of_weight_0_is_not_there() -> None:
    params, x, y = problem(5, (4, 5, 3), 6)
    weights = jnp.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    there = jnp.array([0, 1, 3, 5])
    got = handgrad.value_and_grad(params, x, y, weights=weights)
    expected = handgrad.value_and_grad(params, x[there], y[there])
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-14)
    assert_gradients_close(got[1], expected[1], 1e-13)
    chex.assert_trees_all_equal(
        handgrad.value_and_grad(params, x, y, weights=weights != 0), got
    )


def test_without_weight_loss_and_gradient_are_exactly_0() -> None:
    params, x, y = problem(6, (4, 5, 3), 6)
    value, grads = handgrad.value_and_grad(params, x, y, weights=jnp.zeros(6))
    assert value == 0
    chex.assert_trees_all_equal(grads, jax.tree.map(jnp.zeros_like, params))


def test_logits_of_ten_thousand_are_finite_and_right_in_float32() -> None:
    params = (Layer(jnp.eye(2, dtype=jnp.float32), jnp.zeros(2, jnp.float32)),)
    x = jnp.array([[1e4, -1e4]], jnp.float32)
    value, grads = handgrad.value_and_grad(params, x, jnp.array([1]))
    assert value == 2e4
    chex.assert_trees_all_equal(grads[0].bias, jnp.array([1.0, -1.0], jnp.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_gradients_keep_the_dtype_and_the_loss_is_float32_or_wider(dtype: str) -> None:
    params, x, y = problem(7, (4, 5, 3), 6)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    value, grads = handgrad.value_and_grad(params, x.astype(dtype), y)
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, params)
    assert value.dtype == ("float64" if dtype == "float64" else "float32")


def test_a_label_out_of_range_gives_nan() -> None:
    params, x, _ = problem(8, (4, 3), 2)
    for bad in (-1, 3):
        value, grads = handgrad.value_and_grad(params, x, jnp.array([0, bad]))
        assert jnp.isnan(value)
        assert jnp.isnan(grads[0].bias).any()


def test_jit_vmap_and_hessian_vector_products_go_through() -> None:
    params, x, y = problem(9, (4, 5, 3), 6)
    value_and_grad = jax.jit(chex.assert_max_traces(handgrad.value_and_grad, n=1))
    eager = handgrad.value_and_grad(params, x, y)
    for _ in range(2):
        np.testing.assert_allclose(value_and_grad(params, x, y)[0], eager[0])
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    both = jax.vmap(handgrad.value_and_grad, (0, None, None))(stacked, x, y)
    first = jax.tree.map(lambda leaf: leaf[0], both[1])
    assert_gradients_close(first, eager[1], 1e-13)
    direction = jax.tree.map(jnp.ones_like, params)
    products = [
        jax.jvp(gradient, (params,), (direction,))[1]
        for gradient in (
            lambda p: handgrad.value_and_grad(p, x, y)[1],
            jax.grad(lambda p: handgrad.loss(p, x, y)),
        )
    ]
    assert_gradients_close(products[0], products[1], 1e-11)


def test_own_activation_and_one_per_layer() -> None:
    params, x, y = problem(10, (4, 5, 6, 3), 6)
    sine = handgrad.Activation(jnp.sin, lambda d, a: jnp.cos(d))
    options: dict[str, Any] = {"activation": (sine, "gelu")}
    value, grads = handgrad.value_and_grad(params, x, y, **options)
    expected = jax.value_and_grad(handgrad.loss)(params, x, y, **options)
    assert value == expected[0]
    assert_gradients_close(grads, expected[1], 1e-12)


def test_smoothed_labels_and_class_weights() -> None:
    y = jnp.array([0, 2])
    expected = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    np.testing.assert_allclose(handgrad.smooth_labels(y, 3, 0.3), expected, rtol=1e-6)
    per_class = jnp.array([3.0, 1.0, 0.5])
    np.testing.assert_array_equal(handgrad.class_weights(y, per_class), [3.0, 0.5])


def test_predict_proba_is_the_softmax_of_the_logits() -> None:
    params, x, _ = problem(11, (4, 5, 3), 6)
    logits = handgrad.forward(params, x).logits
    chex.assert_trees_all_close(
        handgrad.predict_proba(params, x), jax.nn.softmax(logits), rtol=1e-13
    )


def test_masks_hold_0_and_the_inverse_of_what_is_kept() -> None:
    params, _, _ = problem(12, (4, 50, 3), 1)
    masks = handgrad.dropout_masks(jax.random.key(0), params, 400, hidden=0.2)
    assert masks[0] is None
    assert masks[1] is not None
    assert set(np.unique(masks[1])) == {0.0, 1.25}
    assert abs(float(masks[1].mean()) - 1) < 0.02  # 5 standard errors of 20,000 draws


@pytest.mark.parametrize(
    ("name", "variance"), [("relu", 2 / 300), ("selu", 1 / 300), ("tanh", 2 / 500)]
)
def test_init_has_the_variance_of_its_scale(name: str, variance: float) -> None:
    params = handgrad.init(jax.random.key(0), (300, 200, 2), activation=name)
    np.testing.assert_allclose(params[0].weight.var(), variance, rtol=0.03)
    assert not params[0].bias.any()
