"""The contract of the public functions, and an example worked by hand."""

import inspect
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    EQUATION,
    FLOAT32,
    GRADIENT,
    assert_close,
    assert_equal,
    batch,
    network,
    relative_error,
)

import handgrad
from handgrad import (
    ACTIVATIONS,
    Activation,
    Layer,
    deltas,
    dropout_masks,
    forward,
    gradients,
    input_gradient,
    loss,
    predict_proba,
    smooth_labels,
    value_and_grad,
)
from handgrad.network import backprop
from handgrad.network.backward import backward, carried
from handgrad.network.samples import (
    as_gradient,
    pairs,
    sample_factors,
    with_output,
)
from handgrad.network.softmax_nll import output_delta, softmax

LN3 = np.log(3)


def worked_example() -> tuple[Any, Any, Any]:
    """Two features, three hidden units, two classes, one sample of class 1."""
    first = Layer(jnp.array([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]]), jnp.zeros(3))
    second = Layer(
        jnp.array([[LN3, 2.0], [5.0, 7.0], [0.0, -1.0]]), jnp.array([0.5, 0.5])
    )
    return (first, second), jnp.array([[1.0, 2.0]]), jnp.array([1])


def test_worked_example_of_a_2x3_layer() -> None:
    params, x, y = worked_example()
    trace = forward(params, x)
    # F1: d_1 = (1*1 + 2*0, 1*-1 + 2*-1, 1*0 + 2*1) = (1, -3, 2)
    # F2: a_1 = relu(d_1) = (1, 0, 2)
    # F1: d_2 = (1*ln3 + 0*5 + 2*0 + 1/2, 1*2 + 0*7 + 2*-1 + 1/2) = (ln3 + 1/2, 1/2)
    assert_equal(trace.pre_activations[0], jnp.array([[1.0, -3.0, 2.0]]))
    assert_equal(trace.activations, (x, jnp.array([[1.0, 0.0, 2.0]])))
    assert_close(trace.logits, jnp.array([[LN3 + 0.5, 0.5]]), EQUATION)
    # F3: a_2 = (3, 1) sqrt(e) / (4 sqrt(e)) = (3/4, 1/4)
    # L1: l = -ln(1/4) = ln 4, and L2 is the mean of this one
    assert_close(predict_proba(params, x), jnp.array([[0.75, 0.25]]), EQUATION)
    assert_close(loss(params, x, y), jnp.float64(np.log(4)), EQUATION)
    # B3: delta_2 = (3/4, 1/4) - (0, 1) = (3/4, -3/4)
    # B6: dl/da_1 = (3/4 ln3 - 3/4*2, 3/4*5 - 3/4*7, 3/4*0 + 3/4*1)
    # B7: times relu'(d_1) = (1, 0, 1): delta_1 = (3/4 ln3 - 3/2, 0, 3/4)
    above, below = 0.75, 0.75 * LN3 - 1.5
    errors = deltas(params, trace, y)
    first, second = errors.layers  # s = 1
    assert_close(second, jnp.array([[above, -above]]), EQUATION)
    assert_close(first, jnp.array([[below, 0.0, 0.75]]), EQUATION)
    # B4: dl/dW_1 = (1, 2)^T delta_1 and dl/dW_2 = (1, 0, 2)^T delta_2
    # B5: dl/db_k = delta_k
    expected = (
        Layer(
            jnp.array([[below, 0.0, 0.75], [2 * below, 0.0, 1.5]]),
            jnp.array([below, 0.0, 0.75]),
        ),
        Layer(
            jnp.array([[above, -above], [0.0, 0.0], [1.5, -1.5]]),
            jnp.array([above, -above]),
        ),
    )
    assert_close(gradients(trace, errors), expected, EQUATION)
    assert_close(value_and_grad(params, x, y)[1], expected, EQUATION)


def test_signatures_are_those_of_the_contract() -> None:
    expected = {
        "init": "key sizes * activation dtype stack_above",
        "forward": "params x * activation masks",
        "loss": "params x targets * activation weights masks chunk",
        "deltas": "params trace targets * weights transport",
        "gradients": "trace deltas",
        "input_gradient": "params trace deltas",
        "value_and_grad": (
            "params x targets * activation weights masks transport has_aux chunk"
        ),
        "loss_by_hand": "params x targets * activation weights masks",
        "as_params": "layers * transposed",
        "predict_proba": "params x * activation",
        "dropout_masks": "key params samples * inputs hidden",
        "stack_layers": "params * activation above",
        "unstack_layers": "params",
        "network.backward.backward": "params trace delta * weights transport keep",
    }
    for name, text in expected.items():
        positional, _, keyword = text.partition(" * ")
        function = operator.attrgetter(name)(handgrad)
        parameters = inspect.signature(function).parameters.values()
        kinds = {kind: [] for kind in inspect._ParameterKind}
        for parameter in parameters:
            kinds[parameter.kind].append(parameter.name)
        assert kinds[inspect.Parameter.POSITIONAL_OR_KEYWORD] == positional.split()
        assert kinds[inspect.Parameter.KEYWORD_ONLY] == keyword.split(), name


def test_the_default_activation_is_relu() -> None:
    params, x, y = worked_example()
    cases: list[tuple[Any, Any]] = [
        (loss, (params, x, y)),
        (forward, (params, x)),
        (value_and_grad, (params, x, y)),
        (predict_proba, (params, x)),
    ]
    for function, arguments in cases:
        explicit = function(*arguments, activation="relu")
        assert_equal(function(*arguments), explicit)
        other = function(*arguments, activation="leaky_relu")
        same = map(np.array_equal, jax.tree.leaves(explicit), jax.tree.leaves(other))
        assert not all(same), function.__name__


def test_the_three_steps_are_value_and_grad() -> None:
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    options: dict[str, Any] = {"activation": "tanh", "weights": data.weights}
    trace = forward(params, data.x, activation="tanh", masks=data.masks)
    errors = deltas(params, trace, data.labels, weights=data.weights)
    grads = gradients(trace, errors)
    arguments = params, data.x, data.labels
    value, came = value_and_grad(*arguments, **options, masks=data.masks)
    assert_equal(came, grads)
    assert_equal(value, loss(*arguments, **options, masks=data.masks))


def test_L2_enters_once_at_the_output() -> None:
    """Row i of every delta is s_i = w_i / sum w times that of the sample alone."""
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    one = [slice(i, i + 1) for i in range(5)]
    alone = [
        deltas(params, forward(params, data.x[i]), data.labels[i]).layers for i in one
    ]
    stacked = jax.tree.map(lambda *rows: jnp.concatenate(rows), *alone)
    trace = forward(params, data.x)
    for weights in (None, data.weights):
        came = deltas(params, trace, data.labels, weights=weights)
        s = jnp.ones(5) / 5.0 if weights is None else weights / jnp.sum(weights)
        expected = jax.tree.map(lambda rows, s=s: s[:, None] * rows, stacked)
        assert_close(came.layers, expected, GRADIENT)
        assert_close(came.scale, s, EQUATION)


def test_the_scale_of_L2_is_that_of_B3_alone() -> None:
    """What is below delta_L is B6 and B7, bit by bit, of a delta_L already scaled."""
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    trace = forward(params, data.x)
    errors = deltas(params, trace, data.distribution, weights=data.weights)
    known, factor = sample_factors(trace, data.weights)
    assert_equal(factor, errors.scale)
    delta = output_delta(softmax(trace.logits), data.distribution, factor)
    (top,) = with_output(known, delta, trace.logits.dtype).layers
    plain = output_delta(softmax(trace.logits), data.distribution)
    assert_close(top, errors.scale[:, None] * plain, EQUATION)
    below = backward(params, trace, top, weights=data.weights)
    assert_equal(errors.layers, below)
    assert_equal(carried(params, trace, known, delta).layers, below)


def test_carried_deltas_of_several_passes_are_those_of_each() -> None:
    sizes = (3, 4, 5, 2)
    params, data = network(sizes), batch(sizes, 6)
    trace = forward(params, data.x, activation="tanh", masks=data.masks)
    passes = jnp.stack([data.distribution, 2 * data.distribution - 1])
    known, factor = sample_factors(trace, data.weights)
    came = carried(params, trace, known, passes)
    each = [carried(params, trace, known, delta).layers for delta in passes]
    expected = jax.tree.map(lambda *rows: jnp.stack(rows), *each)
    assert_close(came.layers, expected, EQUATION)
    assert_equal(came.scale, factor)


def test_gradients_are_the_contraction_of_the_pairs() -> None:
    """B4 and B5, and nothing else: no weight, no m."""
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    trace = forward(params, data.x, masks=data.masks)
    errors = deltas(params, trace, data.labels, weights=data.weights)
    expected = tuple(
        Layer(a.T @ delta, jnp.sum(delta, axis=0)) for a, delta in pairs(trace, errors)
    )
    assert_close(gradients(trace, errors), expected, EQUATION)
    inputs, layers = zip(*pairs(trace, errors), strict=True)
    assert_equal(inputs, trace.layer_inputs)
    assert layers == errors.layers


def test_float16_deltas_are_larger_by_a_power_of_two_that_the_gradient_loses() -> None:
    sizes = (3, 4, 2)
    params, data = network(sizes, dtype="float16"), batch(sizes, 5, dtype="float16")
    trace = forward(params, data.x)
    errors = deltas(params, trace, data.labels, weights=data.weights)
    lift = errors.loss_scale
    assert lift is not None
    assert float(lift) == 2.0 ** round(np.log2(float(lift)))
    assert 0.5 <= float(jnp.max(lift * errors.scale)) < 1
    wide_params, wide_trace = jax.tree.map(
        lambda leaf: leaf.astype("float32"), (params, trace)
    )
    exact = deltas(wide_params, wide_trace, data.labels, weights=data.weights)
    assert exact.loss_scale is None
    for came, right in zip(errors.layers, exact.layers, strict=True):
        assert relative_error(came.astype("float32") / lift, right) <= 4 * 2**-11
    sums = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 3, "float32"), params)
    came = as_gradient(sums, trace, errors)
    halves = jax.tree.map(lambda leaf: (leaf / lift).astype("float16"), sums)
    assert_equal(came, halves)


def test_backward_is_linear_in_its_cotangent() -> None:
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    trace = forward(params, data.x, activation="tanh")
    one, two = (
        network((2, 2), seed)[0].weight @ data.distribution.T for seed in (1, 2)
    )
    images = [
        backward(params, trace, cotangent.T) for cotangent in (one, two, 2 * one + two)
    ]
    expected = jax.tree.map(lambda a, b: 2 * a + b, *images[:2])
    assert_close(images[2], expected, GRADIENT)


def test_a_transport_stands_in_for_B6_and_sees_layer_and_output_delta() -> None:
    sizes = (3, 4, 5, 2)
    params, data = network(sizes), batch(sizes, 6)
    trace = forward(params, data.x)
    seen = []

    def noted(k: int, delta: Any, weight: Any, output_delta: Any) -> Any:
        seen.append((k, delta.shape, weight.shape, output_delta.shape))
        return 2 * backprop(k, delta, weight, output_delta)

    exact = deltas(params, trace, data.labels).layers
    came = deltas(params, trace, data.labels, transport=noted).layers
    assert seen == [(2, (6, 2), (5, 2), (6, 2)), (1, (6, 5), (4, 5), (6, 2))]
    assert_equal(came, (4 * exact[0], 2 * exact[1], exact[2]))
    again = backward(params, trace, exact[-1], transport=noted)
    assert_equal(again, came)


@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_grad_takes_a_transport(weighted: bool) -> None:
    """Twice B6 at each of two hidden layers: 4, 2 and 1 times the gradient."""
    sizes = (3, 4, 5, 2)
    params, data = network(sizes), batch(sizes, 6)
    options = {"weights": data.weights if weighted else None, "masks": data.masks}

    def twice(k: int, delta: Any, weight: Any, output_delta: Any) -> Any:
        return 2 * backprop(k, delta, weight, output_delta)

    arguments = params, data.x, data.labels
    value, exact = value_and_grad(*arguments, **options)
    came = value_and_grad(*arguments, **options, transport=twice)
    expected = tuple(
        jax.tree.map(lambda leaf, f=f: f * leaf, layer)
        for f, layer in zip((4, 2, 1), exact, strict=True)
    )
    assert_equal(came, (value, expected))


@pytest.mark.parametrize("weighted", [False, True])
def test_has_aux_returns_the_trace_as_jax_value_and_grad_does(weighted: bool) -> None:
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    options: dict[str, Any] = {"activation": "tanh", "masks": data.masks}
    options["weights"] = data.weights if weighted else None

    def with_trace(params: Any) -> Any:
        trace = forward(params, data.x, activation="tanh", masks=data.masks)
        return loss(params, data.x, data.labels, **options), trace

    arguments = params, data.x, data.labels
    came = value_and_grad(*arguments, **options, has_aux=True)
    plain = value_and_grad(*arguments, **options)
    assert_equal((came[0][0], came[1]), plain)
    assert_equal(came[0][1], with_trace(params)[1])
    expected = jax.value_and_grad(with_trace, has_aux=True)(params)
    assert_close(came, expected, GRADIENT)


INPUT_CASES = {
    "relu": {},
    "weights": {"weights": True},
    "masks": {"masks": True},
    "all": {"weights": True, "masks": True, "activation": "gelu"},
}


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (3, 1, 5, 4)])
@pytest.mark.parametrize("case", INPUT_CASES)
def test_B6_and_D2_once_more_are_the_gradient_in_the_inputs(
    case: str, sizes: Any
) -> None:
    params, data = network(sizes), batch(sizes, 5)
    given = INPUT_CASES[case]
    activation: Any = given.get("activation", "relu")
    weights = data.weights.at[1].set(0) if "weights" in given else None
    masks = data.masks if "masks" in given else None
    options: Any = {"activation": activation, "masks": masks}
    for targets in (data.labels, data.distribution, 2 * data.distribution):
        trace = forward(params, data.x, **options)
        errors = deltas(params, trace, targets, weights=weights)
        came = input_gradient(params, trace, errors)
        expected = jax.grad(
            lambda x, q=targets: loss(params, x, q, weights=weights, **options)
        )(data.x)
        assert_close(came, expected, GRADIENT)
        if weights is not None:
            assert_equal(came[1], jnp.zeros(3))


@pytest.mark.parametrize("samples", [5, 4000])
def test_the_gradient_in_the_inputs_keeps_float16_and_its_scale(samples: int) -> None:
    """Without a power of two, 1/4000 of it is mostly below what float16 resolves."""
    sizes = (3, 8, 2)
    params = network(sizes, dtype="float16")
    data = batch(sizes, samples, dtype="float16")
    trace = forward(params, data.x, activation="tanh")
    errors = deltas(params, trace, data.labels)
    came = input_gradient(params, trace, errors)
    assert came.dtype == "float16"
    params, x = jax.tree.map(lambda leaf: leaf.astype("float64"), (params, data.x))
    exact = jax.grad(lambda x: loss(params, x, data.labels, activation="tanh"))(x)
    # 8 roundings of 2^-11 and their cancellation; 2^-24 is float16's last step.
    difference = np.abs(np.asarray(came, "float64") - np.asarray(exact))
    assert difference.max() <= 2**-8 * np.abs(exact).max() + 2**-25


def test_the_gradient_of_one_samples_loss_in_its_input() -> None:
    """The input gradient over the scale of the sample."""
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    trace = forward(params, data.x)
    errors = deltas(params, trace, data.labels, weights=data.weights)
    came = input_gradient(params, trace, errors) / errors.scale[:, None]
    for i in range(5):
        row = slice(i, i + 1)
        expected = jax.grad(loss, argnums=1)(params, data.x[row], data.labels[row])
        assert_close(came[row], expected, GRADIENT)


def test_an_activation_of_the_user_works_like_a_named_one() -> None:
    own = Activation(jnp.tanh, lambda d, a: 1 - a * a)
    params, data = network((3, 4, 2)), batch((3, 4, 2), 5)
    arguments = params, data.x, data.labels
    came = value_and_grad(*arguments, activation=own)
    assert_equal(came, value_and_grad(*arguments, activation="tanh"))


def test_a_derivative_of_the_user_is_used_as_given() -> None:
    """The straight-through sign: h' is 1 although that of sign is 0."""
    own = Activation(jnp.sign, lambda d, a: jnp.ones_like(d))
    params, x, y = worked_example()
    trace = forward(params, x, activation=own)
    first, second = deltas(params, trace, y).layers
    assert_close(first, second @ params[1].weight.T, EQUATION)


def test_activations_per_layer_are_used_in_order() -> None:
    sizes = (3, 4, 5, 2)
    params, data = network(sizes), batch(sizes, 6)
    names = ["tanh", ACTIVATIONS["relu"]]
    trace = forward(params, data.x, activation=names)
    assert_equal(trace.activations[1], jnp.tanh(trace.pre_activations[0]))
    assert_equal(trace.activations[2], jax.nn.relu(trace.pre_activations[1]))

    def plain(params: Any) -> Any:
        (w1, b1), (w2, b2), (w3, b3) = params
        hidden = jnp.tanh(data.x @ w1 + b1[None])
        hidden = jax.nn.relu(hidden @ w2 + b2[None])
        logits = jax.nn.log_softmax(hidden @ w3 + b3[None], axis=1)
        return -jnp.mean(jnp.sum(data.distribution * logits, axis=1))

    arguments = params, data.x, data.distribution
    came = value_and_grad(*arguments, activation=names)
    assert_close(came, jax.value_and_grad(plain)(params), GRADIENT)


def test_softmax_regression_is_a_network_of_one_layer() -> None:
    params, data = network((3, 4)), batch((3, 4), 5)
    trace = forward(params, data.x)
    assert (len(trace.activations), len(trace.pre_activations)) == (1, 1)
    _, (grads,) = value_and_grad(params, data.x, data.labels)
    delta = predict_proba(params, data.x) - np.eye(4)[data.labels]
    assert_close(grads.weight, data.x.T @ delta / 5.0, GRADIENT)


def test_the_trace_keeps_the_masks_and_the_values_before_them() -> None:
    sizes = (3, 4, 2)
    params, data = network(sizes), batch(sizes, 5)
    trace = forward(params, data.x, masks=data.masks)
    (w1, b1), (w2, b2) = params
    hidden = jax.nn.relu((data.x * data.masks[0]) @ w1 + b1[None])
    assert trace.masks == data.masks
    assert_close(trace.activations, (data.x, hidden), EQUATION)
    logits = (hidden * data.masks[1]) @ w2 + b2[None]
    assert_close(trace.logits, logits, EQUATION)
    assert forward(params, data.x).masks == (None, None)


def test_dropout_masks_go_through_forward_and_backward() -> None:
    sizes = (3, 8, 2)
    params, data = network(sizes), batch(sizes, 7)
    masks = dropout_masks(jax.random.key(0), params, 7, inputs=0.2, hidden=0.5)
    arguments = params, data.x, data.labels
    came = value_and_grad(*arguments, masks=masks)
    expected = jax.value_and_grad(lambda p: loss(p, *arguments[1:], masks=masks))(
        params
    )
    assert_close(came, expected, GRADIENT)
    assert relative_error(came[0], loss(*arguments)) > 0.01


def test_probabilities_are_the_softmax_of_the_logits_in_float32() -> None:
    params, data = network((3, 4, 2), dtype=jnp.bfloat16), batch((3, 4, 2), 5)
    x = data.x.astype(jnp.bfloat16)
    came = predict_proba(params, x, activation="tanh")
    logits = forward(params, x, activation="tanh").logits
    expected = jax.nn.softmax(logits.astype(jnp.float32), axis=1)
    assert_equal(came, expected)
    assert np.max(np.abs(np.sum(came, axis=1) - 1)) <= 2 * FLOAT32


def test_smooth_labels_and_their_distribution_are_one_target() -> None:
    params, data = network((3, 4, 2)), batch((3, 4, 2), 5)
    soft = smooth_labels(data.labels, 2, 0.25)
    expected = 0.75 * np.eye(2, dtype="float32")[data.labels] + np.float32(0.125)
    came = value_and_grad(params, data.x, soft)
    assert_close(came, value_and_grad(params, data.x, expected), GRADIENT)


def test_a_label_and_its_one_hot_distribution_are_one_target() -> None:
    params, data = network((3, 4, 2)), batch((3, 4, 2), 5)
    came = value_and_grad(params, data.x, data.labels)
    assert_equal(came, value_and_grad(params, data.x, jnp.eye(2)[data.labels]))
