"""`as_params`: a network of each library, in one line, predicts and learns the same."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import FLOAT32, assert_close, relative_error
from sklearn.neural_network import MLPClassifier

import handgrad as hg
from handgrad import as_params

SIZES = (5, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 3)
"""Twelve layers of one width: names in the order of strings would go unnoticed."""

ROUNDING = 64 * FLOAT32
X = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")


@pytest.fixture(autouse=True)
def as_users_run_it() -> Any:
    """float32, and JAX's own promotion rules: the libraries need them."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


def assert_same_logits(params: hg.Params, logits: Any) -> None:
    came = hg.forward(params, X, activation="tanh").logits
    assert relative_error(came, logits) <= ROUNDING


def test_flax_linen() -> None:
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for n in SIZES[1:-1]:
                x = nn.tanh(nn.Dense(n, bias_init=nn.initializers.normal())(x))
            return nn.Dense(SIZES[-1])(x)

    network = Network()
    variables = network.init(jax.random.key(0), X)

    layers = [
        variables["params"][f"Dense_{k}"] for k in range(len(variables["params"]))
    ]
    params = as_params((layer["kernel"], layer["bias"]) for layer in layers)

    assert_same_logits(params, network.apply(variables, X))


def test_flax_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")
    rngs, sizes = nnx.Rngs(0), zip(SIZES[:-1], SIZES[1:], strict=True)
    linears = [nnx.Linear(*size, rngs=rngs) for size in sizes]

    params = as_params((layer.kernel[...], layer.bias[...]) for layer in linears)

    x = X
    for layer in linears[:-1]:
        x = nnx.tanh(layer(x))
    assert_same_logits(params, linears[-1](x))


def test_equinox() -> None:
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(5, 3, 12, 11, jnp.tanh, key=jax.random.key(0))

    params = as_params(
        ((layer.weight, layer.bias) for layer in model.layers), transposed=True
    )

    assert_same_logits(params, jax.vmap(model)(X))


def test_pytorch() -> None:
    torch = pytest.importorskip("torch")
    nn, sizes = torch.nn, list(zip(SIZES[:-1], SIZES[1:], strict=True))
    hidden = [each for size in sizes[:-1] for each in (nn.Linear(*size), nn.Tanh())]
    model = nn.Sequential(*hidden, nn.Linear(*sizes[-1]))

    linears = [layer for layer in model if isinstance(layer, nn.Linear)]
    params = as_params(
        ((layer.weight.detach(), layer.bias.detach()) for layer in linears),
        transposed=True,
    )

    assert_same_logits(params, model(torch.from_numpy(X)).detach().numpy())


def test_scikit_learn() -> None:
    classifier = MLPClassifier(SIZES[1:-1], activation="tanh", max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one iteration does not converge
        classifier.fit(X, [0, 1, 2, 0, 1, 2, 0])

    params = as_params(zip(classifier.coefs_, classifier.intercepts_, strict=True))

    came = hg.predict_proba(params, X, activation="tanh")
    assert relative_error(came, classifier.predict_proba(X)) <= ROUNDING


def test_a_logistic_output_is_refused_and_told_what_it_is() -> None:
    """One logit would be a softmax of one class: probability 1, whatever it is."""
    classifier = MLPClassifier((4,), activation="tanh", max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier.fit(X, [0, 1, 1, 0, 1, 0, 0])
    (w1, w2), (b1, b2) = classifier.coefs_, classifier.intercepts_
    with pytest.raises(ValueError, match=r"^`layers` must end in one unit per class"):
        as_params([(w1, b1), (w2, b2)])
    output = np.hstack([0 * w2, w2]), np.hstack([0 * b2, b2])
    came = hg.predict_proba(as_params([(w1, b1), output]), X, activation="tanh")
    assert relative_error(came, classifier.predict_proba(X)) <= ROUNDING


def test_weights_become_layers_and_a_missing_bias_is_0() -> None:
    first, second = np.ones((4, 2), "float32"), np.ones((3, 4), "float32")
    params = as_params(
        [(first, None), (second, np.ones(3, "float32"))], transposed=True
    )
    assert_close(
        params,
        (
            hg.Layer(jnp.ones((2, 4)), jnp.zeros(4)),
            hg.Layer(jnp.ones((4, 3)), jnp.ones(3)),
        ),
        0.0,
    )
    with pytest.raises(ValueError, match=r"^`params` layer 2 must take the 2 outputs"):
        as_params([(first, None), (second, None)])
