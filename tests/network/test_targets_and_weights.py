"""Targets and weights of any kind: what is silently wrong elsewhere, kind by kind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import (
    GRADIENT,
    assert_close,
    assert_equal,
    batch,
    network,
    numbers,
    relative_error,
)
from hypothesis import given
from hypothesis import strategies as st

import handgrad as hg

SIZES = (4, 6, 3)
INTEGERS = ["bool", "int4", "uint4", "int8", "uint8", "int16", "uint16"]
INTEGERS += ["int32", "uint32", "int64", "uint64"]
ANYTHING = [np.nan, np.inf, -np.inf, 1e30]


def plain(params: Any, x: Any, q: Any, weights: Any = None) -> jax.Array:
    """J as it is written: -sum_i w_i sum_c q_ic ln a_ic / sum_i w_i, h = tanh."""
    for k, (weight, bias) in enumerate(params):
        x = (jnp.tanh(x) if k else x) @ weight + bias[None]
    losses = -jnp.sum(q * jax.nn.log_softmax(x, axis=1), axis=1)
    return jnp.mean(losses) if weights is None else weights @ losses / weights.sum()


def every_way(params: Any, x: Any, targets: Any, weights: Any = None) -> list[Any]:
    """J and its gradient by each public function that gives them."""
    options: dict[str, Any] = {"activation": "tanh", "weights": weights}
    trace = hg.forward(params, x, activation="tanh")
    errors = hg.deltas(params, trace, targets, weights=weights)
    value = hg.loss(params, x, targets, **options)
    return [
        (value, hg.gradients(trace, errors)),
        hg.value_and_grad(params, x, targets, **options),
        jax.value_and_grad(hg.loss)(params, x, targets, **options),
        jax.value_and_grad(hg.loss_by_hand)(params, x, targets, **options),
    ]


def assert_every_way(expected: Any, *arguments: Any) -> None:
    for came in every_way(*arguments):
        assert_close(came, expected, GRADIENT)


@pytest.mark.parametrize("classes", [2, 300])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_label_of_any_integer_dtype_is_its_number(dtype: str, classes: int) -> None:
    """In uint8, 300 classes are 44: labels must not be compared in their own dtype."""
    params, x = network((4, classes)), batch((4, 2), 5).x
    labels = np.array([0, 1, 1, 0, 1])
    expected = hg.value_and_grad(params, x, labels.astype("int32"))
    for targets in (labels.astype(jnp.dtype(dtype)), jnp.asarray(labels, dtype)):
        assert_equal(hg.value_and_grad(params, x, targets), expected)
        smooth = hg.smooth_labels(targets, classes, 0.5)
        assert_equal(smooth, hg.smooth_labels(labels, classes, 0.5))
        per_class = jnp.arange(classes, dtype=jnp.float32)
        assert_equal(hg.class_weights(targets, per_class), labels.astype("float32"))


@pytest.mark.parametrize("dtype", INTEGERS[1:])
def test_a_label_that_is_no_class_is_nan_in_any_dtype(dtype: str) -> None:
    params, x = network((4, 3)), batch((4, 2), 2).x
    least, most = int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)
    for label in {least, max(-1, least), 3, most} - {0}:
        targets = jnp.asarray([0, label], dtype)
        value, grads = hg.value_and_grad(params, x, targets)
        assert np.isnan(value)
        assert np.isnan(grads[0].bias).any()
        assert np.isnan(hg.smooth_labels(targets, 3, 0.1)[1]).all()


@pytest.mark.parametrize("label", [2**32, 2**32 + 1, -(2**32), 2**63 - 1])
def test_a_label_beyond_32_bits_is_not_cut_to_a_class(label: int) -> None:
    with jax.enable_x64(False):
        params, x = network((4, 3), dtype=jnp.float32), jnp.ones((1, 4))
        assert np.isnan(hg.loss(params, x, np.array([label])))


@given(numbers(5, 3).map(np.abs), st.booleans())
def test_B3_is_the_gradient_of_the_loss_whatever_rows_of_targets_sum_to(
    q: np.ndarray, weighted: bool
) -> None:
    """t = sum_c q_c is 0 for a row of zeros, 2 for two labels, 1 up to rounding."""
    q[0] = 0
    params, data = network(SIZES), batch(SIZES, 5)
    weights = data.weights if weighted else None
    arguments = params, data.x, jnp.asarray(q), weights
    expected = jax.value_and_grad(plain)(*arguments)
    sizes = jax.value_and_grad(plain)(params, data.x, jnp.ones((5, 3)), weights)
    for came in every_way(*arguments):
        for actual, leaf, size in zip(
            *map(jax.tree.leaves, (came, expected, sizes)), strict=True
        ):
            assert np.max(np.abs(actual - leaf)) <= GRADIENT * max(
                4.0, np.max(np.abs(size))
            )


def test_a_row_of_zeros_adds_nothing() -> None:
    """one_hot(-1), JAX's idiom for a label to ignore."""
    params, data = network(SIZES), batch(SIZES, 5)
    q = jax.nn.one_hot(jnp.array([0, 2, 1, -1, -1]), 3, dtype=jnp.float64)
    kept = hg.value_and_grad(params, data.x[:3], q[:3], activation="tanh")
    expected = jax.tree.map(lambda leaf: leaf * 3 / 5, kept)  # of 5, as written
    assert_every_way(expected, params, data.x, q)
    smooth = hg.smooth_labels(q, 3, 0.3)
    assert_equal(smooth[3:], jnp.zeros((2, 3)))
    assert_close(smooth.sum(axis=1), q.sum(axis=1), GRADIENT)
    assert_equal(hg.class_weights(q, jnp.ones(3)), jnp.array([1.0, 1, 1, 0, 0]))


@pytest.mark.parametrize("anything", ANYTHING)
@pytest.mark.parametrize("soft", [False, True])
def test_a_row_of_weight_0_may_hold_anything(anything: float, soft: bool) -> None:
    params, data = network(SIZES), batch(SIZES, 5)
    weights = data.weights.at[jnp.array([1, 4])].set(0)
    kept = np.array([0, 2, 3])
    targets = data.distribution if soft else data.labels
    expected = jax.value_and_grad(hg.loss)(
        *(params, data.x[kept], targets[kept]),
        activation="tanh",
        weights=weights[kept],
    )
    x = data.x.at[1].set(anything).at[4, 0].set(anything)
    spoiled = targets.at[1].set(anything if soft else 77).at[4].set(0 if soft else -1)
    assert_every_way(expected, params, x, spoiled, weights)
    mask = weights > 0
    for came in every_way(params, x, spoiled, mask):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(came))


@pytest.mark.parametrize("anything", ANYTHING)
@pytest.mark.parametrize("activation", list(hg.ACTIVATIONS))
def test_padding_is_0_in_every_delta_whatever_h_is_there(
    activation: str, anything: float
) -> None:
    params, data = network((4, 6, 5, 3)), batch((4, 6, 5, 3), 3)
    trace = hg.forward(params, data.x.at[2].set(anything), activation=activation)
    weights = jnp.array([1.0, 2, 0])
    errors = hg.deltas(params, trace, data.labels, weights=weights)
    for delta in errors.layers:
        assert_equal(delta[2], jnp.zeros_like(delta[2]))
        assert np.isfinite(delta).all()
    assert_equal(hg.input_gradient(params, trace, errors)[2], jnp.zeros(4))


@pytest.mark.parametrize("soft", [False, True])
def test_padding_goes_through_smoothing_and_class_weights(soft: bool) -> None:
    params, data = network(SIZES), batch(SIZES, 5)
    labels: Any = jnp.array([0, 2, 1, -1, 9])
    if soft:
        labels = data.distribution.at[3:].set(jnp.nan)
    present, per_class = jnp.array([1.0, 1, 1, 0, 0]), jnp.array([1.0, 3, 2])

    def arguments(rows: Any) -> tuple[Any, ...]:
        targets = hg.smooth_labels(labels[rows], 3, 0.1).astype(jnp.float64)
        weights = hg.class_weights(labels[rows], per_class).astype(jnp.float64)
        return params, data.x[rows], targets, weights * present[rows]

    expected = jax.value_and_grad(plain)(*arguments(slice(3)))
    assert_every_way(expected, *arguments(slice(None)))


def test_a_label_that_is_no_class_is_not_hidden_by_a_class_weight() -> None:
    params, data = network(SIZES), batch(SIZES, 2)
    labels = jnp.array([0, 3])
    weights = hg.class_weights(labels, jnp.array([1.0, 0, 2]))
    assert np.isnan(hg.loss(params, data.x, labels, weights=weights))


@pytest.mark.parametrize("soft", [False, True])
def test_a_class_at_minus_infinity_cannot_be(soft: bool) -> None:
    first, second = network(SIZES)
    masked = (first, second._replace(bias=jnp.array([0.1, -0.2, -jnp.inf])))
    smaller = (first, hg.Layer(second.weight[:, :2], masked[1].bias[:2]))
    data, labels = batch(SIZES, 5), jnp.array([0, 1, 1, 1, 0])
    q = jax.nn.one_hot(labels, 3, dtype=jnp.float64) * 0.7
    q, labels_or_q = q.at[:, :2].add(0.15), labels
    value, (below, above) = jax.value_and_grad(plain)(
        smaller, data.x, q[:, :2] if soft else jnp.eye(2)[labels]
    )
    with_zeros = hg.Layer(
        *(jnp.pad(g, [(0, 0)] * (g.ndim - 1) + [(0, 1)]) for g in above)
    )
    labels_or_q = q if soft else labels
    assert_every_way((value, (below, with_zeros)), masked, data.x, labels_or_q)
    probabilities = hg.predict_proba(masked, data.x)
    assert_equal(probabilities[:, 2], jnp.zeros(5))
    forward_mode = jax.jacfwd(hg.loss)(masked, data.x, labels_or_q, activation="tanh")
    assert_close(forward_mode, (below, with_zeros), GRADIENT)


def test_a_class_at_minus_infinity_is_that_of_optax() -> None:
    logits = jnp.array([[0.3, -jnp.inf, 1.2], [2.0, 0.1, -jnp.inf]])
    params = (hg.Layer(jnp.eye(3), jnp.zeros(3)),)
    x = jnp.where(jnp.isinf(logits), -1e300, logits)  # -inf * 0 in the product is NaN
    labels = jnp.array([2, 1])
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    assert_close(hg.loss(params, x, labels), expected.mean(), GRADIENT)


def test_a_target_on_a_class_that_cannot_be_is_infinitely_wrong() -> None:
    params, data = network(SIZES), batch(SIZES, 2)
    masked = (params[0], params[1]._replace(bias=jnp.array([0.0, 0, -jnp.inf])))
    value, grads = hg.value_and_grad(masked, data.x, jnp.array([0, 2]))
    assert value == np.inf
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


WEIGHTS = {
    "float16": [1e-30, 1e-9, 1e-6, 1e6, 1e30],
    "bfloat16": [1e-37, 1e-9, 1e9, 3e38],
    "float32": [1e-37, 1e-9, 1e9, 3e38],
    "float64": [1e-300, 1e300],
}


@pytest.mark.parametrize(
    ("dtype", "scale"), [(name, s) for name, all_ in WEIGHTS.items() for s in all_]
)
def test_the_size_of_weights_does_not_matter(dtype: str, scale: float) -> None:
    """A power of two near the scale changes no bit; neither over- nor underflow."""
    scale = 2.0 ** int(np.floor(np.log2(scale)))
    params, data = network(SIZES, dtype=dtype), batch(SIZES, 5, dtype=dtype)
    wide = jnp.float64 if dtype == "float64" else jnp.float32
    weights = jnp.asarray([1, 0.5, 0, 0.25, 1], wide)

    def results(weights: Any) -> Any:
        trace = hg.forward(params, data.x)
        errors = hg.deltas(params, trace, data.labels, weights=weights)
        return (
            hg.gradients(trace, errors),
            hg.input_gradient(params, trace, errors),
            errors.scale,
            hg.value_and_grad(params, data.x, data.labels, weights=weights),
        )

    assert_equal(results(weights * scale), results(weights))


@pytest.mark.parametrize("samples", [1, 3, 1000, 70_000])
def test_float16_holds_the_deltas_of_any_number_of_samples(samples: int) -> None:
    """s_i = 1 / m is below what float16 holds; the power of two is not."""
    params = network((3, 2), dtype=jnp.float16)
    x, labels = jnp.ones((samples, 3), jnp.float16), jnp.zeros(samples, jnp.int32)
    trace = hg.forward(params, x)
    errors = hg.deltas(params, trace, labels)
    assert errors.loss_scale is not None
    assert_equal(jnp.log2(errors.loss_scale) % 1, jnp.float32(0))
    size = np.max(np.abs(errors.layers[0]))
    p = hg.predict_proba(params, x[:1])[0, 1]
    assert 0.49 * float(p) <= float(size) <= 1.01 * float(p)
    one = hg.value_and_grad(params, x[:1], labels[:1])[1]
    assert relative_error(hg.gradients(trace, errors)[0].bias, one[0].bias) < 2e-3


def test_only_float16_needs_a_power_of_two() -> None:
    for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
        params, data = network(SIZES, dtype=dtype), batch(SIZES, 5, dtype=dtype)
        errors = hg.deltas(params, hg.forward(params, data.x), data.labels)
        assert errors.loss_scale is None
        assert errors.layers[-1].dtype == dtype


def test_weights_that_sum_to_0_give_exactly_0() -> None:
    params, data = network(SIZES), batch(SIZES, 2)
    for weights in (jnp.zeros(2), jnp.array([1.0, -1.0]), jnp.zeros(2, bool)):
        value, grads = hg.value_and_grad(params, data.x, data.labels, weights=weights)
        assert value == 0
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(grads))
    empty = hg.value_and_grad(params, data.x[:0], data.labels[:0])
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(empty))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan, np.inf])
def test_an_epsilon_that_is_no_probability(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^`epsilon` must be a number at least 0 and"):
        hg.smooth_labels(jnp.array([1]), 3, wrong)
    traced = jax.jit(lambda e: hg.smooth_labels(jnp.array([1]), 3, e))
    assert np.isnan(traced(wrong)).all()
    assert_close(traced(0.25), hg.smooth_labels(jnp.array([1]), 3, 0.25), 1e-6)


@pytest.mark.parametrize("wrong", [-0.1, 1.0, np.nan])
def test_a_rate_that_is_no_probability(wrong: float) -> None:
    params, key = network(SIZES), jax.random.key(0)
    with pytest.raises(ValueError, match=r"^`hidden` must be a number at least 0 and"):
        hg.dropout_masks(key, params, 5, hidden=wrong)
    with pytest.raises(ValueError, match=r"^`inputs` must be a number at least 0 and"):
        hg.dropout_masks(key, params, 5, inputs=jnp.float32(wrong))
    traced = jax.jit(lambda rate: hg.dropout_masks(key, params, 5, hidden=rate))
    assert np.isnan(traced(wrong)[1]).all()


@pytest.mark.parametrize(
    "rate", [0.5, np.float32(0.5), np.float64(0.5), jnp.float32(0.5), np.array([0.5])]
)
def test_a_rate_may_be_any_kind_of_number(rate: Any) -> None:
    params, key = network(SIZES), jax.random.key(0)
    expected = hg.dropout_masks(key, params, 5, hidden=0.5)
    assert_equal(hg.dropout_masks(key, params, 5, hidden=rate), expected)
    traced = jax.jit(lambda rate: hg.dropout_masks(key, params, 5, hidden=rate))
    assert_equal(traced(rate), expected)
    assert_equal(
        hg.dropout_masks(
            key,
            params,
            5,
            hidden=[rate.item()] if isinstance(rate, np.ndarray) else [rate],
        ),
        expected,
    )


POLES = {
    "exp": hg.Activation(jnp.exp, lambda d, a: a),
    "log": hg.Activation(lambda d: jnp.log(jnp.abs(d)), lambda d, a: 1 / d),
    "root": hg.Activation(lambda d: jnp.sqrt(jnp.abs(d)), lambda d, a: jnp.sign(d) / a),
}


@pytest.mark.parametrize("way", ["whole", "chunk", "rule", "steps", "stack"])
@pytest.mark.parametrize("name", POLES)
def test_padding_may_meet_the_poles_of_an_activation(name: str, way: str) -> None:
    """h or h' of a finite d is infinite there, or not a number."""
    sizes = (4, 5, 5, 5, 5, 3)
    given: dict[str, Any] = {"activation": POLES[name]}
    params = tuple(hg.Layer(w, 0 * b) for w, b in network(sizes))  # x = 0 has d = 0
    if way == "stack":
        params = hg.stack_layers(params, activation=POLES[name], above=1)
    data = batch(sizes, 5)
    weights = data.weights.at[jnp.array([1, 2, 3])].set(0)

    def gradient(x: jax.Array) -> Any:
        if way == "rule":
            return jax.grad(hg.loss_by_hand)(
                params, x, data.labels, weights=weights, **given
            )
        if way == "steps":
            trace = hg.forward(params, x, **given)
            errors = hg.deltas(params, trace, data.labels, weights=weights)
            return hg.gradients(trace, errors)
        chunk = 2 if way == "chunk" else None
        return hg.value_and_grad(
            params, x, data.labels, weights=weights, chunk=chunk, **given
        )

    x = data.x.at[1].set(0).at[2].set(1e4).at[3].set(jnp.nan)
    came = gradient(x)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(came))
    assert_equal(came, gradient(data.x))


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize(
    ("dtype", "activation", "value", "dropped"),
    [
        ("float32", "relu", 2e38, True),
        ("float16", "selu", 64_000.0, False),
        ("float16", "relu", 60_000.0, True),
    ],
)
def test_padding_may_overflow_on_its_way(
    dtype: str, activation: str, value: float, dropped: bool, chunk: int | None
) -> None:
    """In a mask of 2, or in an activation that grows, from a number that is finite."""
    sizes, samples = (3, 3, 3), 4
    params = tuple(
        hg.Layer(jnp.eye(3, dtype=dtype), jnp.zeros(3, dtype)) for _ in sizes[1:]
    )
    data = batch(sizes, samples, dtype=dtype)
    weights = data.weights.at[1].set(0)
    masks = tuple(jnp.full((samples, 3), 2, dtype) for _ in params) if dropped else None

    def gradient(x: jax.Array) -> Any:
        return hg.value_and_grad(
            params,
            x,
            data.labels,
            weights=weights,
            masks=masks,
            activation=activation,
            chunk=chunk,
        )

    came = gradient(data.x.at[1].set(value))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(came))
    assert_equal(came, gradient(data.x))


@pytest.mark.parametrize("stacked", [False, True])
def test_padding_may_be_no_number_to_a_transport(stacked: bool) -> None:
    """One that divides by the size of an error, which is 0 in padding."""

    def unit(k: int, delta: jax.Array, weight: jax.Array, _: jax.Array) -> jax.Array:
        del k
        size = jnp.sqrt(jnp.sum(delta * delta, axis=1, keepdims=True))
        return (delta / size) @ weight.T

    sizes = (4, 5, 5, 5, 5, 3)
    params = network(sizes)
    if stacked:
        params = hg.stack_layers(params, above=1)
    data = batch(sizes, 5)
    weights = data.weights.at[1].set(0)
    grads = hg.value_and_grad(
        params, data.x, data.labels, weights=weights, transport=unit
    )[1]
    rest = jnp.array([0, 2, 3, 4])
    expected = hg.value_and_grad(
        params, data.x[rest], data.labels[rest], weights=weights[rest], transport=unit
    )[1]
    assert_close(grads, expected, GRADIENT)
