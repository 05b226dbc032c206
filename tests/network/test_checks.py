"""Every error of the static checks, by its text, through the public functions."""

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_equal, network

from handgrad import (
    Layer,
    deltas,
    forward,
    gradients,
    input_gradient,
    loss,
    loss_by_hand,
    predict_proba,
    value_and_grad,
)
from handgrad.network.checks import (
    check_deltas,
    check_inputs,
    check_targets,
    check_weights,
)
from handgrad.network.numbers import check_number


def params() -> tuple[Layer, ...]:
    return network((2, 3, 4))


def x() -> Any:
    return jnp.ones((5, 2))


def labels() -> Any:
    return jnp.zeros(5, int)


def refuses(error: type[Exception], text: str) -> Any:
    return pytest.raises(error, match=f"^{re.escape(text)}$")


NO_TUPLE = (
    "`params` must be a non-empty tuple of Layer(weight, bias), got {}. See `init`."
)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: (), "tuple"),
        (lambda: list(params()), "list"),
        (lambda: params()[0], "Layer"),
        (lambda: None, "NoneType"),
    ],
)
def test_params_must_be_a_tuple_of_layers(make: Any, name: str) -> None:
    with refuses(TypeError, NO_TUPLE.format(name)):
        forward(make(), x())


def test_params_must_hold_layers() -> None:
    first, second = params()
    with refuses(
        TypeError,
        "`params` must hold Layer(weight, bias), but layer 2 is a tuple. "
        "Wrap it: Layer(weight, bias).",
    ):
        forward((first, tuple(second)), x())  # type: ignore[arg-type]


def test_layers_must_hold_arrays() -> None:
    listed: Any = [0.0, 0.0]
    with refuses(
        TypeError,
        "`params` layer 1 must hold arrays, but its bias is a list. "
        "Wrap it: jnp.asarray(bias).",
    ):
        forward((Layer(jnp.ones((2, 2)), listed),), x())


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        ((), ()),
        ((2,), ()),
        ((2,), (2,)),
        ((2, 3, 1), (3, 1)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (3, 3)),
        ((2, 3, 4), (2, 4)),
        ((1, 2, 3, 3), (1, 2, 3)),
        ((2, 3), (2,)),
        ((2, 3), ()),
        ((2, 3), (3, 1)),
    ],
)
def test_a_weight_has_two_axes_and_a_bias_the_second(weight: Any, bias: Any) -> None:
    layer = Layer(jnp.ones(weight), jnp.ones(bias))
    with refuses(
        ValueError,
        "`params` layer 1 must have weight (n_in, n_out) and bias (n_out,), or "
        f"(K, n, n) and (K, n) of K equal layers, got weight {weight} and bias {bias}.",
    ):
        forward((layer,), x())


def test_a_layer_must_have_a_unit() -> None:
    first, _ = params()
    none = Layer(jnp.ones((first.bias.size, 0)), jnp.ones(0))
    with refuses(
        ValueError,
        f"`params` layer 2 must have a unit, got weight {none.weight.shape}.",
    ):
        forward((first, none), x())


@pytest.mark.parametrize("width", [3, 5])
def test_layers_must_chain(width: int) -> None:
    third = Layer(jnp.ones((width, 4)), jnp.ones(4))
    with refuses(
        ValueError,
        "`params` layer 3 must take the 4 outputs of layer 2, "
        f"but its weight has shape ({width}, 4).",
    ):
        forward((*params(), third), x())


def test_params_must_have_one_dtype() -> None:
    first, second = params()
    single = Layer(second.weight, second.bias.astype(jnp.float32))
    with refuses(
        TypeError,
        "`params` must have one dtype, got float32 and float64. "
        "Cast them with jax.tree.map.",
    ):
        forward((first, single), x())


def test_params_must_be_floating() -> None:
    with refuses(TypeError, "`params` must be floating, got int32."):
        forward((Layer(jnp.ones((2, 4), "int32"), jnp.ones(4, "int32")),), x())


def test_float64_without_x64_is_told_how() -> None:
    weight: Any = np.ones((2, 4))
    with (
        jax.enable_x64(False),
        refuses(
            ValueError,
            "`params` float64 needs x64: run inside `with jax.enable_x64(True):`.",
        ),
    ):
        forward((Layer(weight, weight[0]),), x())


@pytest.mark.parametrize("shape", [(5, 1), (5, 3), (5, 2, 1), (2, 5)])
def test_inputs_are_rows_of_features(shape: Any) -> None:
    with refuses(
        ValueError, f"`x` must have shape (m, 2), samples as rows, got {shape}."
    ):
        forward(params(), jnp.ones(shape))


def test_a_number_is_not_told_to_become_a_row() -> None:
    with refuses(ValueError, "`x` must have shape (m, 2), samples as rows, got ()."):
        forward(params(), jnp.ones(()))


def test_one_sample_alone_is_told_how_to_become_a_row() -> None:
    with refuses(
        ValueError,
        "`x` must have shape (m, 2), samples as rows, got (2,). "
        "Pass one sample as x[None, :].",
    ):
        forward(params(), jnp.ones(2))


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_inputs_have_the_dtype_of_the_parameters(dtype: str) -> None:
    with refuses(
        TypeError,
        f"`x` must have the dtype of `params`, float64, got {dtype}. "
        "Cast one of them: x.astype('float64').",
    ):
        forward(params(), jnp.ones((5, 2), dtype))


def test_inputs_wider_than_the_parameters_are_not_narrowed() -> None:
    single = network((2, 3, 4), dtype="float32")
    with refuses(
        TypeError,
        "`x` must have the dtype of `params`, float32, got float64. "
        "Cast one of them: x.astype('float32').",
    ):
        forward(single, x())


def test_inputs_may_be_numpy_arrays() -> None:
    assert_equal(check_inputs(params(), np.ones((5, 2))), x())


@pytest.mark.parametrize("shape", [(), (4,), (5, 3), (4, 4), (5, 4, 1), (5, 1)])
def test_targets_fit_samples_and_classes(shape: Any) -> None:
    with refuses(
        ValueError,
        f"`targets` must be labels (5,) or distributions (5, 4), got shape {shape}.",
    ):
        loss(params(), x(), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(), (5, 3), (5, 4, 1)])
def test_targets_fit_classes_for_any_number_of_samples(shape: Any) -> None:
    with refuses(
        ValueError,
        f"`targets` must be labels (m,) or distributions (m, 4), got shape {shape}.",
    ):
        check_targets(jnp.zeros(shape), 4)


def test_labels_are_integers() -> None:
    with refuses(
        TypeError,
        "`targets` of shape (5,) are labels and must be integers, got float64. "
        "Cast them: targets.astype(int).",
    ):
        loss(params(), x(), jnp.zeros(5))


def test_labels_of_two_classes_may_be_boolean() -> None:
    labels = check_targets(np.array([True, False, True]), 2, 3)
    assert_equal(labels, jnp.array([1, 0, 1], "int32"))


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_distributions_are_floating(dtype: str) -> None:
    with refuses(
        TypeError,
        "`targets` of shape (5, 4) are distributions and must be floating, "
        f"got {dtype}. Cast them: targets.astype(float).",
    ):
        loss(params(), x(), jnp.zeros((5, 4), dtype))


@pytest.mark.parametrize("shape", [(), (4,), (5, 1)])
def test_weights_are_one_per_sample(shape: Any) -> None:
    with refuses(
        ValueError, f"`weights` must have shape (5,), one per sample, got {shape}."
    ):
        loss(params(), x(), labels(), weights=jnp.ones(shape))


def test_weights_are_real() -> None:
    with refuses(TypeError, "`weights` must be real, got complex128."):
        loss(params(), x(), labels(), weights=jnp.ones(5, complex))


def test_weights_may_be_absent_or_a_list() -> None:
    assert check_weights(None, 5) is None
    listed: Any = [1.0, 0.0]
    assert_equal(check_weights(listed, 2), jnp.array([1.0, 0.0]))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_masks_are_one_per_layer(count: int) -> None:
    with refuses(
        ValueError,
        "`masks` must have one entry (a mask or None) per layer, 2, "
        f"got {count}. See `dropout_masks`.",
    ):
        forward(params(), x(), masks=(None,) * count)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((5, 4), "float64"), ((4, 3), "float64"), ((5, 3), "float32")]
)
def test_a_mask_is_like_the_input_of_its_layer(shape: Any, dtype: str) -> None:
    with refuses(
        ValueError,
        "`masks` entry 1 must be float64 of shape (5, 3), like the input of layer 2, "
        f"got {dtype} of shape {shape}.",
    ):
        forward(params(), x(), masks=(None, jnp.ones(shape, dtype)))


def test_masks_may_be_a_list() -> None:
    mask = jnp.ones((5, 2))
    masks: Any = [mask, None]
    assert forward(params(), x(), masks=masks).masks == (mask, None)


@pytest.mark.parametrize(
    "sizes", [(2, 2, 4), (2, 6, 4), (2, 4), (2, 3, 4, 4), (5, 3, 4)]
)
def test_the_trace_is_of_these_parameters(sizes: Any) -> None:
    trace = forward(network(sizes), jnp.ones((5, sizes[0])))
    with refuses(
        ValueError,
        "`trace` must come from `forward` with these `params`: inputs and layers of "
        f"widths [2, 3, 4], got {list(sizes)}.",
    ):
        deltas(params(), trace, labels())


@pytest.mark.parametrize(
    ("part", "came"), [(slice(1, None), "[(5, 4)]"), (slice(0, 1), "[(5, 3)]")]
)
def test_the_deltas_are_of_this_trace(part: slice, came: str) -> None:
    trace = forward(params(), x())
    errors = deltas(params(), trace, labels())
    with refuses(
        ValueError,
        "`deltas` must have the shapes of `trace.pre_activations`, "
        f"[(5, 3), (5, 4)], got {came}.",
    ):
        gradients(trace, replace(errors, layers=errors.layers[part]))


def test_the_deltas_are_no_bare_arrays() -> None:
    trace = forward(params(), x())
    layers: Any = deltas(params(), trace, labels()).layers
    with refuses(TypeError, "`deltas` must be what `deltas` returns, got tuple."):
        gradients(trace, layers)


def test_several_passes_are_not_one() -> None:
    trace = forward(params(), x())
    errors = deltas(params(), trace, labels())
    several = replace(errors, layers=tuple(d[None] for d in errors.layers))
    with refuses(
        ValueError,
        "`deltas` must have the shapes of `trace.pre_activations`, "
        "[(5, 3), (5, 4)], got [(1, 5, 3), (1, 5, 4)].",
    ):
        gradients(trace, several)
    check_deltas(trace, several, passes=True)
    check_deltas(trace, errors, passes=True)
    first, last = errors.layers
    for wrong in (
        (),
        (first[None], last),
        (first[None], jnp.stack([last, last])),
        (first[None, None], last[None, None]),
    ):
        with pytest.raises(ValueError, match="^`deltas` must have the shapes"):
            check_deltas(trace, replace(errors, layers=wrong), passes=True)


def test_several_passes_may_be_of_one_layer() -> None:
    alone = network((2, 4))
    trace = forward(alone, x())
    errors = deltas(alone, trace, labels())
    check_deltas(trace, replace(errors, layers=(errors.layers[0][None],)), passes=True)


@pytest.mark.parametrize("width", [2, 4])
def test_a_transport_gives_what_the_layer_has(width: int) -> None:
    trace = forward(params(), x())
    with refuses(
        ValueError,
        "`transport` must give dl/da_1 like a_1, float64 of shape (5, 3), got float64 "
        f"of shape (5, {width}). Feedback matrices are made for one network: see "
        "`init_feedback`.",
    ):
        deltas(
            params(),
            trace,
            labels(),
            transport=lambda k, delta, weight, output_delta: jnp.ones((5, width)),
        )


def test_the_gradient_in_the_inputs_checks() -> None:
    trace = forward(params(), x())
    errors = deltas(params(), trace, labels())
    other = forward(network((2, 4)), x())
    cases: list[tuple[Any, str]] = [
        (((), trace, errors), "`params` must"),
        ((params(), other, errors), "`trace` must"),
        ((params(), trace, errors.layers), "`deltas` must"),
        ((params(), forward(params(), x()[:4]), errors), "`deltas` must"),
    ]
    for arguments, text in cases:
        with pytest.raises((TypeError, ValueError), match=f"^{text}"):
            input_gradient(*arguments)


@pytest.mark.parametrize("function", [loss, value_and_grad, loss_by_hand])
def test_every_entry_point_checks(function: Any) -> None:
    for arguments, keywords, text in (
        (((), x(), labels()), {}, "`params` must"),
        ((params(), jnp.ones(2), labels()), {}, "`x` must"),
        ((params(), x(), labels()[:4]), {}, "`targets` must"),
        ((params(), x(), labels()), {"weights": jnp.ones(4)}, "`weights` must"),
        ((params(), x(), labels()), {"masks": ()}, "`masks` must"),
        ((params(), x(), labels()), {"activation": "rell"}, "`activation` must"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{text}"):
            function(*arguments, **keywords)


def test_deltas_check() -> None:
    trace = forward(params(), x())
    cases: list[tuple[Any, Any, str]] = [
        (((), trace, labels()), {}, "`params` must"),
        ((params(), trace, labels()[:4]), {}, "`targets` must"),
        ((params(), trace, labels()), {"weights": jnp.ones(4)}, "`weights` must"),
        ((params(), forward(network((2, 4)), x()), labels()), {}, "`trace` must"),
    ]
    for arguments, keywords, text in cases:
        with pytest.raises((TypeError, ValueError), match=f"^{text}"):
            deltas(*arguments, **keywords)


def test_predict_proba_checks() -> None:
    with pytest.raises(ValueError, match="^`x` must"):
        predict_proba(params(), jnp.ones(2))


BOUNDS: list[tuple[dict[str, float], float, float, str]] = [
    ({"at_least": 0}, 0, -1e-6, "at least 0"),
    ({"above": 0}, 1e-6, 0, "above 0"),
    ({"at_most": 1}, 1, 1.000001, "at most 1"),
    ({"below": 1}, 0.999999, 1, "below 1"),
    ({"at_least": 0, "below": 1}, 0, 1, "at least 0 and below 1"),
    ({"above": 0, "at_most": 1}, 1, 0, "above 0 and at most 1"),
    ({"above": 0}, float("inf"), -float("inf"), "above 0"),
]
WAYS = {
    "Python": lambda value: value,
    "float64 of NumPy": np.float64,
    "float32 of NumPy": np.float32,
    "an array of NumPy": np.asarray,
    "an array of JAX": jnp.asarray,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("bounds", "inside", "outside", "text"), BOUNDS)
def test_a_number_is_within_its_bounds(
    way: str, bounds: Any, inside: float, outside: float, text: str
) -> None:
    came = check_number("n", WAYS[way](inside), jnp.float32, **bounds)
    assert came.dtype == "float32"
    assert came == jnp.float32(inside)
    value = WAYS[way](outside)
    with refuses(ValueError, f"`n` must be a number {text}, got {value}."):
        check_number("n", value, jnp.float32, **bounds)


@pytest.mark.parametrize(("bounds", "inside", "outside", "text"), BOUNDS)
def test_a_traced_number_outside_its_bounds_is_nan(
    bounds: Any, inside: float, outside: float, text: str
) -> None:
    del text

    @jax.jit
    def checked(value: Any) -> Any:
        return check_number("n", value, jnp.float32, **bounds)

    assert checked(jnp.asarray(inside, "float64")) == jnp.float32(inside)
    for value in (outside, np.nan):
        came = checked(jnp.asarray(value, "float64"))
        assert came.dtype == "float32"
        assert jnp.isnan(came)


def test_a_vmapped_number_is_nan_where_it_is_outside() -> None:
    values = jnp.array([-1.0, 0.0, 2.0])
    came = jax.vmap(lambda n: check_number("n", n, jnp.float64, at_least=0))(values)
    assert np.array_equal(came, [np.nan, 0, 2], equal_nan=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_number_is_not_nan(way: str) -> None:
    value = WAYS[way](float("nan"))
    with refuses(ValueError, "`n` must be a number at least 0, got nan."):
        check_number("n", value, jnp.float32, at_least=0)


@pytest.mark.parametrize("value", [np.ones(1), np.ones((2, 2)), [0.5]])
def test_a_number_is_a_scalar(value: Any) -> None:
    text = f"`n` must be a number at least 0, got {value}."
    with refuses(ValueError, text):
        check_number("n", value, jnp.float32, at_least=0)


def test_a_traced_number_is_a_scalar_too() -> None:
    def checked(value: Any) -> Any:
        return check_number("n", value, jnp.float32, at_least=0)

    with pytest.raises(ValueError, match="^`n` must be a number at least 0, got "):
        jax.jit(checked)(jnp.ones(1))


@pytest.mark.parametrize("value", [1, True, np.int8(1), np.bool_(True), jnp.int32(1)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_number_takes_the_dtype_asked(value: Any, dtype: Any) -> None:
    came = check_number("n", value, dtype, at_least=0, at_most=1)
    assert_equal(came, jnp.ones((), dtype))


def test_a_number_is_judged_before_it_is_rounded() -> None:
    """1 - 1e-9 is 1 in float32, and below 1 all the same."""
    came = check_number("n", 1 - 1e-9, jnp.float32, below=1)
    assert_equal(came, jnp.float32(1))
    with pytest.raises(ValueError, match="^`n` must be a number below 1, got 1.0"):
        check_number("n", 1 + 1e-9, jnp.float32, below=1)


@pytest.mark.parametrize("value", [None, "1", 1j, np.array("a"), object()])
def test_a_number_is_real(value: Any) -> None:
    with refuses(ValueError, f"`n` must be a number at least 0, got {value}."):
        check_number("n", value, jnp.float32, at_least=0)


def test_a_number_above_0_is_so_in_the_dtype_that_it_is_used_in() -> None:
    def checked(value: Any) -> Any:
        return check_number("n", value, jnp.float32, above=0)

    for value in (1e-50, np.float64(1e-300)):
        with refuses(ValueError, f"`n` must be a number above 0, got {value}."):
            checked(value)
        assert jnp.isnan(jax.jit(checked)(jnp.asarray(value, "float64")))
    assert checked(1e300) == jnp.inf
