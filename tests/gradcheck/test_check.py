"""The check passes a right gradient and names the leaf of a wrong one."""

import jax
import jax.numpy as jnp
import pytest

from handgrad import check_gradients

PARAMS = {"a": jnp.arange(3.0), "b": jnp.ones(2)}


def loss(params: dict[str, jax.Array], factor: float) -> jax.Array:
    return factor * (jnp.sum(params["a"] ** 2) + jnp.sum(params["b"] ** 3))


def gradient(params: dict[str, jax.Array], factor: float) -> dict[str, jax.Array]:
    return {"a": 2 * factor * params["a"], "b": 3 * factor * params["b"] ** 2}


def test_right_gradient_passes() -> None:
    report = check_gradients(loss, gradient, PARAMS, 2.0)
    assert report.ok
    assert "right" in str(report)


def test_wrong_leaf_is_named() -> None:
    def wrong(params: dict[str, jax.Array], factor: float) -> dict[str, jax.Array]:
        grads = gradient(params, factor)
        return grads | {"b": 1.01 * grads["b"]}

    report = check_gradients(loss, wrong, PARAMS, 2.0)
    assert not report.ok
    assert [leaf.path for leaf in report.leaves if not leaf.ok] == ["['b']"]
    assert "WRONG" in str(report)


def test_structure_and_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="`gradient` must return a pytree like"):
        check_gradients(loss, lambda p, f: p["a"], PARAMS, 2.0)
    with pytest.raises(ValueError, match=r"`gradient` leaf \['a'\] must have shape"):
        check_gradients(loss, lambda p, f: p | {"a": jnp.ones(2)}, PARAMS, 2.0)
