"""The jobs of byproducts.py: each by-product by hand, and by its rivals."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import handgrad
from handgrad import byproducts

SIZES = (784, 512, 512, 10)
CLIP = {"clip_norm": 1.0}
FOUR: dict[str, dict[str, Any]] = {
    name: {}
    for name in (
        "per_sample_norms",
        "second_moment",
        "variance",
        "kronecker_factors",
    )
}
NAMED: dict[str, dict[str, dict[str, Any]]] = {
    "norms": {"per_sample_norms": {}},
    "norms and clipped gradient": {"per_sample_norms": {}, "clipped_gradient": CLIP},
    "second moment": {"second_moment": {}},
    "variance": {"variance": {}},
    "noise scale": {"noise_scale": {}},
    "Kronecker factors": {"kronecker_factors": {}},
    "all six": {"gradient": {}, **FOUR, "clipped_gradient": CLIP},
}
"""What each job returns."""

RIVAL, FORMED = ", zero perturbations", ", vmap(grad)"
Pass = Callable[..., tuple[handgrad.Trace, handgrad.Deltas]]
Job = Callable[..., Any]


def by_hand(params: Any, x: Any, y: Any) -> tuple[handgrad.Trace, handgrad.Deltas]:
    trace = handgrad.forward(params, x)
    return trace, handgrad.deltas(params, trace, y)


def by_perturbation(
    params: Any, x: Any, y: Any
) -> tuple[handgrad.Trace, handgrad.Deltas]:
    """Autodiff with respect to zeros added to each pre-activation."""

    def mean(zeros: tuple[jax.Array, ...]) -> jax.Array:
        a = x
        for k, (layer, zero) in enumerate(zip(params, zeros, strict=True)):
            a = (jax.nn.relu(a) if k else a) @ layer.weight + layer.bias[None] + zero
        log_p = jax.nn.log_softmax(a)
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    zeros = tuple(jnp.zeros((x.shape[0], n)) for n in SIZES[1:])
    layers = jax.grad(mean)(zeros)
    trace = handgrad.forward(params, x)  # that of `mean`: XLA computes it once
    return trace, handgrad.Deltas(layers, None, jnp.float32(x.shape[0]))


def contraction(of: Pass, what: dict[str, dict[str, Any]]) -> Job:
    """The job that collects these by-products; what is not asked for, XLA drops."""

    def job(params: Any, x: Any, y: Any) -> Any:
        found = byproducts.collect(*of(params, x, y), what)
        return {name: found[name] for name in what}

    return job


def plain(params: Any, x: Any, y: Any) -> Any:
    return handgrad.gradients(*by_hand(params, x, y))


def autodiff(params: Any, x: Any, y: Any) -> Any:
    return jax.grad(lambda p: handgrad.loss(p, x, y))(params)


def formed(of: Callable[[Any, jax.Array], Any]) -> Job:
    """``of`` m gradients and their norms, by vmap of grad of the loss of one sample."""

    def job(params: Any, x: Any, y: Any) -> Any:
        def one(p: Any, row: jax.Array, label: jax.Array) -> jax.Array:
            return handgrad.loss(p, row[None], label[None])

        g = jax.vmap(jax.grad(one), (None, 0, 0))(params, x, y)
        squares = [
            jnp.square(leaf).reshape(len(leaf), -1).sum(1)
            for leaf in jax.tree.leaves(g)
        ]
        return of(g, jnp.sqrt(jnp.stack(squares).sum(0)))

    return job


def clipped_mean(g: Any, norms: jax.Array) -> Any:
    factors = 1 / jnp.maximum(norms, 1) / norms.shape[0]
    return norms, jax.tree.map(lambda leaf: jnp.tensordot(factors, leaf, 1), g)


FORMED_JOBS = {
    "norms": formed(lambda g, norms: norms),
    "norms and clipped gradient": formed(clipped_mean),
    "second moment": formed(
        lambda g, norms: jax.tree.map(lambda leaf: jnp.mean(leaf * leaf, axis=0), g)
    ),
    "variance": formed(
        lambda g, norms: jax.tree.map(lambda leaf: jnp.var(leaf, axis=0), g)
    ),
}


def sgd(gradient: Job) -> Job:
    """One step of SGD, the parameters given back."""

    def job(params: Any, x: Any, y: Any) -> Any:
        grads = gradient(params, x, y)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    return job


def private(
    sigma: float = 1, impl: str = "threefry2x32", partitionable: bool = True
) -> Job:
    """The gradient of DP-SGD; the key depends on the data, or XLA would fold it."""

    def job(params: Any, x: Any, y: Any) -> Any:
        trace, deltas = by_hand(params, x, y)
        if sigma == 0:
            return byproducts.clipped_gradient(trace, deltas, clip_norm=1.0)
        with jax.threefry_partitionable(partitionable):
            return byproducts.private_gradient(
                jax.random.fold_in(jax.random.key(0, impl=impl), y[0]),
                trace,
                deltas,
                clip_norm=1.0,
                noise_multiplier=sigma,
                expected_batch_size=x.shape[0],
            )

    return job


def jobs() -> dict[str, tuple[str, Job]]:
    """name -> (what it is measured against, job)."""
    found: dict[str, tuple[str, Job]] = {
        "plain gradient": ("plain gradient", plain),
        "plain gradient, jax.grad": ("plain gradient", autodiff),
    }
    for name, what in NAMED.items():
        found[name] = ("plain gradient", contraction(by_hand, what))
        found[name + RIVAL] = (name, contraction(by_perturbation, what))
        if name in FORMED_JOBS:
            found[name + FORMED] = (name, FORMED_JOBS[name])
    found["plain step"] = ("plain step", sgd(plain))
    for name, job in {
        "DP-SGD step": private(),
        "DP-SGD step, no noise": private(sigma=0),
        "DP-SGD step, threefry not partitionable": private(partitionable=False),
        "DP-SGD step, rbg": private(impl="rbg"),
    }.items():
        found[name] = ("plain step", sgd(job))
    return found
