"""Every error, by its text."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

import handgrad
from handgrad import Activation, Layer


def call(**changes: object) -> object:
    key = jax.random.key(0)
    params = handgrad.init(key, (4, 3, 2), dtype=jnp.float32)
    arguments = {"params": params, "x": jnp.ones((5, 4), jnp.float32)}
    arguments |= {"targets": jnp.zeros(5, int)} | changes
    return handgrad.value_and_grad(**arguments)  # pyright: ignore[reportArgumentType]


LAYER = Layer(jnp.ones((4, 2), jnp.float32), jnp.ones(2, jnp.float32))
HALF = Layer(jnp.ones((4, 2), jnp.float16), jnp.ones(2, jnp.float32))
WHOLE = Layer(jnp.ones((4, 2), jnp.int32), jnp.ones(2, jnp.int32))
KEY = jax.random.key(0)
CASES: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: call(params=[LAYER]), TypeError, "`params` must be a non-empty tuple of Layer(weight, bias), got list. See `init`."),
    (lambda: call(params=LAYER), TypeError, "`params` must be a non-empty tuple of Layer(weight, bias), got Layer."),
    (lambda: call(params=((1, 2),)), TypeError, "`params` must hold Layer(weight, bias), but layer 1 is a tuple."),
    (lambda: call(params=(Layer(LAYER.bias, LAYER.bias),)), ValueError, "`params` layer 1 must have weight (n_in, n_out) and bias (n_out,), got weight (2,) and bias (2,)."),
    (lambda: call(params=(LAYER, LAYER)), ValueError, "`params` layer 2 must take the 2 outputs of layer 1, but its weight has shape (4, 2)."),
    (lambda: call(params=(HALF,)), TypeError, "`params` must have one dtype, got float16 and float32."),
    (lambda: call(params=(WHOLE,)), TypeError, "`params` must be floating, got int32."),
    (lambda: call(x=jnp.ones(4)), ValueError, "`x` must have shape (m, 4), samples as rows, got (4,). Pass one sample as x[None, :]."),
    (lambda: call(x=jnp.ones((5, 4), jnp.uint8)), TypeError, "`x` must have the dtype of `params`, float32, got uint8. Cast one of them: x.astype('float32')."),
    (lambda: call(targets=jnp.zeros(4, int)), ValueError, "`targets` must be labels (5,) or distributions (5, 2), got shape (4,)."),
    (lambda: call(targets=jnp.zeros(())), ValueError, "`targets` must be labels (5,) or distributions (5, 2), got shape ()."),
    (lambda: call(targets=jnp.zeros(5)), TypeError, "`targets` of shape (5,) are labels and must be integers, got float"),
    (lambda: call(targets=jnp.zeros((5, 2), int)), TypeError, "`targets` of shape (5, 2) are distributions and must be floating, got int"),
    (lambda: call(weights=jnp.ones(4)), ValueError, "`weights` must have shape (5,), one per sample, got (4,)."),
    (lambda: call(weights=jnp.ones(5, complex)), TypeError, "`weights` must be real, got complex"),
    (lambda: call(masks=(None,)), ValueError, "`masks` must have one entry (a mask or None) per layer, 2, got 1."),
    (lambda: call(masks=(None, jnp.ones((5, 4), jnp.float32))), ValueError, "`masks` entry 1 must be float32 of shape (5, 3), like the input of layer 2, got float32 of shape (5, 4)."),
    (lambda: call(activation="rleu"), ValueError, "Did you mean 'relu'?"),
    (lambda: call(activation=3), TypeError, "`activation` must be a name or an Activation(function, derivative), got 3."),
    (lambda: call(activation=("relu", "relu")), ValueError, "`activation` must be one, or one per hidden layer (1), got 2"),
    (lambda: call(activation=Activation(jnp.sum, lambda d, a: d)), ValueError, "`Activation.function` must work elementwise"),
    (lambda: handgrad.init(KEY, (4,)), ValueError, "`sizes` must be at least two widths of 1 or more, (features, *hidden, classes), got (4,)."),
    (lambda: handgrad.init(KEY, (4, 0)), ValueError, "`sizes` must be at least two widths"),
    (lambda: handgrad.init(KEY, (4, 2), dtype=int), TypeError, "`dtype` must be floating, got int"),
    (lambda: handgrad.dropout_masks(KEY, (LAYER,), 3, inputs=1.0), ValueError, "`inputs` must be a probability of dropping in [0, 1), got 1.0."),
    (lambda: handgrad.dropout_masks(KEY, (LAYER,), 3, hidden=(0.5,)), ValueError, "`hidden` must be one rate, or one per hidden layer (0), got 1."),
    (lambda: handgrad.smooth_labels(jnp.array([0]), 2, 1.5), ValueError, "`epsilon` must be in [0, 1], got 1.5."),
    (lambda: handgrad.class_weights(jnp.array([0]), jnp.ones((1, 2))), ValueError, "`per_class` must have shape (C,), one weight per class, got (1, 2)."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "kind", "text"), CASES, ids=[c[2][:60] for c in CASES]
)
def test_error_says_what_must_hold_and_what_came(
    action: Callable[[], object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        action()
