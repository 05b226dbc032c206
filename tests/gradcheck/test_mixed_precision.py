"""Losses that cast inside, hold -inf, or are sharded: what is right, what is wrong."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from meshes import four_devices

from handgrad import Report, check_gradients, check_vjp

B, H, F = jnp.bfloat16, jnp.float16, jnp.float32


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), F)


def product(p: Any, x: jax.Array) -> jax.Array:
    return jnp.mean((x.astype(B) @ p["w"].astype(B)).astype(F) ** 2)


def bias(p: Any, x: jax.Array) -> jax.Array:
    return jnp.mean((x.astype(B) @ p["w"].astype(B) + p["b"].astype(B)) ** 2).astype(F)


def soft(p: Any, x: jax.Array) -> jax.Array:
    logits = (x @ p["w"]).astype(H) + p["b"].astype(H)
    return -jnp.mean(jax.nn.log_softmax(logits)[:, 0].astype(F))


def recurrent(p: Any, x: jax.Array) -> jax.Array:
    w, b = 0.3 * p["w"][:4].astype(B), p["b"].astype(B)
    steps = x[:, :4].astype(B)
    end, _ = jax.lax.scan(lambda c, t: (jnp.tanh(c @ w + t), None), b, steps)
    return jnp.sum(end.astype(F))


def reduced(p: Any, x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.tanh(x @ p["w"]).astype(B), axis=0).astype(F) @ p["b"]


LOSSES = (product, bias, soft, recurrent, reduced)


def checked(loss: Callable[..., Any], seed: int, change: Any = None) -> Report:
    params = {"w": normal(seed, 6, 4), "b": normal(seed + 1, 4)}

    def gradient(p: Any, x: jax.Array) -> Any:
        found = jax.grad(loss)(p, x)
        return found | {"w": change(found["w"])} if change else found

    return check_gradients(loss, gradient, params, normal(seed + 2, 8, 6))


@pytest.mark.parametrize("loss", LOSSES)
def test_autodiff_of_a_loss_that_casts_is_right(loss: Callable[..., Any]) -> None:
    for seed in (0, 10):
        report = checked(loss, seed)
        assert report.ok, str(report)
        assert (report.faults, report.notes) == ((), ())


@pytest.mark.parametrize("loss", [product, soft])
@pytest.mark.parametrize(
    ("change", "cause"), [(lambda g: -g, "sign"), (lambda g: 1.05 * g, "scale")]
)
def test_wrong_gradient_of_a_loss_that_casts_is_named(
    loss: Callable[..., Any], change: Any, cause: str
) -> None:
    report = checked(loss, 0, change)
    assert [leaf.cause for leaf in report.wrong] == [cause]


def test_rule_of_a_kernel_in_narrow_numbers() -> None:
    def gram(x: jax.Array) -> jax.Array:
        return (x.astype(B) @ x.astype(B).T).astype(F)

    def bwd(factor: float) -> Any:
        def rule(x: jax.Array, u: jax.Array) -> tuple[jax.Array]:
            both = u.astype(B) + u.astype(B).T
            return (factor * (both @ x.astype(B)).astype(F),)

        return rule

    x = normal(3, 6, 5)
    assert check_vjp(gram, lambda x: (gram(x), x), bwd(1.0), x).ok
    half = check_vjp(gram, lambda x: (gram(x), x), bwd(0.5), x)
    assert half.leaves[0].cause == "scale"


MASK = jnp.array([0.0, 0.0, -jnp.inf, 0.0, -jnp.inf])


def masked(p: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.sum(jax.nn.softmax(p + mask) ** 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("least", ["inf", "finfo"])
def test_mask_of_minus_infinity(dtype: str, least: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        p = jnp.arange(5.0).astype(dtype)
        low = -jnp.inf if least == "inf" else jnp.finfo(dtype).min
        mask = jnp.where(jnp.isinf(MASK), low, 0.0).astype(dtype)

        def wrong(p: jax.Array, mask: jax.Array) -> jax.Array:
            return -jax.grad(masked)(p, mask)

        def constant(p: jax.Array) -> jax.Array:
            return masked(p, mask)

        for report in (
            check_gradients(masked, jax.grad(masked), p, mask),
            check_gradients(constant, jax.grad(constant), p),
        ):
            assert report.ok, str(report)
        assert check_gradients(masked, wrong, p, mask).leaves[0].cause == "sign"


def test_parameter_of_minus_infinity() -> None:
    def loss(p: Any) -> jax.Array:
        return masked(p["p"], p["mask"])

    params = {"mask": MASK, "p": jnp.arange(5.0)}
    report = check_gradients(loss, jax.grad(loss), params)
    assert report.ok, str(report)


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs several devices")
@pytest.mark.parametrize("committed", [False, True])
def test_parameters_beside_a_sharded_batch(committed: bool) -> None:
    mesh = Mesh(np.array(four_devices()[:2]), ("d",))
    rows = NamedSharding(mesh, PartitionSpec("d"))
    x, w = jax.device_put(normal(0, 8, 4), rows), normal(1, 4)
    if committed:
        w = jax.device_put(w, NamedSharding(mesh, PartitionSpec()))

    def loss(w: jax.Array, x: jax.Array) -> jax.Array:
        inner = jax.lax.with_sharding_constraint(x @ w, rows)
        return jnp.sum(jnp.sin(inner))

    assert check_gradients(loss, jax.grad(loss), w, x).ok
    wrong = check_gradients(loss, lambda w, x: -jax.grad(loss)(w, x), w, x)
    assert wrong.leaves[0].cause == "sign"
